"""How like two dictionaries are: by their decoders alone, or by when their features fire.

mmcs          the mean over the reference's features of the largest cosine with a decoder row of
              ours: 1 where it is all there (Sharkey et al. 2022)
universality  the mean over our features of the largest correlation, over tokens, with a feature
              of the reference (Bricken et al. 2023)"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

ROWS = 1024
"""Features of the reference compared at once."""


def mmcs(reference: Tensor, decoder: Tensor) -> float:
    """Of decoders [m', d] and [m, d]. Rows of zeros are none of the reference's features."""
    known = reference[reference.norm(dim=1) > 0]
    ours = normalize(decoder, dim=1).T
    best = [(normalize(part, dim=1) @ ours).amax(1) for part in torch.split(known, ROWS)]
    return float(torch.cat(best).double().mean())


def nearest(decoder: Tensor, which: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Of features `which` [s] the cosines [s, n] with the features whose decoder rows, of
    [m, d], are closest to theirs, and these features' numbers; not the feature itself. Rows of
    zeros have a cosine of 0 with every other."""
    unit = normalize(decoder, dim=1)
    n = min(n, len(decoder) - 1)
    values, index = [], []
    for part in torch.split(which, ROWS):
        cosines = unit[part] @ unit.T
        cosines.scatter_(1, part[:, None], -torch.inf)
        best = cosines.topk(n, dim=1)
        values.append(best.values)
        index.append(best.indices)
    return torch.cat(values), torch.cat(index)


class Correlations:
    """Sums over tokens of features f [R, m] and of a reference's g [R, m'], block by block;
    float64, m · m' of them."""

    def __init__(self) -> None:
        self.count = 0
        self._sums: list[Tensor] = []

    @classmethod
    def of(cls, f: Tensor, g: Tensor) -> Correlations:
        """Those of one block."""
        f, g, found = f.double(), g.double(), cls()
        found.count = len(f)
        found._sums = [f.sum(0), g.sum(0), f.square().sum(0), g.square().sum(0), f.T @ g]
        return found

    def add(self, block: Correlations) -> None:
        """Those of a further block, which is used up."""
        if self._sums:
            for mine, more in zip(self._sums, block._sums, strict=True):
                mine.add_(more)
        else:
            self._sums = block._sums
        self.count += block.count

    @property
    def largest(self) -> Tensor:
        """Of each of our features [m] the largest correlation with one of the reference; NaN for
        those that never change."""
        a, b, aa, bb, ab = self._sums
        left = (aa - a.square() / self.count).clamp_min(0).sqrt()
        right = (bb - b.square() / self.count).clamp_min(0).sqrt()
        product = left[:, None] * right
        found = (ab - a[:, None] * b / self.count) / product
        best = torch.where(product > 0, found, -torch.inf).amax(1)
        return torch.where((left > 0) & best.isfinite(), best, torch.nan)

    @property
    def universality(self) -> float:
        """NaN where nothing ever fires."""
        return float(self.largest.nanmean())
