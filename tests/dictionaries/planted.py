"""Activations made of known features, and how many of these a dictionary holds."""

import torch
from torch import Tensor

from interp_dsl.dictionaries.architectures.base import directions


def features(n: int = 64, d: int = 32, seed: int = 0) -> Tensor:
    """Known directions [n, d] of length 1."""
    return directions(d, n, torch.Generator().manual_seed(seed))


def mixtures(known: Tensor, rows: int, generator: torch.Generator, p: float = 0.04) -> Tensor:
    """Sums [rows, d] of features that are on with probability p, with magnitudes 0.5 to 1.5."""
    n = len(known)
    on = torch.rand(rows, n, generator=generator) < p
    return (on * (0.5 + torch.rand(rows, n, generator=generator))) @ known


def mmcs(known: Tensor, decoder: Tensor) -> float:
    """The mean over known features of the largest cosine with a decoder row."""
    rows = decoder / decoder.norm(dim=1, keepdim=True).clamp_min(1e-12)
    return float((known @ rows.T).amax(1).mean())
