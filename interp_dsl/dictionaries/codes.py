"""Feature activations of a batch, dense or sparse, and the products that training takes of them.

With F [B, m] the activations and D [m, d] the decoder there are three: F D, what is decoded; G Dᵀ,
the gradient of the activations that are on; Vᵀ G [m, d], a weight's gradient, V shaped as F. Where
few are on, each is a weighted sum of gathered rows, without any tensor [B, m] and without atomic
additions, so that equal runs give equal numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from interp_dsl.dictionaries.crew import ALONE, Crew
from interp_dsl.dictionaries.gathering import dots, narrowed, sums
from interp_dsl.dictionaries.products import PLAIN, Products
from interp_dsl.dictionaries.selection import Scores, largest, largest_of_batch

SPARSE = 1 / 64
"""The largest share of features on at which gathering is quicker than dense products (CPU)."""


@dataclass(frozen=True)
class Dense:
    """All of them: values [B, m]."""

    values: Tensor
    products: Products = PLAIN

    def by(self, products: Products) -> Dense:
        """The same, multiplied by these."""
        return replace(self, products=products)

    def weight(self, decoder: Tensor) -> Tensor:
        """A decoder as its products take it."""
        return self.products.factor(decoder)

    def decode(self, decoder: Tensor) -> Tensor:
        """F D [B, d]."""
        return self.products.mm(self.values, decoder)

    def slopes(self, gradient: Tensor, decoder: Tensor) -> Tensor:
        """G Dᵀ, shaped as `values`."""
        return self.products.mm(gradient, decoder.T)

    def outer(self, values: Tensor, gradient: Tensor) -> Tensor:
        """Vᵀ G [m, d]."""
        return self.products.mm(values.T, gradient)

    def total(self, values: Tensor) -> Tensor:
        """The sums [m] of V over the batch."""
        return values.sum(0)

    def part(self, start: int, stop: int) -> Dense:
        """The features start to stop alone, counted from there."""
        return replace(self, values=self.values[:, start:stop])


@dataclass(frozen=True)
class Sparse:
    """Those that may be on, row after row: values, index (which feature) and row [n]; offsets [B]
    where each row begins; `width` m."""

    values: Tensor
    index: Tensor
    row: Tensor
    offsets: Tensor
    width: int

    def by(self, products: Products) -> Sparse:
        """The same: rows are gathered as they are."""
        return self

    def weight(self, decoder: Tensor) -> Tensor:
        """A decoder as its products take it."""
        return decoder

    def decode(self, decoder: Tensor) -> Tensor:
        """F D [B, d]."""
        return sums(self.index, decoder, self.offsets, self.values)

    def slopes(self, gradient: Tensor, decoder: Tensor) -> Tensor:
        """G Dᵀ at the places of `values`."""
        return dots(gradient, decoder, self.row, self.index)

    def outer(self, values: Tensor, gradient: Tensor) -> Tensor:
        """Vᵀ G [m, d]."""
        order, starts = self._by_feature
        return sums(self._rows, gradient, starts, values.index_select(0, order))

    def total(self, values: Tensor) -> Tensor:
        """The sums [m] of V over the batch."""
        order, starts = self._by_feature
        ends = torch.cat([starts, starts.new_tensor([len(order)])])
        found: Tensor = torch.segment_reduce(values.index_select(0, order), "sum", offsets=ends)
        return found

    def part(self, start: int, stop: int) -> Sparse:
        """The features start to stop alone, counted from there."""
        if stop - start == self.width:
            return self
        here = (self.index >= start) & (self.index < stop)
        row = self.row[here]
        counts = torch.bincount(row, minlength=len(self.offsets))
        offsets = counts.cumsum(0) - counts
        return Sparse(self.values[here], self.index[here] - start, row, offsets, stop - start)

    @cached_property
    def _by_feature(self) -> tuple[Tensor, Tensor]:
        """The entries' order by feature, and where each feature begins in it."""
        order = torch.argsort(narrowed(self.index, self.width), stable=True)
        counts = torch.bincount(self.index, minlength=self.width)
        return order, counts.cumsum(0) - counts

    @cached_property
    def _rows(self) -> Tensor:
        """The entries' rows, in the order by feature."""
        return self.row.index_select(0, self._by_feature[0])


Codes = Dense | Sparse


def of_rows(values: Tensor, index: Tensor, width: int, sparse: bool) -> Codes:
    """Codes of features [B, k] with values that count where they are above 0."""
    values = values.clamp_min(0)
    if not sparse:
        return Dense(values.new_zeros(len(values), width).scatter_(1, index, values))
    count, k = index.shape
    rows = torch.arange(count, device=values.device)
    return Sparse(values.flatten(), index.flatten(), rows.repeat_interleave(k), rows * k, width)


def of_entries(
    values: Tensor, row: Tensor, index: Tensor, shape: tuple[int, int], sparse: bool
) -> Codes:
    """Codes [B, m] of single entries, row after row."""
    if not sparse:
        dense = values.new_zeros(shape)
        dense[row, index] = values
        return Dense(dense)
    counts = torch.bincount(row, minlength=shape[0])
    return Sparse(values, index, row, counts.cumsum(0) - counts, shape[1])


def top_k(pre: Tensor, k: int, sparse: bool) -> Codes:
    """The k largest of each row of pre [B, m], none below 0."""
    return of_rows(*largest(pre, k), pre.shape[1], sparse)


def batch_top_k(scores: Scores, k: int, sparse: bool, crew: Crew = ALONE) -> Codes:
    """The B·k largest of the whole batch, of which scores [B / crew, m] are a part, none below 0
    (Bussmann et al. 2024, arXiv 2412.06410)."""
    n = scores.shape[0] * k * crew.size
    values, row, index = largest_of_batch(scores, n)
    rivals = crew.every(values)
    if len(rivals) > n:
        on = values >= rivals.kthvalue(len(rivals) - n + 1).values
        values, row, index = values[on], row[on], index[on]
    return of_entries(values, row, index, scores.shape, sparse)
