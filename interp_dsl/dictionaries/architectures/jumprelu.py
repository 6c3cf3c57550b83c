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
    Sizes,
    add_column_sums,
    blank,
    chunks,
    share,
    start,
    strips,
    sum_of_squares,
    where_near,
    where_on,
)

_WORKED_IN = ("f", "beyond", "d_f")


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

    def initial(self, sizes: Sizes, generator: torch.Generator) -> Params:
        threshold = torch.full((sizes.width,), self.threshold)
        return {**start(sizes, generator), "threshold": threshold}

    def loss(self, params: Params, seen: Tensor, wanted: Tensor, now: Now) -> Found:
        """Five products, as of ReLU."""
        by, width = now.products, len(params["decoder"])
        encoder, decoder = by.factor(params["encoder"]), by.factor(params["decoder"])
        threshold, weight = self.thresholds(params, {}), share(wanted)
        most = self.bandwidth * self.length / 2
        fired, close, steep, pull = (torch.zeros_like(threshold) for _ in range(4))
        gradients, error = blank(params, now.room), torch.empty_like(wanted)
        one, x = torch.ones_like(threshold[:1]), by.factor(seen)
        for rows, f, beyond, d_f in chunks(seen, width, *_WORKED_IN, room=now.room):
            by.mm(x[rows], encoder.T, f)
            for f_, beyond_ in strips(f, beyond):
                torch.sub(f_.add_(params["b_enc"]), threshold, out=beyond_)
                where_on(f_, beyond_)
            on = by.factor(f)
            off = by.addmm(wanted[rows], on, decoder, beta=-1, out=error[rows])
            by.mm(off, decoder.T, d_f)
            for f_, beyond_, d_f_ in strips(f, beyond, d_f):
                worked_in = now.room("strip", f, *f_.shape)
                near = where_near(one, beyond_, most, worked_in)
                add_column_sums(close, near)
                add_column_sums(steep, near.mul_(d_f_))
                add_column_sums(pull, where_on(d_f_, f_))
                add_column_sums(fired, torch.sign(f_, out=worked_in))
            by.add_to(gradients["decoder"], on.T, off, 2 * weight)
            by.add_to(gradients["encoder"], d_f.T, x[rows], 2 * weight)
        gradients["b_enc"] = pull.mul_(2 * weight)
        steep *= 2 * weight
        count = now.crew.total(fired.sum()) / (len(seen) * now.crew.size)
        penalty, push = self._penalty(count, self.l0 * now.warmth)
        d_threshold = -(threshold * steep + (push / len(seen)) * close) / (2 * most)
        gradients["threshold"] = d_threshold * self.length
        terms = {"mse": weight * sum_of_squares(error), "l0": penalty}
        return Found(terms, gradients, error, error, 2 * weight, gradients["b_enc"], fired)

    def thresholds(self, params: Params, held: Params) -> Tensor:
        """θ [m]."""
        return self.length * params["threshold"].clamp_min(0)

    def _penalty(self, count: Tensor, weight: float) -> tuple[Tensor, Tensor]:
        """The penalty of a mean count of features on, and its slope."""
        if self.target is None:
            return weight * count, torch.full_like(count, weight)
        off = count / self.target - 1
        return weight * off.square(), 2 * weight * off / self.target
