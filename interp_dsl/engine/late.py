"""Late starts: a batch of a sweep taken up where its units act first.

Before the first place that a unit changes, a pass is what the run's own pass was. So that one is
kept, the units of a sweep are ordered by where they begin, and those that begin together share
batches (plan/starts.py)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from interp_dsl.engine.packed import Packed
from interp_dsl.engine.slots import ends
from interp_dsl.engine.state import State
from interp_dsl.plan.algebra import Intervention, Run
from interp_dsl.plan.places import Positions, Target, Unit
from interp_dsl.plan.starts import Start, starting


def entries(units: Sequence[Unit], change: Intervention, run: Run, state: State) -> list[Start]:
    """Where units of an intervention on a run begin to act, over all prompts: points of one place
    alike."""
    found: dict[tuple[Target, ...], Start] = {}
    for unit in units:
        if unit.targets not in found:
            found[unit.targets] = _entry(unit, change, run, state)
    return [found[unit.targets] for unit in units]


def _entry(unit: Unit, change: Intervention, run: Run, state: State) -> Start:
    spans = [_span(positions, run, state) for positions in _kinds(unit)]
    position = min(first for first, _ in spans)
    return starting(unit, change, position, sum(count for _, count in spans))


def changed(batch: Packed, run: Run, state: State, first: int) -> Tensor:
    """The positions [R, c] at which the rows of a batch are changed, none of them before `first`;
    what a row has fewer of is repeated."""
    groups: dict[tuple[Positions, ...], list[int]] = defaultdict(list)
    for number, unit in enumerate(batch.units):
        groups[_kinds(unit)].append(number)
    found = []
    for kinds, numbers in groups.items():
        rows, _ = batch.rows(numbers)
        parts = [state.slots(run, positions).index[batch.examples[rows]] for positions in kinds]
        found.append((rows, torch.cat(parts, 1).clamp(min=first)))
    width = max(at.shape[1] for _, at in found)
    places = torch.empty(len(batch.examples), width, dtype=torch.long)
    for rows, at in found:
        places[rows] = torch.cat([at, at[:, :1].expand(-1, width - at.shape[1])], 1)
    return places


def _kinds(unit: Unit) -> tuple[Positions, ...]:
    """A unit's positions, each once; of a pattern's entries, the queries."""
    return tuple(dict.fromkeys(ends(target.positions)[0] for target in unit.targets))


def _span(positions: Positions, run: Run, state: State) -> tuple[int, int]:
    """The first position of any prompt, and the most positions of one."""

    def found() -> tuple[int, int]:
        slots = state.slots(run, positions)
        if not bool(slots.valid.any()):
            return 0, 1
        return int(slots.index[slots.valid].min()), int(slots.valid.sum(1).max())

    return state.once(("span", run.data, run.side, positions), found)
