"""Units that cannot have an effect, so that no pass need be spent on them: their effect is 0.

A point of length 0 is where its path begins. In a causal model without a mask of the data's own a
change is without effect
1. where values come from the same place of a run whose prompts are the same up to there,
2. where all of it lies behind every position that is read,
3. in the last layer, where it only changes positions that are not read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from interp_dsl.data.types import Ints, Side
from interp_dsl.engine.reads import Reads
from interp_dsl.engine.slots import ends
from interp_dsl.engine.state import State
from interp_dsl.plan.algebra import FromRun, Intervention, Run
from interp_dsl.plan.places import Point, Positions, Target, Unit
from interp_dsl.plan.starts import BEHIND_KEYS


class Idle:
    """Tells which units of an intervention on a run cannot have an effect."""

    def __init__(self, change: Intervention, run: Run, reads: Reads, state: State) -> None:
        self.change, self.run, self.state = change, run, state
        side, shape = state.side(run), state.executor(run).facts.shape
        self.last_layer = shape.n_layers - 1
        self.is_tractable = shape.causal and side.mask is None
        self.reads = _read_positions(reads)
        self.same_until = _same_until(change, run, state) if self.is_tractable else None
        self._is_idle = cache(self._cannot_act)

    def __call__(self, unit: Unit) -> bool:
        if isinstance(unit, Point) and unit.length.value == 0:
            return True
        return self.is_tractable and all(self._is_idle(t) for t in unit.targets)

    def _cannot_act(self, target: Target) -> bool:
        if target.site.kind == "hook":
            return False
        index, valid = self._positions(target.positions)
        if self.same_until is not None:
            behind = (valid & (index >= self.same_until[:, None])).any()
            if not behind and self._is_same_place(target.positions):
                return True
        if self.reads is None:
            return False
        if not (valid & (index <= self.reads.max(1)[:, None])).any():
            return True
        if target.site.layer != self.last_layer or target.site.kind not in BEHIND_KEYS:
            return False
        meets = (index[:, :, None] == self.reads[:, None, :]).any(2)
        return not (valid & meets).any()

    def _is_same_place(self, positions: Positions) -> bool:
        """Whether a name means the same tokens on the side that values come from."""
        assert isinstance(self.change.source, FromRun)
        for part in filter(None, ends(positions)):
            mine = self.state.slots(self.run, part).index
            theirs = self.state.slots(self.change.source.run, part).index
            if mine.shape != theirs.shape or not mine.equal(theirs):
                return False
        return True

    def _positions(self, positions: Positions) -> tuple[Ints, NDArray[np.bool_]]:
        """Changed positions [n, k] and which of them are meant; of a pattern, its queries."""
        queries, _ = ends(positions)
        slots = self.state.slots(self.run, queries)
        return slots.index.cpu().numpy(), slots.valid.cpu().numpy()


def _read_positions(reads: Reads) -> Ints | None:
    """Every position [n, r] whose logits are read in any variant; None for all."""
    found: Sequence[Ints | None] = [v.reads for v in reads.variants.values()]
    known = [r for r in found if r is not None]
    return np.concatenate(known, axis=1) if len(known) == len(found) else None


def _same_until(change: Intervention, run: Run, state: State) -> Ints | None:
    """The first position [n] at which the source's prompt differs from the changed one; None where
    values do not come from a like run of as many prompts."""
    source = change.source
    if not isinstance(source, FromRun) or source.run.model != run.model:
        return None
    if source.run.under != run.under or state.side(source.run).mask is not None:
        return None
    mine, theirs = state.side(run), state.side(source.run)
    if len(mine.tokens) != len(theirs.tokens):
        return None
    return _first_difference(mine, theirs)


def _first_difference(a: Side, b: Side) -> Ints:
    width = min(a.tokens.shape[1], b.tokens.shape[1])
    differs = a.tokens[:, :width] != b.tokens[:, :width]
    shorter = np.minimum(a.lengths, b.lengths)
    first = np.where(differs.any(1), differs.argmax(1), width)
    found: Ints = np.where(a.lengths == b.lengths, first, np.minimum(first, shorter))
    return found
