"""A plane through three activations, and what a model makes of its points (Janiak et al. 2024,
arXiv 2409.17113): X = a + s (b − a) + t (c − p), p the foot of c on the line through a and b."""

from __future__ import annotations

import torch
from torch import Tensor


def foot(a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """How far the foot of c lies along the way from a to b [...], and c − p [..., width]. The last
    two axes [k, width] of the three are one vector each, so that places of several positions have
    one plane. Where a is b, the foot is a."""
    along, beyond = (b - a).flatten(-2), (c - a).flatten(-2)
    size = along.square().sum(-1)
    share = (along * beyond).sum(-1) / torch.where(size > 0, size, 1.0)
    return share, c - a - share[..., None, None] * (b - a)


def similarities(outputs: Tensor, corners: Tensor) -> Tensor:
    """How alike outputs [m, d] are to those of the three activations [3, d]: 1 where they are the
    same, 0 where they are as far apart as the farthest two of the three, or farther. [m, 3]"""
    widest = torch.cdist(corners, corners).max()
    apart = torch.cdist(outputs, corners)
    return (1 - apart / torch.where(widest > 0, widest, 1.0)).clamp(min=0)
