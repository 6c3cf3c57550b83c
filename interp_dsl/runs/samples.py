"""What `generate` has written: behind each prompt the plain text beside the steered ones and their
controls, with what differs from the plain one marked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property
from typing import TYPE_CHECKING

from interp_dsl.plan.generation import PLAIN, control
from interp_dsl.runs.folder import RunFolder

if TYPE_CHECKING:
    import polars as pl

TEXTS, TOKENS = "texts", "tokens"
"""The tables behind a step's name."""
OPEN, CLOSE = "«", "»"
_WORD = re.compile(r"\s+|\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a text; `differs` where the plain text has something else."""

    text: str
    differs: bool


@dataclass(frozen=True, slots=True)
class Sample:
    """A text of n tokens written under an intervention, and the means over them of their log
    probability in the plain model and in the model that wrote them, and of KL(plain ‖ own)."""

    under: str
    pieces: tuple[Piece, ...]
    n: int
    logprob: float
    own_logprob: float
    kl: float

    @property
    def marked(self) -> str:
        """The text with what differs between « and »."""
        return "".join(f"{OPEN}{p.text}{CLOSE}" if p.differs else p.text for p in self.pieces)


class Samples:
    """The texts of one step, a row each in `table`; `names` of all that wrote, the plain model
    first."""

    def __init__(self, folder: RunFolder, step: str) -> None:
        self.step = step
        self.table = folder.read_table(f"{step}.{TEXTS}")
        self.names: list[str] = self.table["under"].unique(maintain_order=True).to_list()
        self._prompts: list[int] = self.table["prompt"].unique(maintain_order=True).to_list()

    def __len__(self) -> int:
        return len(self._prompts)

    @cached_property
    def steered(self) -> list[str]:
        """The interventions: neither the plain model nor a control of one of them."""
        controls = {control(name) for name in self.names}
        return [name for name in self.names if name != PLAIN and name not in controls]

    def beside(self, under: str | None) -> list[str]:
        """What stands beside each other of an intervention: the plain text, its own, and that of
        as long a change in a random direction."""
        wanted = [PLAIN, *([under, control(under)] if under else [])]
        return [name for name in wanted if name in self.names]

    def before(self, number: int) -> str:
        """A prompt."""
        return str(self._rows(number)["before"][0])

    def samples(self, number: int, names: Sequence[str] | None = None) -> list[Sample]:
        """What was written behind a prompt, by all or by those of these names."""
        rows = {str(row["under"]): row for row in self._rows(number).iter_rows(named=True)}
        plain = str(rows[PLAIN]["text"]) if PLAIN in rows else None
        found = [rows[name] for name in names or self.names if name in rows]
        return [
            Sample(
                str(row["under"]),
                tuple(pieces(str(row["text"]), plain)),
                *(row[name] for name in ("n", "logprob", "own_logprob", "kl")),
            )
            for row in found
        ]

    def _rows(self, number: int) -> pl.DataFrame:
        return self.table.filter(prompt=self._prompts[number])


def pieces(text: str, plain: str | None) -> Iterator[Piece]:
    """The stretches of a text that the plain one has too, and those that it has not: word by word,
    by the longest common ones (Ratcliff and Obershelp). Space between two words that differ
    differs."""
    if plain is None:
        yield Piece(text, False)
        return
    own, other = _WORD.findall(text), _WORD.findall(plain)
    same = [False] * len(own)
    for block in SequenceMatcher(None, other, own, autojunk=False).get_matching_blocks():
        same[block.b : block.b + block.size] = [True] * block.size
    for i, word in enumerate(own):
        if same[i] and word.isspace() and 0 < i < len(own) - 1:
            same[i] = same[i - 1] or same[i + 1]
    start = 0
    for i in range(1, len(own) + 1):
        if i == len(own) or same[i] != same[start]:
            yield Piece("".join(own[start:i]), not same[start])
            start = i


def sample_steps(folder: RunFolder) -> list[str]:
    """The steps of `generate` that have ended."""
    return [step for step in folder.steps if folder.has_table(f"{step}.{TEXTS}")]


def parent(folder: RunFolder, table: str) -> str | None:
    """The step of `generate` that a table stands behind; None for any other table."""
    step, _, behind = table.rpartition(".")
    held = behind in (TEXTS, TOKENS) and folder.has_table(step)
    return step if held and folder.has_table(f"{step}.{TEXTS}") else None
