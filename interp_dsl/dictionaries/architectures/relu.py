"""ReLU dictionaries with an L1 penalty.

norm="unit" (Bricken et al. 2023, Towards Monosemanticity):
    mean over the batch of [mean over elements (x - x̂)² + l1 Σ f], decoder rows of length 1
norm="weighted" (Anthropic's update of April 2024):
    mean over the batch of [Σ (x - x̂)² + l1 Σ f_i ‖decoder_i‖], decoder rows of any length"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

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
    unit,
)
from interp_dsl.dictionaries.codes import Dense


@dataclass(frozen=True)
class Relu:
    l1: float
    norm: Literal["unit", "weighted"] = "unit"
    name = "relu"

    @property
    def has_unit_norm(self) -> bool:
        return self.norm == "unit"

    @property
    def convention(self) -> str:
        return "mean" if self.norm == "unit" else "sum"

    def initial(self, d: int, width: int, generator: torch.Generator) -> Params:
        """Kaiming-uniform and untied for unit norms; the decoder's transpose, of length 0.1, for
        weighted ones; both as published."""
        if self.norm == "weighted":
            return tied(d, width, generator, 0.1)

        def kaiming(fan_in: int) -> Tensor:
            bound = math.sqrt(6 / fan_in)
            return (torch.rand(width, d, generator=generator) * 2 - 1) * bound

        return {
            "encoder": kaiming(d),
            "decoder": unit(kaiming(width)),
            "b_enc": torch.zeros(width),
            "b_dec": torch.zeros(d),
        }

    def loss(self, params: Params, x: Tensor, now: Now) -> Found:
        """Five products: encode, decode, and the gradients of f, decoder and encoder."""
        decoder, l1 = params["decoder"], self.l1 * now.warmth / len(x)
        seen = centred(params, x)
        f = affine(params, seen).clamp_min_(0)
        codes, on = Dense(f), f > 0
        error = torch.addmm(params["b_dec"], f, decoder) - x
        mse, g = squared(error, convention=self.convention)
        d_decoder, d_f, sums = codes.outer(f, g), codes.slopes(g, decoder), f.sum(0)
        if self.norm == "unit":
            penalty = l1 * sums.sum()
            d_f += l1
        else:
            lengths = decoder.norm(dim=1)
            penalty = l1 * (sums @ lengths)
            d_f += l1 * lengths
            d_decoder += (l1 * sums / lengths)[:, None] * decoder
        gradients = encoder_gradients(params, codes, d_f.mul_(on), seen)
        gradients["decoder"] = d_decoder
        gradients["b_dec"] += g.sum(0)
        return Found({"mse": mse, "l1": penalty}, gradients, error, on.sum(0))
