"""Weighted sums and products of rows gathered from a table, without a tensor of the gathered rows
and without atomic additions, so that equal runs give equal numbers."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

COLUMNS = 64
"""Columns that a processor gathers at once: those of some thousand rows stay in its cache."""
CACHED = 1 << 18
"""Numbers of a table that stay in it."""


def sums(index: Tensor, table: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
    """A row for each offset: the weighted sum of the table's rows at the indices from there on."""
    parts = table.split(COLUMNS, 1) if table.device.type == "cpu" else (table,)
    found = [
        embedding_bag(index, part.contiguous(), offsets, mode="sum", per_sample_weights=weights)
        for part in parts
    ]
    return found[0] if len(found) == 1 else torch.cat(found, 1)


def dots(left: Tensor, right: Tensor, row: Tensor, index: Tensor) -> Tensor:
    """left[row] · right[index], for each of n pairs."""
    if right.device.type != "cpu" or right.numel() <= CACHED:
        return _dots(left, right, row, index)
    order = torch.argsort(_blocks(index, right.shape[1]), stable=True)
    found = left.new_empty(len(row))
    found[order] = _dots(left, right, row[order], index[order])
    return found


def _blocks(index: Tensor, columns: int) -> Tensor:
    """In which part of a table each index [n] is, of parts that stay in the cache."""
    rows_log2 = max(0, (CACHED // columns).bit_length() - 1)
    blocks = index >> rows_log2
    return blocks.short() if int(blocks.max()) < 1 << 15 else blocks


def _dots(left: Tensor, right: Tensor, row: Tensor, index: Tensor) -> Tensor:
    found: Tensor = torch.ops.aten._embedding_bag_per_sample_weights_backward(
        left, right, index, row[:0], row, 0
    )
    return found
