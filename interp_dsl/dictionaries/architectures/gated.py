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
    centred,
    squared,
    tied,
)


@dataclass(frozen=True)
class Gated:
    l1: float
    name = "gated"
    has_unit_norm = True
    convention = "mean"

    def initial(self, d: int, width: int, generator: torch.Generator) -> Params:
        params = tied(d, width, generator)
        b_gate = params.pop("b_enc")
        more = {"b_gate": b_gate, "b_mag": b_gate.clone(), "r_mag": b_gate.clone()}
        return {**params, **more}

    def loss(self, params: Params, x: Tensor, now: Now) -> Found:
        """Seven products: those of ReLU, and decoding the gate and its gradient."""
        decoder, l1 = params["decoder"], self.l1 * now.warmth / len(x)
        seen, scale = centred(params, x), params["r_mag"].exp()
        shared = seen @ params["encoder"].T
        gate = (shared + params["b_gate"]).clamp_min_(0)
        f = torch.addcmul(params["b_mag"], shared, scale).clamp_min_(0).mul_(gate > 0)
        error = torch.addmm(params["b_dec"], f, decoder) - x
        mse, g = squared(error)
        aux, g_gate = squared(torch.addmm(params["b_dec"], gate, decoder) - x)
        d_mag = (g @ decoder.T).mul_(f > 0)
        d_gate = (g_gate @ decoder.T).add_(l1).mul_(gate > 0)
        d_shared = torch.addcmul(d_gate, d_mag, scale)
        gradients = {
            "encoder": d_shared.T @ seen,
            "decoder": f.T @ g,
            "b_gate": d_gate.sum(0),
            "b_mag": d_mag.sum(0),
            "r_mag": (d_mag * shared).sum(0) * scale,
            "b_dec": g.sum(0) - d_shared.sum(0) @ params["encoder"],
        }
        terms = {"mse": mse, "l1": l1 * gate.sum(), "gate": aux}
        return Found(terms, gradients, error, (f > 0).sum(0))
