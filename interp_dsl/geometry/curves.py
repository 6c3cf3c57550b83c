"""What a curve comes to: where it first reaches a value; how steeply, where, how widely and how
often it rises between plateaus (Janiak et al. 2024, arXiv 2409.17113)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

FLAT = 0.2
"""A stretch less steep than this share of a straight line is a plateau."""
LEAST = 0.005
"""A stretch that rises by no more of the whole change is looked at closely enough: in smaller ones
rounding would be steep."""


def reached(lengths: Tensor, values: Tensor, threshold: float) -> Tensor:
    """The first of increasing lengths [L], between points on a straight line, at which curves
    [*, L] are at the threshold or above; NaN for one that never is. [*]"""
    above = values >= threshold
    at = above.int().argmax(-1, keepdim=True)
    found = _between(lengths.expand_as(values), values, at, threshold)
    return torch.where(above.any(-1), found, torch.nan)


def _between(at: Tensor, values: Tensor, high: Tensor, level: float) -> Tensor:
    """Where curves pass a level on the straight line that ends at point `high` [*, 1]."""
    low = (high - 1).clamp(min=0)
    (a, x), (b, y) = ((at.gather(-1, i)[..., 0], values.gather(-1, i)[..., 0]) for i in (low, high))
    return torch.where(x != y, a + (level - x) / (y - x) * (b - a), b)


@dataclass(frozen=True)
class Steps:
    """Of curves [n, L], each as a share of its change from end to end: `slope`, the largest; its
    place `location`; `width`, how far it is from a tenth of the change to nine tenths; `jumps`, how
    many stretches rise by a tenth or more at a slope over `height`; `plateau`, the share of the
    path less steep than FLAT. [n] each, NaN for curves that are left out."""

    slope: Tensor
    location: Tensor
    width: Tensor
    jumps: Tensor
    plateau: Tensor


def steps(at: Tensor, values: Tensor, height: float = 2.0, floor: float = 0.0) -> Steps:
    """`at` [n, L] increasing from 0 to 1, values [n, L]. A curve whose change from end to end is
    not over `floor` in size is left out."""
    change = (values[:, -1] - values[:, 0]).abs()
    share, gaps = _share(values), at.diff(dim=1)
    slopes = _slopes(share, gaps, 0.0)
    steepest = slopes.argmax(1, keepdim=True)
    middle = (at[:, 1:] + at[:, :-1]) / 2
    low, high = _ends(share)
    found = (
        slopes.gather(1, steepest)[:, 0],
        middle.gather(1, steepest)[:, 0],
        _between(at, share, high, 0.9) - _between(at, share, low + 1, 0.1),
        _jumps(share.diff(dim=1), (slopes > height) | (gaps <= 0)),
        (gaps * (slopes.abs() < FLAT)).sum(1) / gaps.sum(1),
    )
    return Steps(*(x.masked_fill(~(change > floor), torch.nan) for x in found))


def refined(at: Tensor, values: Tensor) -> Tensor:
    """Where to look next [n, 5]: the middles of each curve's steepest stretch, of those beside it
    and of those in which it passes a tenth and nine tenths of its change. At an end of the path,
    where the steepest stretch has none beside it, its own quarter point. Of a stretch that is
    looked at closely enough, its beginning."""
    share, gaps = _share(values), at.diff(dim=1)
    steepest = _slopes(share, gaps, -torch.inf).argmax(1, keepdim=True)
    low, high = _ends(share)
    looked_at = [(steepest - 1, -1), (steepest, 0), (steepest + 1, 1), (low, 0), (high - 1, 0)]
    found = []
    for i, beside in looked_at:
        inside = i.clamp(0, gaps.shape[1] - 1)
        begin, gap = at.gather(1, inside), gaps.gather(1, inside)
        gap = gap * (share.diff(dim=1).gather(1, inside).abs() > LEAST)
        found.append(begin + gap * (0.5 + 0.25 * beside * (i != inside)))
    return torch.cat(found, 1)


def _share(values: Tensor) -> Tensor:
    """Curves as a share of their change from end to end; of one without change its values less the
    first."""
    change = values[:, -1:] - values[:, :1]
    return (values - values[:, :1]) / torch.where(change != 0, change, 1.0)


def _slopes(share: Tensor, gaps: Tensor, nowhere: float) -> Tensor:
    """Slopes [n, L − 1]; `nowhere` between two points at one place."""
    return torch.where(gaps > 0, share.diff(dim=1) / torch.where(gaps > 0, gaps, 1.0), nowhere)


def _ends(share: Tensor) -> tuple[Tensor, Tensor]:
    """The first point at nine tenths of the change, and the last before it below a tenth: low, high
    [n, 1] each."""
    points = torch.arange(share.shape[1], device=share.device)
    high = (share >= 0.9).int().argmax(1, keepdim=True)
    is_low = (share <= 0.1) & (points < high)
    return (is_low * (points + 1)).argmax(1, keepdim=True), high


def _jumps(rises: Tensor, is_steep: Tensor) -> Tensor:
    """How many runs of steep stretches [n, L − 1] rise by a tenth or more together."""
    begins = is_steep & ~torch.nn.functional.pad(is_steep, (1, 0))[:, :-1]
    run = begins.int().cumsum(1) * is_steep
    risen = torch.zeros(len(rises), rises.shape[1] + 1, dtype=rises.dtype, device=rises.device)
    risen.scatter_add_(1, run.long(), rises * is_steep)
    return (risen[:, 1:] >= 0.1).sum(1).to(rises.dtype)
