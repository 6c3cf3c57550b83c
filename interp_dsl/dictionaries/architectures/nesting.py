"""Dictionaries nested in one another: features in levels, of which each rebuilds with all before it
what the whole is to rebuild. Their squared errors' gradients; one dictionary is one level."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from interp_dsl.dictionaries.architectures.base import Params, where_on
from interp_dsl.dictionaries.codes import Codes, Dense, Levels, Sparse


@dataclass(frozen=True)
class Nest:
    """Codes [B, m] in L levels, which end before the features `ends`, the last of them m."""

    codes: Codes
    ends: tuple[int, ...]

    def rebuilt(self, decoder: Tensor) -> Tensor:
        """What each of the nested dictionaries rebuilds: [L, B, d]."""
        if isinstance(self.codes, Sparse):
            made = self._levels.decode(decoder).view(len(self.ends), -1, decoder.shape[1])
        else:
            made = torch.stack([part.decode(rows) for part, rows in self._parts(decoder)])
        for level in range(1, len(self.ends)):
            made[level] += made[level - 1]
        return made

    def gradients(self, decoder: Tensor, seen: Tensor, off: Tensor, weight: float) -> Params:
        """Those of weight × Σ ‖what is rebuilt - held constant‖² by what each of the nested
        dictionaries is off [L, B, d]. That is overwritten by the slope of the loss along what each
        level adds, in units of 2 weight: a feature learns from its own level to the last."""
        for level in reversed(range(len(self.ends) - 1)):
            off[level] += off[level + 1]
        if isinstance(self.codes, Sparse):
            rows = off.flatten(0, 1)
            return gradients(self.codes, self._levels, decoder, seen, rows, weight)
        parts = zip(self._parts(decoder), off, strict=True)
        found = [gradients(part, part, own, seen, rows, weight) for (part, own), rows in parts]
        return {name: torch.cat([each[name] for each in found]) for name in found[0]}

    @cached_property
    def _levels(self) -> Sparse | Levels:
        assert isinstance(self.codes, Sparse)
        return self.codes if len(self.ends) == 1 else Levels(self.codes, self.ends)

    def _parts(self, decoder: Tensor) -> Iterator[tuple[Dense, Tensor]]:
        """Each level's codes, and its rows of the decoder."""
        assert isinstance(self.codes, Dense)
        for start, stop in pairwise((0, *self.ends)):
            yield self.codes.part(start, stop), decoder[start:stop]


def gradients(
    codes: Codes, levels: Codes | Levels, decoder: Tensor, seen: Tensor, off: Tensor, weight: float
) -> Params:
    """Those of weight × Σ ‖f decoder - held constant‖², whose slope along what is decoded is
    2 weight × off; f the codes of what is seen, `levels` the same by the rows of off."""
    d_pre = where_on(levels.slopes(off, decoder).mul_(2 * weight), codes.values)
    return {
        "decoder": levels.outer(codes.values * (2 * weight), off),
        "encoder": codes.outer(d_pre, seen),
        "b_enc": codes.total(d_pre),
    }
