"""What a first batch of activations says: their scale, and where b_dec begins."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def mean_length(x: Tensor) -> float:
    """The mean length of the rows of x [n, d]."""
    return float(torch.linalg.vector_norm(x, dim=1).mean())


def scale_of(x: Tensor) -> float:
    """The factor that brings the mean length of x [n, d] to √d (Templeton et al. 2024)."""
    length = mean_length(x)
    return math.sqrt(x.shape[1]) / length if length > 0 else 1.0


def begin_at(x: Tensor, bias: str) -> Tensor:
    """b_dec [d] at the mean, the geometric median, or zero."""
    match bias:
        case "mean":
            return x.mean(0)
        case "median":
            return geometric_median(x)
        case "zero":
            return torch.zeros_like(x[0])
    raise ValueError(f"no beginning {bias!r}")


def geometric_median(x: Tensor, steps: int = 100, tolerance: float = 1e-6) -> Tensor:
    """The point of least summed distance to the rows of x [n, d], by Weiszfeld's iteration."""
    middle = x.mean(0)
    for _ in range(steps):
        weight = torch.linalg.vector_norm(x - middle, dim=1).clamp_min(1e-8).reciprocal()
        new: Tensor = weight @ x / weight.sum()
        if float((new - middle).norm()) <= tolerance * float(middle.norm() + 1e-8):
            return new
        middle = new
    return middle
