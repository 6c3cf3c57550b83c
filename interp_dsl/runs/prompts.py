"""The pairs of prompts that a run keeps for looking at: tokens, labels, top logits, attention.

They stand in `tensors/pairs.DATASET.safetensors`, attention patterns also in the recordings of
`record` steps."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interp_dsl.data.alignment import in_columns
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.grids import Grid, matrix
from interp_dsl.runs.parts import Stored

Arrays = Mapping[str, NDArray[Any]]
Head = tuple[int, int]
PAIRS = "pairs."
_PATTERN = re.compile(r"L(\d+)H(\d+)\.pattern(?: at (?!.* -> ).*)?")


@dataclass(frozen=True, eq=False)
class Prompt:
    """One prompt: `ids` and `texts` of its tokens, the spans of its labels, the position whose
    logits predict the answer. `top_ids` and `top_logits` [tokens, k] are None where not kept."""

    side: str
    ids: NDArray[np.int64]
    texts: tuple[str, ...]
    labels: Mapping[str, tuple[int, int]]
    read: int
    top_ids: NDArray[Any] | None = None
    top_logits: NDArray[Any] | None = None

    def label_at(self, token: int) -> str:
        """The labels of a token, joined."""
        return ",".join(n for n, (start, end) in self.labels.items() if start <= token < end)

    def tokens_at(self, position: str) -> list[int]:
        """The tokens of a position as score tables write it: a label (`S2`, `S2.last`), a number,
        `first`, `last`; none for `all` and what else is no place of this prompt."""
        n = len(self.ids)
        if position in ("first", "last"):
            return [0 if position == "first" else n - 1] if n else []
        if position.isdecimal():
            return [int(position)] if int(position) < n else []
        name, _, pick = position.partition(".")
        start, end = self.labels.get(name, (0, 0))
        span = list(range(start, end))
        return span[:1] if pick == "first" else span[-1:] if pick == "last" else span


@dataclass(frozen=True, eq=False)
class Pattern:
    """A head's attention: `grid` has a row for each of the tokens `queries`, a column for every
    token."""

    queries: tuple[int, ...]
    grid: Grid

    def row(self, token: int) -> int:
        """The row of a token's attention, or of the nearest token that has one."""
        rows = range(len(self.queries))
        return min(rows, key=lambda row: abs(self.queries[row] - token), default=0)


class Pairs:
    """The first examples of a dataset, side by side. `sides` in the order of the file's own, clean
    first."""

    def __init__(self, dataset: str, held: Arrays) -> None:
        self.dataset, self._held = dataset, held
        names = {n.rpartition(".")[0] for n in held if n.endswith(".tokens")}
        self.sides = sorted(names, key=lambda side: (side != "clean", side))
        self._texts = vocabulary(held)

    def __len__(self) -> int:
        return len(self._held[f"{self.sides[0]}.tokens"]) if self.sides else 0

    @property
    def has_texts(self) -> bool:
        return bool(self._texts)

    def text(self, token: int) -> str:
        """A token as it stands in a text; its number where texts are not kept."""
        return self._texts.get(token, f"#{token}")

    def prompt(self, side: str, example: int) -> Prompt:
        length = int(self._held[f"{side}.lengths"][example])
        ids = self._held[f"{side}.tokens"][example, :length]
        start = f"{side}.label."
        names = [name for name in self._held if name.startswith(start)]
        spans = {n.removeprefix(start): self._held[n][example] for n in names}
        labels = {n: (int(a), int(b)) for n, (a, b) in spans.items() if a < b}
        top = [self._held.get(f"{side}.{name}") for name in ("top_ids", "top_logits")]
        return Prompt(
            side,
            ids,
            tuple(self.text(int(token)) for token in ids),
            labels,
            int(self._held[f"{side}.read"][example]),
            *(None if held is None else held[example, :length] for held in top),
        )

    def answers(self, name: str, example: int) -> set[int]:
        """The first tokens of the `answer` or `wrong` alternatives of an example."""
        held = self._held.get(name)
        return set() if held is None else {int(t) for t in held[example] if t >= 0}

    @cached_property
    def heads(self) -> list[Head]:
        """The heads whose patterns are kept."""
        parts = (name.partition(".pattern.") for name in self._held)
        layers = sorted({int(p[2]) for p in parts if p[0] in self.sides and p[2].isdecimal()})
        if not layers:
            return []
        name = next(n for n in self._held if n.endswith(f".pattern.{layers[0]}"))
        return [(layer, h) for layer in layers for h in range(self._held[name].shape[1])]

    def pattern(self, side: str, example: int, head: Head) -> Pattern | None:
        """A head's attention; None where it is not kept."""
        held = self._held.get(f"{side}.pattern.{head[0]}")
        if held is None or head[1] >= held.shape[1]:
            return None
        prompt = self.prompt(side, example)
        n = len(prompt.ids)
        values = held[example, head[1], :n, :n].astype(np.float64)
        grid = matrix(f"L{head[0]}H{head[1]}", prompt.texts, prompt.texts, values)
        return Pattern(tuple(range(n)), grid)


def vocabulary(held: Arrays) -> dict[int, str]:
    """The texts of tokens by their numbers, as tensors hold them."""
    if "vocabulary" not in held:
        return {}
    data, ends = held["vocabulary.text"].tobytes(), held["vocabulary.end"].tolist()
    texts = (data[a:b].decode("utf-8", "replace") for a, b in zip([0, *ends], ends, strict=False))
    return dict(zip(held["vocabulary"].tolist(), texts, strict=True))


def pair_names(folder: RunFolder) -> list[str]:
    """The datasets whose first pairs a run has kept."""
    found = sorted((folder.path / "tensors").glob(f"{PAIRS}*.safetensors"))
    return [path.name.removeprefix(PAIRS).removesuffix(".safetensors") for path in found]


def read_pairs(folder: RunFolder, dataset: str) -> Pairs:
    return Pairs(dataset, Stored(folder.tensors_path(f"{PAIRS}{dataset}")))


# ---- alignment


def aligned(left: Prompt, right: Prompt | None) -> list[tuple[int | None, int | None]]:
    """The columns in which two prompts are shown: places of a token in each, None for a gap. Token
    by token where both have as many, as patching pairs them."""
    if right is None:
        return [(i, None) for i in range(len(left.ids))]
    if len(left.ids) == len(right.ids):
        return [(i, i) for i in range(len(left.ids))]
    return in_columns(left.ids.tolist(), right.ids.tolist())[0]


def differs(left: Prompt, right: Prompt, column: tuple[int | None, int | None]) -> bool:
    """Whether the two prompts differ in a column."""
    a, b = column
    return a is None or b is None or bool(left.ids[a] != right.ids[b])


# ---- recordings


def recordings(folder: RunFolder) -> Iterator[tuple[str, Arrays]]:
    """The steps of `record` that have ended, with what they hold."""
    for path in sorted((folder.path / "tensors").glob("*.safetensors")):
        step = path.stem
        if not step.startswith(PAIRS) and not folder.has_table(step):
            held = Stored(path)
            if "tokens" in held:
                yield step, held


def recorded_heads(held: Arrays) -> list[Head]:
    """The heads whose patterns a recording holds."""
    return sorted({head for name in held if (head := _head_of(name))})


def recorded_pattern(held: Arrays, prompt: Prompt, head: Head) -> Pattern | None:
    """A head's attention on a prompt, from a recording of these very tokens; the queries that were
    recorded."""
    name = next((n for n in held if _head_of(n) == head), None)
    n = len(prompt.ids)
    same = (
        i
        for i, (ids, length) in enumerate(zip(held["tokens"], held["lengths"], strict=True))
        if length == n and np.array_equal(ids[:n], prompt.ids)
    )
    example = next(same, None)
    if name is None or example is None:
        return None
    queries = held[f"{name}.positions"][example]
    kept = (queries >= 0) & (queries < n)
    values = held[name][example][kept][:, :n].astype(np.float64)
    rows = [prompt.texts[query] for query in queries[kept]]
    grid = matrix(f"L{head[0]}H{head[1]}", rows, prompt.texts, values)
    return Pattern(tuple(queries[kept].tolist()), grid)


def _head_of(name: str) -> Head | None:
    """The head whose pattern an array of a recording is; None for all other arrays."""
    found = None if name.endswith(".positions") else _PATTERN.fullmatch(name)
    return (int(found[1]), int(found[2])) if found else None
