"""Late starts: a batch of a sweep taken up where its units act first.

Before the first place that a unit changes, a pass is what the clean one was. So the clean pass is
kept once, and the units of a sweep are ordered by where they begin: those that begin together share
batches, and a batch starts at its earliest layer and position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from interp_dsl.engine.slots import ends
from interp_dsl.engine.state import State
from interp_dsl.plan.algebra import Intervention, Run
from interp_dsl.plan.places import Positions, Unit
from interp_dsl.plan.starts import BEHIND_ATTENTION


@dataclass(frozen=True, order=True)
class Entry:
    """Where a unit acts first: the layer; whether behind that layer's attention; the earliest
    position over all prompts. Layer −1 is the embedding: nothing is saved."""

    layer: int
    behind_attention: bool
    position: int

    @property
    def group(self) -> tuple[int, bool]:
        """Units of one group share batches."""
        return self.layer, self.behind_attention


def entry(unit: Unit, intervention: Intervention, run: Run, state: State) -> Entry:
    """Where a unit of an intervention on a run begins to act."""
    first = min(_place(intervention.site(t).layer, intervention.site(t).kind) for t in unit.targets)
    earliest = min(_earliest(t.positions, run, state) for t in unit.targets)
    return Entry(*first, earliest)


def _place(layer: int | None, kind: str) -> tuple[int, bool]:
    return (-1, False) if layer is None else (layer, kind in BEHIND_ATTENTION)


def _earliest(positions: Positions, run: Run, state: State) -> int:
    """The first position that is changed in any prompt; of a pattern, the first query."""
    queries, _ = ends(positions)
    slots = state.slots(run, queries)
    return int(slots.index[slots.valid].min()) if bool(slots.valid.any()) else 0


def batches(entries: Sequence[Entry], n: int, width: int, least: int) -> list[list[int]]:
    """The units' numbers in stretches that are run together, n rows a unit: units of one group, by
    position. A later position joins while fewer than `least` tokens are together: beyond that,
    starting anew at the later position is less work than a longer batch saves."""
    order = sorted(range(len(entries)), key=lambda i: entries[i])
    found: list[list[int]] = []
    for i in order:
        first = entries[found[-1][0]] if found else None
        if first is None or first.group != entries[i].group:
            found.append([i])
            continue
        tokens = len(found[-1]) * n * (width - first.position)
        if entries[i].position > first.position and tokens >= least:
            found.append([i])
        else:
            found[-1].append(i)
    return found


def earliest(entries: Sequence[Entry | None]) -> Entry | None:
    """Where a batch of units of one group starts; None for the beginning."""
    known = [e for e in entries if e is not None]
    return min(known) if known and known[0].layer >= 0 else None
