"""Weighted sums and products of rows gathered from a table, without a tensor of the gathered rows
and without atomic additions, so that equal runs give equal numbers."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from interp_dsl.dictionaries import processor

COLUMNS = 64
"""Columns that a processor gathers at once: those of some thousand rows stay in its cache."""
CACHED = 1 << 18
"""Numbers of a table that stay in it."""


def sums(index: Tensor, table: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
    """A row for each offset: the weighted sum of the table's rows at the indices from there on."""
    parts = torch.split(table, COLUMNS, 1) if processor.has(table) else (table,)
    found = [
        embedding_bag(index, part.contiguous(), offsets, mode="sum", per_sample_weights=weights)
        for part in parts
    ]
    return found[0] if len(found) == 1 else torch.cat(found, 1)


def dots(left: Tensor, right: Tensor, row: Tensor, index: Tensor) -> Tensor:
    """left[row] · right[index], for each of n pairs."""
    if not processor.has(right) or right.numel() <= CACHED:
        return _dots(left, right, row, index)
    rows_log2 = max(0, (CACHED // right.shape[1]).bit_length() - 1)
    part = narrowed(index >> rows_log2, len(right) >> rows_log2)
    order = torch.argsort(part, stable=True)
    found = _dots(left, right, row.index_select(0, order), index.index_select(0, order))
    return torch.empty_like(found).scatter_(0, order, found)


def narrowed(index: Tensor, most: int) -> Tensor:
    """Whole numbers from 0 to `most` in as few bits as sort them quickly."""
    return index.to(torch.int16 if most < 1 << 15 else torch.int32)


def _dots(left: Tensor, right: Tensor, row: Tensor, index: Tensor) -> Tensor:
    found: Tensor = torch.ops.aten._embedding_bag_per_sample_weights_backward(
        left, right, index, row[:0], row, 0
    )
    return found
