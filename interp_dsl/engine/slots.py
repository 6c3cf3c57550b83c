"""Named positions as tensors, on the side that is changed and on the side that values come from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interp_dsl.data.positions import resolve
from interp_dsl.data.types import Ints, Side
from interp_dsl.plan.places import Positions


@dataclass(frozen=True)
class Slots:
    """Token positions [n, k] of n prompts, and which of the k are meant [n, k]. A column that is
    not meant repeats the prompt's first one that is: the same change made twice, and no other."""

    index: Tensor
    valid: Tensor

    @property
    def some(self) -> Tensor:
        """Which prompts have a position at all [n]."""
        return self.valid.any(1)


def slots(positions: Positions, side: Side) -> Slots:
    """The token positions that `positions` names in each prompt of a side, in the processor's
    memory. O(n k)."""
    index, valid = resolve(positions, side)
    return Slots(torch.from_numpy(_filled(index, valid)), torch.from_numpy(valid))


def _filled(index: Ints, valid: NDArray[np.bool_]) -> Ints:
    first = np.take_along_axis(index, valid.argmax(1)[:, None], axis=1)
    some = np.asarray(valid.any(1))[:, None]
    filled: Ints = np.where(valid, index, np.where(some, first, 0))
    return filled


def ends(positions: Positions) -> tuple[Positions, Positions | None]:
    """The positions along the site's own axis, and those of a pattern entry's keys."""
    if positions.kind == "entry":
        keys, queries = positions.parts
        return queries, keys
    return positions, None
