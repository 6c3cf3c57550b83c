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
class Features:
    """Which of m features each of n entries has."""

    index: Tensor
    width: int

    def sums(self, values: Tensor, table: Tensor, row: Tensor) -> Tensor:
        """Of each feature the sum [m, d] of its values times the table's rows."""
        rows, weights = (x.index_select(0, self.order) for x in (row, values))
        return sums(rows, table, self.begins[:-1], weights)

    @property
    def order(self) -> Tensor:
        """The entries' order by feature."""
        return self._sorted.indices

    @cached_property
    def begins(self) -> Tensor:
        """Where each feature begins in that order, and where the last ends: [m + 1]."""
        return begins(self._sorted.values, self.width + 1)

    @cached_property
    def _sorted(self) -> torch.return_types.sort:
        return torch.sort(narrowed(self.index, self.width), stable=True)


@dataclass(frozen=True)
class Sparse:
    """Those that may be on, row after row: values and row [n]; offsets [B] where each row begins;
    their features."""

    values: Tensor
    row: Tensor
    offsets: Tensor
    features: Features

    @property
    def index(self) -> Tensor:
        """Which feature each is [n]."""
        return self.features.index

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
        return self.features.sums(values, gradient, self.row)

    def total(self, values: Tensor) -> Tensor:
        """The sums [m] of V over the batch."""
        ordered = values.index_select(0, self.features.order)
        found: Tensor = torch.segment_reduce(ordered, "sum", offsets=self.features.begins)
        return found


@dataclass(frozen=True)
class Levels:
    """Sparse codes of features in L levels, which end before the features `ends`. Each level has
    rows of its own, level after level: G [L·B, d]."""

    codes: Sparse
    ends: tuple[int, ...]

    def decode(self, decoder: Tensor) -> Tensor:
        """F D [L·B, d]."""
        count, codes = len(self.codes.offsets), self.codes
        row, order = torch.sort(narrowed(self._row, len(self.ends) * count), stable=True)
        index, values = (x.index_select(0, order) for x in (codes.index, codes.values))
        return sums(index, decoder, begins(row, len(self.ends) * count), values)

    def slopes(self, gradient: Tensor, decoder: Tensor) -> Tensor:
        """G Dᵀ at the places of the codes' values."""
        return dots(gradient, decoder, self._row, self.codes.index)

    def outer(self, values: Tensor, gradient: Tensor) -> Tensor:
        """Vᵀ G [m, d]."""
        return self.codes.features.sums(values, gradient, self._row)

    @cached_property
    def _row(self) -> Tensor:
        """Which of them each entry is in [n]."""
        level = sum((self.codes.index >= end).long() for end in self.ends[:-1])
        return self.codes.row + level * len(self.codes.offsets)


Codes = Dense | Sparse


def begins(numbers: Tensor, count: int) -> Tensor:
    """Where each of the numbers 0 to `count` - 1 begins in ascending ones [n]."""
    return torch.searchsorted(
        numbers, torch.arange(count, dtype=numbers.dtype, device=numbers.device)
    )


def of_rows(values: Tensor, index: Tensor, width: int, sparse: bool) -> Codes:
    """Codes of features [B, k] with values that count where they are above 0."""
    values = values.clamp_min(0)
    if not sparse:
        return Dense(values.new_zeros(len(values), width).scatter_(1, index, values))
    count, k = index.shape
    rows = torch.arange(count, device=values.device)
    features = Features(index.flatten(), width)
    return Sparse(values.flatten(), rows.repeat_interleave(k), rows * k, features)


def of_entries(
    values: Tensor, row: Tensor, index: Tensor, shape: tuple[int, int], sparse: bool
) -> Codes:
    """Codes [B, m] of single entries, row after row."""
    if not sparse:
        dense = values.new_zeros(shape)
        dense[row, index] = values
        return Dense(dense)
    return Sparse(values, row, begins(row, shape[0]), Features(index, shape[1]))


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
