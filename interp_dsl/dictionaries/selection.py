"""Which features are on: the k largest of each row, or the largest of a whole batch; exact.

Both look at groups of features first: the k largest values lie in the k groups of largest maxima,
and no value above a bound lies in a group whose maximum is not above it. What is sorted is then a
fraction of all."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

GROUP = 8
SAMPLE, MARGIN = 1 << 16, 1.3
"""How many values a bound is estimated from, and how many more than wanted it is to let through."""


def grouped(pre: Tensor) -> Tensor:
    """Features [B, m] as [B, group members, groups], a view; groups of one where m has no whole
    number of them."""
    size = GROUP if pre.shape[1] % GROUP == 0 else 1
    return pre.view(len(pre), size, -1)


def largest(pre: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row of pre [B, m], in any order: values and features [B, k]."""
    k = min(k, pre.shape[1])
    groups = grouped(pre)
    size, count = groups.shape[1:]
    if size == 1 or count < 2 * k:
        index = most(pre, k)
        return pre.gather(1, index), index
    chosen = most(groups.amax(1), k)
    members = torch.arange(size, device=pre.device) * count
    index = (chosen[:, None] + members[:, None]).flatten(1)
    index = index.gather(1, most(pre.gather(1, index), k))
    return pre.gather(1, index), index


def most(values: Tensor, k: int) -> Tensor:
    """Where the k largest of each row of values [B, n] are: [B, k], in any order. On a processor by
    numpy, whose partition takes half of the time of torch's."""
    n = values.shape[1]
    if values.device.type != "cpu" or values.dtype not in (torch.float32, torch.float64) or k == n:
        return values.topk(k, dim=1, sorted=False).indices
    order = np.argpartition(values.numpy(), n - k, axis=1)
    return torch.from_numpy(order[:, n - k :])


def largest_of_batch(pre: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """The n largest of all values of pre [B, m] that are above 0, row after row: values, rows and
    features [n], fewer where fewer are above 0."""
    n = min(n, pre.numel())
    share = MARGIN * n / pre.numel()
    while True:
        bound = _bound(pre, share)
        values, row, index = _above(pre, bound)
        if len(values) >= n or bound <= 0:
            break
        share *= 2
    if len(values) > n:
        least = values.kthvalue(len(values) - n + 1).values
        kept = values >= least
        values, row, index = values[kept], row[kept], index[kept]
    return values, row, index


def _bound(pre: Tensor, share: float) -> float:
    """A bound, 0 at least, that about this share of all values is above, by a sample."""
    stride = max(1, pre.numel() // SAMPLE) | 1  # odd, so that it meets all features in turn
    sample = pre.flatten()[::stride]
    count = min(len(sample), int(share * len(sample)) + 1)
    return max(0.0, float(sample.topk(count, sorted=False).values.amin()))


def _above(pre: Tensor, bound: float) -> tuple[Tensor, Tensor, Tensor]:
    """All values above a bound: values, rows, features."""
    groups = grouped(pre)
    size, count = groups.shape[1:]
    row, group = (groups.amax(1) > bound).nonzero(as_tuple=True)
    index = group[:, None] + torch.arange(size, device=pre.device) * count
    values = pre[row[:, None], index]
    on = values > bound
    return values[on], row[:, None].expand_as(on)[on], index[on]
