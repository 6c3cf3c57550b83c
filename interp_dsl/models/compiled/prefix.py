"""Attention of rows that share what comes before them.

Rows of one example that are taken up at a position differ from it on and in nothing before: the
earlier keys and values are read once an example, not once a row. Two softmaxes, over the earlier
keys and over the row's own, make one by their sums of exponentials (as Milakov & Gimelshein 2018,
arXiv 1805.02867)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from interp_dsl.models.edits import entries, moved

TIMES = 16
"""Where a row's own positions are more than this part of all, two softmaxes cost a processor more
than reading the earlier keys and values once a row."""


@dataclass(frozen=True)
class Groups:
    """The distinct examples [m] of rows [R], and where each row stands among m × `most` places,
    those of one example together. In the processor's memory."""

    examples: Tensor
    places: Tensor
    most: int

    @classmethod
    def of(cls, rows: Tensor) -> Groups:
        examples, which, counts = torch.unique(rows, return_inverse=True, return_counts=True)
        order = which.argsort(stable=True)
        firsts = counts.cumsum(0) - counts
        within = torch.empty_like(which)
        within[order] = torch.arange(len(rows)) - firsts[which[order]]
        most = int(counts.max())
        return cls(examples, which * most + within, most)

    def of_each(self, x: Tensor) -> Tensor:
        """The examples' entries of x [n, …]; x itself where they are all of them."""
        return x if len(self.examples) == len(x) else entries(x, self.examples)

    def gathered(self, x: Tensor) -> Tensor:
        """x [R, …] as [m, most, …], zeros where an example has fewer rows."""
        room = x.new_zeros(len(self.examples) * self.most, *x.shape[1:])
        room.index_copy_(0, moved(self.places, x.device), x)
        return room.view(len(self.examples), self.most, *x.shape[1:])


def shared(
    q: Tensor,
    own: tuple[Tensor, Tensor],
    before: tuple[Tensor, Tensor],
    groups: Groups,
    seen: Tensor,
    scale: float,
) -> Tensor:
    """z [R, t, head, d_head] of queries q [R, t, head, d_head] over all of the earlier keys and
    values `before` [n, P, kv head, d_head], by example, and the row's `own` [R, s, kv head,
    d_head], of which each query sees `seen` [R or 1, t, s]."""
    (k, v), share = own, q.shape[2] // own[0].shape[2]
    z, total, most = _earlier(q, before, groups, scale)
    if share > 1:
        k, v = (x.repeat_interleave(share, 2) for x in (k, v))
    scores = torch.einsum("rthd,rshd->rths", q, k) * scale
    weights, own_total, own_most = _exponentials(scores.masked_fill_(~seen[:, :, None], -torch.inf))
    top = torch.maximum(most, own_most)
    before_part, own_part = (most - top).exp_(), (own_most - top).exp_()
    whole = before_part * total + own_part * own_total
    late = torch.einsum("rths,rshd->rthd", weights, v)
    return (z * (before_part / whole)).addcmul_(late, own_part / whole)


def _exponentials(scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """exp(s - m) of scores [..., keys], their sum and m, the greatest score, [..., 1] each."""
    most = scores.amax(-1, keepdim=True)
    weights = (scores - most).exp_()
    return weights, weights.sum(-1, keepdim=True), most


def _earlier(
    q: Tensor, before: tuple[Tensor, Tensor], groups: Groups, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The values of the earlier keys alone, each times its exponential [R, t, head, d_head]; the
    sum of these and the greatest score [R, t, head, 1]."""
    k, v = (groups.of_each(x).transpose(1, 2) for x in before)  # [m, kv, P, d]
    m, kv, _, size = k.shape
    t, heads = q.shape[1:3]
    queries = groups.gathered(q).view(m, groups.most, t, kv, heads // kv, size)
    queries = queries.permute(0, 3, 1, 2, 4, 5).reshape(m, kv, -1, size)
    weights, total, most = _exponentials(queries @ k.transpose(-1, -2) * scale)

    def by_row(x: Tensor) -> Tensor:
        x = x.view(m, kv, groups.most, t, heads // kv, -1).permute(0, 2, 3, 1, 4, 5)
        return entries(x.reshape(m * groups.most, t, heads, -1), groups.places)

    return by_row(weights @ v), by_row(total), by_row(most)
