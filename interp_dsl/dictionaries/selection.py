"""Which features are on: the k largest of each row, or the largest of a whole batch; exact.

A bound comes first, which enough values are known to reach; then only those that reach it are
looked at. Of a row it is the k-th largest of maxima over groups of its features, of a batch it is
estimated by a sample and lowered until it holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from interp_dsl.dictionaries import processor

GROUP = 8
SAMPLE, MARGIN = 1 << 16, 1.2
"""How many values a bound is estimated from, and how many more than wanted it is to let through."""
Entries = tuple[Tensor, Tensor, Tensor]
"""Of single features, row after row: values, rows, features; [n] each."""


class Scores(Protocol):
    """Pre-activations [B, m], known as well as needed to tell which are large."""

    @property
    def shape(self) -> tuple[int, int]: ...

    def sample(self, stride: int) -> Tensor:
        """About every `stride`-th value of the batch."""
        ...

    def reaching(self, least: Tensor) -> Entries:
        """At least all that reach the least [B] of their row, exactly."""
        ...


@dataclass(frozen=True)
class Known:
    """Pre-activations [B, m] that have all been computed."""

    pre: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        return self.pre.shape[0], self.pre.shape[1]

    def sample(self, stride: int) -> Tensor:
        return self.pre.flatten()[::stride]

    def reaching(self, least: Tensor) -> Entries:
        row, index, flat = where_at_least(self.pre, least)
        return self.pre.flatten()[flat], row, index


def largest(pre: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row of pre [B, m], in any order: values and features [B, k]."""
    k = min(k, pre.shape[1])
    if not processor.has(pre) or pre.dtype not in (torch.float32, torch.float64):
        return _largest_by_groups(pre, k)
    return of_each(Known(pre).reaching(kth_at_least(pre, k)), len(pre), k)


def kth_at_least(values: Tensor, k: int) -> Tensor:
    """What k values of each row [B, m] reach at least: [B], the k-th largest of the maxima of 8 k
    groups or more. By numpy, whose partition and search take a fraction of the time of torch's."""
    size, m = 1, values.shape[1]
    while m % (2 * size) == 0 and m // (2 * size) >= 8 * k:
        size *= 2
    maxima = values.view(len(values), size, -1).amax(1)
    place = maxima.shape[1] - k
    return torch.from_numpy(np.partition(maxima.numpy(), place, axis=1)[:, place])


def where_at_least(values: Tensor, least: Tensor) -> Entries:
    """Where values [B, m] reach the least [B] of their row: rows, columns, places of both [n]."""
    flat = torch.from_numpy(np.flatnonzero(values.numpy() >= least.numpy()[:, None]))
    row = flat // values.shape[1]
    return row, flat - row * values.shape[1], flat


def of_each(entries: Entries, rows: int, k: int) -> tuple[Tensor, Tensor]:
    """The k largest entries of each row: values and features [B, k]; -inf where a row has fewer."""
    values, row, index = entries
    counts = torch.bincount(row, minlength=rows)
    width = max(k, int(counts.max()))
    place = torch.arange(len(row)) + (torch.arange(rows) * width - counts.cumsum(0) + counts)[row]
    held = values.new_full((rows * width,), -torch.inf)
    features = torch.zeros(rows * width, dtype=torch.int64)
    held[place], features[place] = values, index
    held, features = held.view(rows, width), features.view(rows, width)
    if width == k:
        return held, features
    order = np.argpartition(held.numpy(), width - k, axis=1)
    at = torch.from_numpy(order[:, width - k :])
    return held.gather(1, at), features.gather(1, at)


def _largest_by_groups(pre: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest values lie in the k groups of largest maxima."""
    size = GROUP if pre.shape[1] % GROUP == 0 else 1
    groups = pre.view(len(pre), size, -1)
    count = groups.shape[2]
    if size == 1 or count < 2 * k:
        found = pre.topk(k, dim=1, sorted=False)
        return found.values, found.indices
    chosen = groups.amax(1).topk(k, dim=1, sorted=False).indices
    members = torch.arange(size, device=pre.device) * count
    index = (chosen[:, None] + members[:, None]).flatten(1)
    index = index.gather(1, pre.gather(1, index).topk(k, dim=1, sorted=False).indices)
    return pre.gather(1, index), index


def largest_of_batch(scores: Scores, n: int) -> Entries:
    """The n largest of all values [B, m] that are above 0, fewer where fewer are above 0. One that
    is no number where the bound is none: nothing that is made of it is a number then. Off the
    processor always n: 0 where fewer are above it, and first of all what is no number."""
    rows, total = scores.shape[0], scores.shape[0] * scores.shape[1]
    n = min(n, total)
    if isinstance(scores, Known) and not processor.has(scores.pre):
        return _largest_of_all(scores.pre, n)
    sample = scores.sample(max(1, total // SAMPLE) | 1)  # odd, so that it meets all features
    share = MARGIN * n / total
    while True:
        bound = _bound(sample, share)
        values, row, index = scores.reaching(bound.expand(rows))
        if bound <= 0 or (values >= bound).sum() >= n:
            break
        if bound.isnan():
            first = torch.zeros(1, dtype=torch.int64, device=bound.device)
            return bound[None], first, first
        share *= 2
    least = values.kthvalue(len(values) - n + 1).values if len(values) > n else bound
    kept = ((values > 0) & (values >= least)).nonzero()[:, 0]
    return values[kept], row[kept], index[kept]


def _largest_of_all(pre: Tensor, n: int) -> Entries:
    """Without a bound, which would have to be looked at."""
    flat = pre.flatten().topk(n, sorted=False).indices.sort().values
    row = flat // pre.shape[1]
    values = pre.flatten().index_select(0, flat).clamp_min_(0)
    return values, row, flat - row * pre.shape[1]


def _bound(sample: Tensor, share: float) -> Tensor:
    """A bound, 0 at least, that about this share of all values is above, by a sample."""
    count = min(len(sample), int(share * len(sample)) + 1)
    return sample.topk(count, sorted=False).values.amin().clamp_min(0)
