"""Feature activations of a batch, dense or sparse, and the products that training takes of them.

With F [B, m] the activations and D [m, d] the decoder there are three: F D, what is decoded; G Dᵀ,
the gradient of the activations that are on; Vᵀ G [m, d], a weight's gradient, V shaped as F. Where
few are on, each is a weighted sum of gathered rows, without any tensor [B, m] and without atomic
additions, so that equal runs give equal numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

SPARSE = 1 / 64
"""The largest share of features on at which gathering is quicker than dense products (CPU)."""


@dataclass(frozen=True)
class Dense:
    """All of them: values [B, m]."""

    values: Tensor

    def decode(self, decoder: Tensor) -> Tensor:
        """F D [B, d]."""
        return self.values @ decoder

    def slopes(self, gradient: Tensor, decoder: Tensor) -> Tensor:
        """G Dᵀ, shaped as `values`."""
        return gradient @ decoder.T

    def outer(self, values: Tensor, gradient: Tensor) -> Tensor:
        """Vᵀ G [m, d]."""
        return values.T @ gradient

    def total(self, values: Tensor) -> Tensor:
        """The sums [m] of V over the batch."""
        return values.sum(0)

    def within(self, start: int, stop: int) -> Tensor:
        """1 for features start to stop, else 0; fits `values`."""
        places = torch.arange(self.values.shape[1], device=self.values.device)
        return ((places >= start) & (places < stop)).to(self.values.dtype)


@dataclass(frozen=True)
class Sparse:
    """Those that may be on, row after row: values, index (which feature) and row [n]; offsets [B]
    where each row begins; `width` m."""

    values: Tensor
    index: Tensor
    row: Tensor
    offsets: Tensor
    width: int

    def decode(self, decoder: Tensor) -> Tensor:
        """F D [B, d]."""
        return _sums(self.index, decoder, self.offsets, self.values)

    def slopes(self, gradient: Tensor, decoder: Tensor) -> Tensor:
        """G Dᵀ at the places of `values`."""
        slopes: Tensor = torch.ops.aten._embedding_bag_per_sample_weights_backward(
            gradient, decoder, self.index, self.offsets, self.row, 0
        )
        return slopes

    def outer(self, values: Tensor, gradient: Tensor) -> Tensor:
        """Vᵀ G [m, d]."""
        order, starts = self._by_feature
        return _sums(self.row[order], gradient, starts, values[order])

    def total(self, values: Tensor) -> Tensor:
        """The sums [m] of V over the batch."""
        order, starts = self._by_feature
        return _sums(order, values[:, None], starts, torch.ones_like(values))[:, 0]

    def within(self, start: int, stop: int) -> Tensor:
        """1 for features start to stop, else 0; fits `values`."""
        return ((self.index >= start) & (self.index < stop)).to(self.values.dtype)

    @cached_property
    def _by_feature(self) -> tuple[Tensor, Tensor]:
        """The entries' order by feature, and where each feature begins in it."""
        order = torch.argsort(self.index, stable=True)
        counts = torch.bincount(self.index, minlength=self.width)
        return order, counts.cumsum(0) - counts


Codes = Dense | Sparse


def _sums(index: Tensor, table: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
    """A row for each offset: the weighted sum of the table's rows at the indices from there on."""
    return embedding_bag(index, table, offsets, mode="sum", per_sample_weights=weights)


def top_k(pre: Tensor, k: int, sparse: bool) -> Codes:
    """The k largest of each row of pre [B, m], none below 0."""
    k = min(k, pre.shape[1])
    found = pre.topk(k, dim=1, sorted=False)
    if not sparse:
        kept = found.values.clamp_min(0)
        return Dense(torch.zeros_like(pre).scatter_(1, found.indices, kept))
    rows = torch.arange(len(pre), device=pre.device)
    return Sparse(
        found.values.clamp_min(0).flatten(),
        found.indices.flatten(),
        rows.repeat_interleave(k),
        rows * k,
        pre.shape[1],
    )


def batch_top_k(pre: Tensor, k: int, sparse: bool) -> Codes:
    """The B·k largest of the whole batch pre [B, m], none below 0 (Bussmann et al. 2024,
    arXiv 2412.06410). Exact: a row whose four times k largest are all among them is looked at
    whole."""
    n_rows, width = pre.shape
    wide = min(4 * k, width)
    found = pre.topk(wide, dim=1, sorted=False)
    wanted = min(n_rows * k, found.values.numel())
    least = found.values.flatten().kthvalue(found.values.numel() - wanted + 1).values
    if wide < width and bool((found.values.amin(1) >= least).any()):
        found = pre.topk(width, dim=1, sorted=False)
        least = found.values.flatten().kthvalue(found.values.numel() - n_rows * k + 1).values
    on = (found.values >= least) & (found.values > 0)
    if not sparse:
        kept = torch.where(on, found.values, 0)
        return Dense(torch.zeros_like(pre).scatter_(1, found.indices, kept))
    row, column = on.nonzero(as_tuple=True)
    counts = on.sum(1)
    return Sparse(
        found.values[row, column],
        found.indices[row, column],
        row,
        counts.cumsum(0) - counts,
        width,
    )
