"""Gated dictionaries (Rajamanoharan et al. 2024, arXiv 2404.16014).

    π_gate = seen encoderᵀ + b_gate,   π_mag = seen encoderᵀ · exp(r_mag) + b_mag
    f = H(π_gate) · ReLU(π_mag)
    loss: mean over the batch of mean (x - x̂)² + l1 Σ ReLU(π_gate) + mean (x - x̂_gate)²
where x̂_gate decodes ReLU(π_gate) by a frozen copy of decoder and b_dec."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from interp_dsl.dictionaries.architectures.base import (
    Found,
    Now,
    Params,
    Sizes,
    blank,
    chunks,
    column_sums,
    count_on,
    share,
    start,
    sum_of_squares,
    where_on,
)

_WORKED_IN = ("shared", "gate", "f", "d_mag", "d_gate")


@dataclass(frozen=True)
class Gated:
    l1: float
    name = "gated"
    has_unit_norm = True
    convention = "mean"

    def initial(self, sizes: Sizes, generator: torch.Generator) -> Params:
        params = start(sizes, generator)
        b_gate = params.pop("b_enc")
        more = {"b_gate": b_gate, "b_mag": b_gate.clone(), "r_mag": b_gate.clone()}
        return {**params, **more}

    def thresholds(self, params: Params, held: Params) -> None:
        return None

    def loss(self, params: Params, seen: Tensor, wanted: Tensor, now: Now) -> Found:
        """Seven products: those of ReLU, and decoding the gate and its gradient."""
        by, width = now.products, len(params["decoder"])
        encoder, decoder = by.factor(params["encoder"]), by.factor(params["decoder"])
        l1, weight, scale = self.l1 * now.warmth / len(seen), share(wanted), params["r_mag"].exp()
        fired, gates, pull = (torch.zeros_like(scale) for _ in range(3))
        gradients, aux = blank(params, now.room), wanted.new_zeros(())
        alone = wanted if now.alone is None else now.alone
        error, x = torch.empty_like(wanted), by.factor(seen)
        for rows, shared, gate, f, d_mag, d_gate in chunks(seen, width, *_WORKED_IN, room=now.room):
            by.mm(x[rows], encoder.T, shared)
            torch.add(shared, params["b_gate"], out=gate).clamp_min_(0)
            torch.addcmul(params["b_mag"], shared, scale, out=f).clamp_min_(0)
            where_on(f, gate)
            on = by.factor(f)
            off = by.addmm(wanted[rows], on, decoder, beta=-1, out=error[rows])
            off_gate = by.addmm(alone[rows], gate, decoder, beta=-1)
            where_on(by.mm(off, decoder.T, d_mag).mul_(2 * weight), f)
            where_on(by.mm(off_gate.mul(2 * weight), decoder.T, d_gate).add_(l1), gate)
            by.add_to(gradients["decoder"], on.T, off, 2 * weight)
            gradients["b_gate"] += column_sums(d_gate)
            gradients["b_mag"] += column_sums(d_mag)
            d_shared = d_gate.addcmul_(d_mag, scale)
            by.add_to(gradients["encoder"], d_shared.T, x[rows])
            gradients["r_mag"] += column_sums(d_mag.mul_(shared)) * scale
            pull += column_sums(d_shared)
            aux = aux + weight * sum_of_squares(off_gate)
            gates += column_sums(gate)
            fired += count_on(f)
        terms = {"mse": weight * sum_of_squares(error), "l1": l1 * gates.sum(), "gate": aux}
        return Found(terms, gradients, error, error, 2 * weight, pull, fired)
