"""A packed batch: its rows are examples, each under one unit's change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from interp_dsl.plan.places import Unit


@dataclass(frozen=True)
class Packed:
    """Unit after unit, its examples: `counts` [units] rows each; `examples` [R]. In the processor's
    memory."""

    units: tuple[Unit, ...]
    counts: Tensor
    examples: Tensor

    @classmethod
    def stretch(cls, units: Sequence[Unit], n: int, start: int, stop: int) -> Packed:
        """Rows start to stop of all units' n examples, unit after unit."""
        first, last = start // n, (stop - 1) // n + 1
        edges = (torch.arange(first, last + 1) * n).clamp(start, stop)
        return cls(tuple(units[first:last]), edges.diff(), torch.arange(start, stop) % n)

    @classmethod
    def of_one(cls, unit: Unit, examples: Tensor) -> Packed:
        """One unit's change in all rows."""
        return cls((unit,), torch.tensor([len(examples)]), examples)

    def rows(self, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The rows [r] of units by number, a number's rows together, and for each row which of the
        numbers it is for."""
        chosen = torch.tensor(numbers, dtype=torch.long)
        counts = self.counts[chosen]
        firsts = (self.counts.cumsum(0) - self.counts)[chosen]
        which = torch.repeat_interleave(counts)
        within = torch.arange(len(which)) - (counts.cumsum(0) - counts)[which]
        return firsts[which] + within, which
