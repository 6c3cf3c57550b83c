"""JumpReLU dictionaries (Rajamanoharan et al. 2024, arXiv 2407.14435).

    f = a · H(a - θ),  a the pre-activations, θ = length · threshold, 0 at least
    loss: mean over the batch of mean (x - x̂)², and  l0 · mean Σ H(a - θ)
    or, with a target,                            l0 · (mean Σ H(a - θ) / target - 1)²

θ has pseudo-derivatives by a rectangle K of width ε (their equations 11 and 12):
    ∂f/∂θ = -(θ/ε) K((a - θ)/ε),   ∂H(a - θ)/∂θ = -(1/ε) K((a - θ)/ε)

They learn log θ, which Adam moves by a share of lr a step: too little for less than some ten
thousand steps. Here a step moves θ by lr of the inputs' mean length, as in dictionary_learning."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from interp_dsl.dictionaries.architectures.base import (
    Found,
    Now,
    Params,
    blank,
    chunks,
    count_on,
    share,
    squared,
    tied,
    where_near,
    where_on,
)


@dataclass(frozen=True)
class JumpRelu:
    """`bandwidth` ε and the first `threshold` are in units of `length`. A threshold below 0 counts
    as 0 and keeps its slope."""

    l0: float
    target: float | None = None
    bandwidth: float = 0.001
    threshold: float = 0.001
    length: float = 1.0
    name = "jumprelu"
    has_unit_norm = True
    convention = "mean"

    def initial(self, d: int, width: int, generator: torch.Generator) -> Params:
        return {**tied(d, width, generator), "threshold": torch.full((width,), self.threshold)}

    def loss(self, params: Params, x: Tensor, now: Now) -> Found:
        """Five products, as of ReLU."""
        encoder, decoder, width = params["encoder"], params["decoder"], len(params["decoder"])
        threshold, weight = self.thresholds(params, {}), share(x)
        most = self.bandwidth * self.length / 2
        fired, close, steep = (torch.zeros_like(threshold) for _ in range(3))
        gradients, errors, mse = blank(params), [], x.new_zeros(())
        for part in chunks(x, width):
            seen = part - params["b_dec"]
            a = torch.addmm(params["b_enc"], seen, encoder.T)
            beyond = a - threshold
            f = where_on(a, beyond)
            errors.append(torch.addmm(params["b_dec"], f, decoder) - part)
            loss, g = squared(errors[-1], weight)
            d_f = g @ decoder.T
            steep += where_near(d_f, beyond, most).sum(0)
            close += where_near(torch.ones_like(d_f), beyond, most).sum(0)
            d_pre = where_on(d_f, f)
            gradients["decoder"].addmm_(f.T, g)
            gradients["encoder"].addmm_(d_pre.T, seen)
            gradients["b_dec"] += g.sum(0)
            gradients["b_enc"] += d_pre.sum(0)
            mse, fired = mse + loss, fired + count_on(f)
        gradients["b_dec"] -= gradients["b_enc"] @ encoder
        penalty, slope = self._penalty(fired.sum() / len(x), self.l0 * now.warmth)
        d_threshold = -(threshold * steep + (slope / len(x)) * close) / (2 * most)
        gradients["threshold"] = d_threshold * self.length
        return Found({"mse": mse, "l0": penalty}, gradients, torch.cat(errors), fired)

    def thresholds(self, params: Params, held: Params) -> Tensor:
        """θ [m]."""
        return self.length * params["threshold"].clamp_min(0)

    def _penalty(self, count: Tensor, weight: float) -> tuple[Tensor, Tensor]:
        """The penalty of a mean count of features on, and its slope."""
        if self.target is None:
            return weight * count, count.new_tensor(weight)
        off = count / self.target - 1
        return weight * off.square(), 2 * weight * off / self.target
