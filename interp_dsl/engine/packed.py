"""A packed batch: its rows are examples, each under one unit's change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from interp_dsl.plan.places import Unit


@dataclass(frozen=True)
class Packed:
    """Unit after unit, its examples: a unit's rows go from one of `ends` [units + 1] to the next;
    `examples` [R]. In the processor's memory."""

    units: tuple[Unit, ...]
    ends: tuple[int, ...]
    examples: Tensor

    @classmethod
    def stretch(cls, units: Sequence[Unit], n: int, start: int, stop: int) -> Packed:
        """Rows start to stop of all units' n examples, unit after unit."""
        first, last = start // n, (stop - 1) // n + 1
        ends = (min(max(i * n, start), stop) - start for i in range(first, last + 1))
        return cls(tuple(units[first:last]), tuple(ends), torch.arange(start, stop) % n)

    @classmethod
    def of_one(cls, unit: Unit, examples: Tensor) -> Packed:
        """One unit's change in all rows."""
        return cls((unit,), (0, len(examples)), examples)

    def rows(self, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The rows [r] of units by number, a number's rows together, and for each row which of the
        numbers it is for."""
        if len(numbers) == 1:
            first, end = self.ends[numbers[0]], self.ends[numbers[0] + 1]
            return torch.arange(first, end), torch.zeros(end - first, dtype=torch.long)
        ends, chosen = torch.tensor(self.ends), torch.tensor(numbers, dtype=torch.long)
        firsts, counts = ends[chosen], ends.diff()[chosen]
        which = torch.repeat_interleave(counts)
        within = torch.arange(len(which)) - (counts.cumsum(0) - counts)[which]
        return firsts[which] + within, which
