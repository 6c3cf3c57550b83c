"""Attention of rows that share what comes before them.

Rows of one example that are taken up at a position differ from it on and in nothing before: the
earlier keys and values are read once an example, not once a row. A softmax goes over the scores of
these and of the row's own keys together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from interp_dsl.models.edits import entries

TIMES = 16
"""Where a row's own positions are more than this part of all, the scores of own keys by themselves
cost a processor more than reading the earlier keys and values once a row."""


@dataclass(frozen=True)
class Groups:
    """The distinct examples [m] of rows [R], where each row stands among m × `most` places, those
    of one example together, and the `members` [m × most] that stand there; row 0 where an example
    has fewer. In the processor's memory."""

    examples: Tensor
    places: Tensor
    members: Tensor
    most: int

    @classmethod
    def of(cls, rows: Tensor) -> Groups:
        examples, which, counts = torch.unique(rows, return_inverse=True, return_counts=True)
        order = which.argsort(stable=True)
        firsts = counts.cumsum(0) - counts
        within = torch.empty_like(which)
        within[order] = torch.arange(len(rows)) - firsts[which[order]]
        most = int(counts.max())
        places = which * most + within
        members = torch.zeros(len(examples) * most, dtype=torch.long)
        members[places] = torch.arange(len(rows))
        return cls(examples, places, members, most)

    def of_each(self, x: Tensor) -> Tensor:
        """The examples' entries of x [n, …]; x itself where they are all of them."""
        return x if len(self.examples) == len(x) else entries(x, self.examples)

    def gathered(self, x: Tensor) -> Tensor:
        """x [R, t, …] as [m, most × t, …]."""
        return entries(x, self.members).view(len(self.examples), -1, *x.shape[2:])

    def by_row(self, x: Tensor, t: int) -> Tensor:
        """What `gathered` makes of it, as [R, t, …] again."""
        return entries(x.reshape(len(self.members), t, *x.shape[2:]), self.places)


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
    (k, v), (t, heads), kv = own, q.shape[1:3], own[0].shape[2]
    if heads > kv:
        k, v = (x.repeat_interleave(heads // kv, 2) for x in (k, v))
    is_one = k.shape[1] == 1  # a product of vectors then, which costs less than one of matrices
    scores = (q * k).sum(-1, keepdim=True) if is_one else torch.einsum("rthd,rshd->rths", q, k)
    scores = scores.masked_fill_(~seen[:, :, None], -torch.inf)
    asked = (groups.gathered(_by_kv_head(x, kv)) for x in (q, scores))
    few = 1 if q.device.type == "cpu" else kv  # it multiplies keys of one head where they lie
    parts = (torch.split(x, few, 2) for x in (*asked, *map(groups.of_each, before)))
    found = [_attended(scale, *of_head) for of_head in zip(*parts, strict=True)]
    z, weights = (groups.by_row(torch.cat(x, 2).flatten(2, 3), t) for x in zip(*found, strict=True))
    if is_one:
        return z.addcmul_(weights, v)
    return z.add_(torch.einsum("rths,rshd->rthd", weights, v))


def _by_kv_head(x: Tensor, kv: int) -> Tensor:
    """x [R, t, head, …] as [R, t, kv, share, …]."""
    return x.view(*x.shape[:2], kv, -1, *x.shape[3:])


def _attended(scale: float, q: Tensor, own: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Of queries [m, r, kv, share, d_head] with scores of their `own` keys [m, r, kv, share, s],
    over these and the earlier keys and values [m, P, kv, d_head]: what the earlier values come to
    [m, r, kv, share, d_head] and the weights of the own ones, as the scores."""
    q, own, k, v = (x.transpose(1, 2) for x in (q, own, k, v))
    shape, earlier = q.shape[:4], k.shape[2]
    scores = torch.cat([q.flatten(2, 3) @ k.transpose(-1, -2), own.flatten(2, 3)], -1)
    weights = scores.mul_(scale).softmax(-1)
    z, own = weights[..., :earlier] @ v, weights[..., earlier:]
    return z.view(*shape, -1).transpose(1, 2), own.reshape(*shape, -1).transpose(1, 2)
