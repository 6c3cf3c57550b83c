"""The pairs of prompts that a run has kept, for a page: tokens side by side, labels, what the model
would say, attention patterns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from interp_dsl.report.patterns import Example, fitting, packed
from interp_dsl.report.reading import Reading, is_name
from interp_dsl.runs import prompts
from interp_dsl.runs.prompts import aligned, differs, pair_names, read_pairs

SHOWN = 3
"""Pairs of a dataset in a page."""
TOP = 5

Column = tuple[int | None, int | None]


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it stands in the text, or a gap where the other side alone has one. `differs`
    where the sides do, `is_read` where the answer is read."""

    text: str
    label: str
    differs: bool
    is_read: bool


@dataclass(frozen=True, slots=True)
class Guess:
    """A token that the model may say next, its logit, and what it is: answer, wrong or neither."""

    text: str
    logit: float
    kind: str


@dataclass(frozen=True, slots=True)
class Line:
    """One side of a pair, with the likeliest next tokens where the answer is read."""

    side: str
    tokens: tuple[Token, ...]
    guesses: tuple[Guess, ...]


@dataclass(frozen=True)
class Pairs:
    """The first examples of a dataset, of the `of` that are kept; `has_text` is false where tokens
    are shown by number. `patterns` is what the page's script draws, `left_out` whether there are
    more of them."""

    data: str
    examples: tuple[tuple[Line, ...], ...]
    of: int
    has_text: bool
    patterns: tuple[Example, ...]
    left_out: bool


def kept_pairs(reading: Reading) -> list[Pairs]:
    """The pairs of every dataset that the run has kept some of."""
    folder = reading.folder
    return [_pairs(read_pairs(folder, data)) for data in pair_names(folder) if is_name(data)]


def _pairs(held: prompts.Pairs) -> Pairs:
    shown = range(min(SHOWN, len(held)))
    patterns, left_out = fitting(map(lambda i: _patterns(held, i), shown if held.heads else ()))
    examples = tuple(_example(held, i) for i in shown)
    return Pairs(held.dataset, examples, len(held), held.has_texts, patterns, left_out)


def _example(held: prompts.Pairs, i: int) -> tuple[Line, ...]:
    sides = [held.prompt(side, i) for side in held.sides]
    left, right = sides[0], sides[1] if len(sides) > 1 else None
    columns = aligned(left, right)
    unlike = [right is not None and differs(left, right, column) for column in columns]
    return tuple(
        Line(
            prompt.side,
            tuple(
                _token(prompt, column[place], marked)
                for column, marked in zip(columns, unlike, strict=True)
            ),
            _guesses(held, prompt, i),
        )
        for place, prompt in enumerate(sides[:2])
    )


def _token(prompt: prompts.Prompt, at: int | None, marked: bool) -> Token:
    if at is None:
        return Token("", "", True, False)
    return Token(prompt.texts[at], prompt.label_at(at), marked, at == prompt.read)


def _guesses(held: prompts.Pairs, prompt: prompts.Prompt, i: int) -> tuple[Guess, ...]:
    if prompt.top_ids is None or prompt.top_logits is None:
        return ()
    kinds = {token: kind for kind in ("wrong", "answer") for token in held.answers(kind, i)}
    ids, logits = prompt.top_ids[prompt.read, :TOP], prompt.top_logits[prompt.read, :TOP]
    return tuple(
        Guess(held.text(int(token)), float(logit), kinds.get(int(token), ""))
        for token, logit in zip(ids, logits, strict=True)
    )


def _patterns(held: prompts.Pairs, i: int) -> Example:
    """The patterns of an example, without its padding."""
    layers = sorted({layer for layer, _ in held.heads})
    heads = 1 + max(head for _, head in held.heads)
    sides = {}
    for side in held.sides:
        found = [held.pattern(side, i, (layer, h)) for layer in layers for h in range(heads)]
        values = np.stack([pattern.grid.values for pattern in found if pattern is not None])
        whole = values.reshape(len(layers), heads, *values.shape[1:])
        sides[side] = packed(whole, layers, held.prompt(side, i).texts)
    return {"example": i, "sides": sides}
