"""Hard-concrete masks (Louizos et al. 2018, arXiv 1712.01312): numbers in [0, 1] that are exactly 0
or 1 with a probability, and have a gradient.

    u ~ U(0, 1),  z = clamp(σ((log u - log(1 - u) + m) / β) · (ζ - γ) + γ, 0, 1)
    P(z > 0) = σ(m - β log(-γ / ζ))"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

BETA, GAMMA, ZETA = 2 / 3, -0.1, 1.1


def sampled(m: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """n masks [n, ...] from logits m [...]. The draw is made on the CPU in double precision, so
    that a seed gives the same on any device."""
    tiny = 1e-6
    u = torch.rand(n, *m.shape, generator=generator, dtype=torch.float64)
    noise = torch.logit(u.clamp(tiny, 1 - tiny)).to(m)
    return _stretched((noise + m) / BETA)


def settled(m: Tensor) -> Tensor:
    """The masks without noise."""
    return _stretched(m)


def log_alive(m: Tensor) -> Tensor:
    """log P(z > 0)."""
    return functional.logsigmoid(m - BETA * math.log(-GAMMA / ZETA))


def logits(n: int, mask: float, device: torch.device) -> Tensor:
    """n logits to be learned, float32 whatever the model is, whose settled masks are `mask`,
    between 0 and 1."""
    p = (mask - GAMMA) / (ZETA - GAMMA)
    return torch.full((n,), math.log(p / (1 - p)), device=device, requires_grad=True)


def _stretched(x: Tensor) -> Tensor:
    return (x.sigmoid() * (ZETA - GAMMA) + GAMMA).clamp(0, 1)
