"""Patching written by hand: one unit, one unpadded prompt, one forward pass at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from interp_dsl.data.types import Data, Side
from interp_dsl.plan.places import Positions, Site, Target, Unit

from .tiny import Change, Tiny

Activations = dict[Site, Tensor]
New = Callable[[int, Target, int, int, Tensor], Tensor]
"""(example, target, k, position, old [width]) -> what the k-th position is set to [width]."""


def prompt(side: Side, example: int) -> Tensor:
    return torch.from_numpy(side.tokens[example : example + 1, : side.lengths[example]])


def where(positions: Positions, side: Side, example: int) -> list[int]:
    """The token positions of a prompt, read off its labels."""
    match positions.kind:
        case "all":
            return list(range(side.lengths[example]))
        case "index":
            return [int(positions.index or 0)]
        case "first":
            return [0]
        case "last":
            return [int(side.lengths[example]) - 1]
        case "label":
            start, end = map(int, side.labels[str(positions.label)][example])
            return {None: [*range(start, end)], "first": [start], "last": [end - 1]}[positions.pick]
        case "union":
            return list(dict.fromkeys(p for q in positions.parts for p in where(q, side, example)))
        case "minus":
            taken = where(positions.parts[1], side, example)
            return [p for p in where(positions.parts[0], side, example) if p not in taken]
        case _:
            return where(positions.parts[1], side, example)


def activations(model: Tiny, side: Side, example: int, change: Change | None = None) -> Activations:
    held: Activations = {}

    def keep(site: Site, x: Tensor) -> Tensor:
        held[site] = change(site, x) if change else x
        return held[site]

    model.run(prompt(side, example), keep)
    return held


def setting(unit: Unit, side: Side, example: int, new: New) -> Change:
    """A unit's change of one prompt."""

    def change(site: Site, x: Tensor) -> Tensor:
        x = x.clone()
        for target in (t for t in unit.targets if t.site == site):
            indices = range(x.shape[2]) if target.index is None else [target.index]
            for index in indices:
                for k, p in enumerate(where(target.positions, side, example)):
                    old = x[0, p, index].clone()
                    value = new(example, target, k, p, old)
                    x[0, p, index] = value if value.dim() < 2 else value[index]
        return x

    return change


def gaps(
    model: Tiny, data: Data, side: Side, unit: Unit, new: New, first: list[Change] | None = None
) -> list[float]:
    """logit_diff of every example with the unit changed; `first[i]` changes example i before."""
    assert data.answers and data.wrongs
    found = []
    for i in range(data.n):
        own = setting(unit, side, i, new)
        before = first[i] if first else lambda site, x: x
        logits = model.run(prompt(side, i), lambda s, x, a=before, b=own: b(s, a(s, x)))
        at = logits[0, side.read[i]]
        right, wrong = data.answers[i].alternatives[0][0], data.wrongs[i].alternatives[0][0]
        found.append(float(at[right] - at[wrong]))
    return found
