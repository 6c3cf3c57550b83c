"""The pairs of prompts that a run has kept: tokens side by side, labels, what the model would say,
and attention patterns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interp_dsl.data.tokenizer import load_tokenizer
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models.facts import facts
from interp_dsl.plan.tasks import BuildData, LoadModel, Plan
from interp_dsl.report.patterns import Example, fitting, packed
from interp_dsl.report.reading import Reading, is_name

SHOWN = 3
"""Pairs of a dataset in a page."""
TOP = 5

Arrays = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it stands in the text. `differs` where the other side has another one there;
    `is_read` where the answer is read."""

    text: str
    labels: tuple[str, ...]
    differs: bool
    is_read: bool


@dataclass(frozen=True, slots=True)
class Guess:
    """A token that the model may say next, and its logit."""

    text: str
    logit: float


@dataclass(frozen=True, slots=True)
class Prompt:
    """One side of a pair, with the likeliest next tokens where the answer is read."""

    side: str
    tokens: tuple[Token, ...]
    guesses: tuple[Guess, ...]


@dataclass(frozen=True)
class Pairs:
    """The first examples of a dataset. `patterns` is what the page's script draws: of each example
    the sides with their tokens and patterns; empty where none are kept. `of` counts what is
    kept; `has_text` is false where no tokenizer is at hand and tokens are shown by number."""

    data: str
    examples: tuple[tuple[Prompt, ...], ...]
    of: int
    has_text: bool
    patterns: tuple[Example, ...]
    left_out: bool


def kept_pairs(reading: Reading) -> list[Pairs]:
    """The pairs of every dataset that the run has kept some of."""
    paths = sorted((reading.folder.path / "tensors").glob("pairs.*.safetensors"))
    datas = [path.name.removeprefix("pairs.").removesuffix(".safetensors") for path in paths]
    found = []
    for data in filter(is_name, datas):
        arrays = reading.folder.read_tensors(f"pairs.{data}")
        found.append(_pairs(data, arrays, token_texts(reading.plan, data)))
    return found


def token_texts(plan: Plan | None, data: str) -> Callable[[int], str] | None:
    """What tokens of a dataset's model read; None where its tokenizer is not on this machine."""
    tasks = plan.tasks if plan else ()
    built = next((t for t in tasks if isinstance(t, BuildData) and t.name == data), None)
    model = next(
        (t for t in tasks if isinstance(t, LoadModel) and built and t.id == built.model), None
    )
    try:
        known = facts(model.spec) if model else None
        return load_tokenizer(known).token_text if known and known.tokenizer else None
    except InterpError:
        return None


def _pairs(data: str, arrays: Arrays, text: Callable[[int], str] | None) -> Pairs:
    sides = [name.removesuffix(".tokens") for name in arrays if name.endswith(".tokens")]
    sides.sort(key=lambda side: (side != "clean", side))
    count = len(arrays[f"{sides[0]}.tokens"]) if sides else 0
    said = text or str
    examples = tuple(
        tuple(_prompt(arrays, side, _other(sides, side), i, said) for side in sides)
        for i in range(min(SHOWN, count))
    )
    patterns, left_out = _patterns(arrays, sides, examples)
    return Pairs(data, examples, count, text is not None, patterns, left_out)


def _other(sides: list[str], side: str) -> str | None:
    return next((name for name in sides if name != side), None)


def _prompt(
    arrays: Arrays, side: str, other: str | None, i: int, said: Callable[[int], str]
) -> Prompt:
    ids, read = arrays[f"{side}.tokens"][i], int(arrays[f"{side}.read"][i])
    ids = ids[: int(arrays[f"{side}.lengths"][i])]
    theirs = arrays[f"{other}.tokens"][i] if other else ids
    labels: dict[int, list[str]] = {}
    start = f"{side}.label."
    for name in sorted(n for n in arrays if n.startswith(start)):
        first, last = arrays[name][i]
        for at in range(int(first), int(last)):
            labels.setdefault(at, []).append(name.removeprefix(start))
    tokens = tuple(
        Token(
            said(int(token)),
            tuple(labels.get(at, ())),
            at >= len(theirs) or token != theirs[at],
            at == read,
        )
        for at, token in enumerate(ids)
    )
    return Prompt(side, tokens, _guesses(arrays, side, i, read, said))


def _guesses(
    arrays: Arrays, side: str, i: int, read: int, said: Callable[[int], str]
) -> tuple[Guess, ...]:
    ids, logits = arrays.get(f"{side}.top_ids"), arrays.get(f"{side}.top_logits")
    if ids is None or logits is None:
        return ()
    best = zip(ids[i, read, :TOP], logits[i, read, :TOP], strict=True)
    return tuple(Guess(said(int(token)), float(logit)) for token, logit in best)


def _patterns(
    arrays: Arrays, sides: list[str], examples: tuple[tuple[Prompt, ...], ...]
) -> tuple[tuple[Example, ...], bool]:
    """The patterns of the first examples, as many as fit, and whether some had to be left out."""
    layers = 0
    while all(f"{side}.pattern.{layers}" in arrays for side in sides):
        layers += 1
    if not layers:
        return (), False
    return fitting(
        {"example": i, "sides": {p.side: _packed(arrays, p, i, layers) for p in example}}
        for i, example in enumerate(examples)
    )


def _packed(arrays: Arrays, prompt: Prompt, i: int, layers: int) -> dict[str, Any]:
    """The patterns of a prompt, without its padding."""
    size = len(prompt.tokens)
    held = [arrays[f"{prompt.side}.pattern.{n}"][i, :, :size, :size] for n in range(layers)]
    return packed(np.stack(held), range(layers), [token.text for token in prompt.tokens])
