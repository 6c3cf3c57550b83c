"""JumpReLU dictionaries (Rajamanoharan et al. 2024, arXiv 2407.14435).

    f = a · H(a - θ),  a the pre-activations, θ = exp(log_threshold) > 0
    loss: mean over the batch of mean (x - x̂)², and  l0 · mean Σ H(a - θ)
    or, with a target,                            l0 · (mean Σ H(a - θ) / target - 1)²

θ has pseudo-derivatives by a rectangle K of width ε (their equations 11 and 12):
    ∂f/∂θ = -(θ/ε) K((a - θ)/ε),   ∂H(a - θ)/∂θ = -(1/ε) K((a - θ)/ε)"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from interp_dsl.dictionaries.architectures.base import (
    Found,
    Now,
    Params,
    affine,
    centred,
    encoder_gradients,
    squared,
    tied,
)
from interp_dsl.dictionaries.codes import Dense


@dataclass(frozen=True)
class JumpRelu:
    l0: float
    target: float | None = None
    bandwidth: float = 0.001
    threshold: float = 0.001
    name = "jumprelu"
    has_unit_norm = True
    convention = "mean"

    def initial(self, d: int, width: int, generator: torch.Generator) -> Params:
        start = torch.full((width,), math.log(self.threshold))
        return {**tied(d, width, generator), "log_threshold": start}

    def loss(self, params: Params, x: Tensor, now: Now) -> Found:
        """Five products, as of ReLU."""
        decoder, share = params["decoder"], 1 / len(x)
        threshold = params["log_threshold"].exp()
        seen = centred(params, x)
        a = affine(params, seen)
        on = a > threshold
        near = (a - threshold).abs_() < self.bandwidth / 2
        f = a.mul_(on)
        codes, fired = Dense(f), on.sum(0)
        error = torch.addmm(params["b_dec"], f, decoder) - x
        mse, g = squared(error)
        count = share * fired.sum()
        penalty, slope = self._penalty(count, self.l0 * now.warmth)
        d_f = codes.slopes(g, decoder)
        steep = (d_f * near).sum(0)  # θ f' enters through values next to θ, the count through each
        d_threshold = -(threshold * steep + (slope * share) * near.sum(0)) / self.bandwidth
        gradients = encoder_gradients(params, codes, d_f.mul_(on), seen)
        gradients["decoder"] = codes.outer(f, g)
        gradients["b_dec"] += g.sum(0)
        gradients["log_threshold"] = d_threshold * threshold
        return Found({"mse": mse, "l0": penalty}, gradients, error, fired)

    def _penalty(self, count: Tensor, weight: float) -> tuple[Tensor, Tensor]:
        """The penalty of a mean count of features on, and its slope."""
        if self.target is None:
            return weight * count, count.new_tensor(weight)
        off = count / self.target - 1
        return weight * off.square(), 2 * weight * off / self.target
