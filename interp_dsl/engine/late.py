"""Late starts: a batch of a sweep taken up where its units act first.

Before the first place that a unit changes, a pass is what the run's own pass was. So that one is
kept, the units of a sweep are ordered by where they begin, and those that begin together share
batches (plan/starts.py)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from interp_dsl.engine.edits import Block
from interp_dsl.engine.slots import Slots, ends
from interp_dsl.engine.state import State
from interp_dsl.plan.algebra import Intervention, Run
from interp_dsl.plan.places import Unit
from interp_dsl.plan.starts import Start, starting


def entry(unit: Unit, change: Intervention, run: Run, state: State) -> Start:
    """Where a unit of an intervention on a run begins to act, over all prompts."""
    spans = [_span(slots, state) for slots in _places(unit, run, state)]
    position = min(first for first, _ in spans)
    return starting(unit, change, position, sum(count for _, count in spans))


def changed(blocks: Sequence[Block], run: Run, state: State, first: int) -> Tensor:
    """The positions [R, c] at which the rows of blocks are changed, none of them before `first`;
    what a row has fewer of is repeated."""
    found = []
    for block in blocks:
        at = [slots.index[block.examples] for slots in _places(block.unit, run, state)]
        found.append(torch.cat(at, 1).clamp(min=first))
    width = max(at.shape[1] for at in found)
    return torch.cat([torch.cat([x, x[:, :1].expand(-1, width - x.shape[1])], 1) for x in found])


def _places(unit: Unit, run: Run, state: State) -> list[Slots]:
    """A unit's positions, each kind once; of a pattern's entries, the queries."""
    kinds = dict.fromkeys(ends(target.positions)[0] for target in unit.targets)
    return [state.slots(run, positions) for positions in kinds]


def _span(slots: Slots, state: State) -> tuple[int, int]:
    """The first position of any prompt, and the most positions of one."""

    def found() -> tuple[int, int]:
        if not bool(slots.valid.any()):
            return 0, 1
        return int(slots.index[slots.valid].min()), int(slots.valid.sum(1).max())

    return state.once(("span", id(slots)), found)
