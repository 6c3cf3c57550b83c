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
    blank,
    chunks,
    count_on,
    share,
    squared,
    tied,
    unit,
    where_on,
)


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

    def thresholds(self, params: Params, held: Params) -> None:
        return None

    def loss(self, params: Params, x: Tensor, now: Now) -> Found:
        """Five products: encode, decode, and the gradients of f, decoder and encoder."""
        encoder, decoder, width = params["encoder"], params["decoder"], len(params["decoder"])
        l1, weight = self.l1 * now.warmth / len(x), share(x, self.convention)
        lengths = decoder.norm(dim=1) if self.norm == "weighted" else torch.ones_like(decoder[:, 0])
        sums, fired, mse = torch.zeros_like(lengths), torch.zeros_like(lengths), x.new_zeros(())
        gradients, errors = blank(params), []
        for part in chunks(x, width):
            seen = part - params["b_dec"]
            f = torch.addmm(params["b_enc"], seen, encoder.T).clamp_min_(0)
            errors.append(torch.addmm(params["b_dec"], f, decoder) - part)
            loss, g = squared(errors[-1], weight)
            d_pre = where_on(torch.addmm(l1 * lengths, g, decoder.T), f)
            gradients["decoder"].addmm_(f.T, g)
            gradients["encoder"].addmm_(d_pre.T, seen)
            gradients["b_dec"] += g.sum(0)
            gradients["b_enc"] += d_pre.sum(0)
            mse, sums = mse + loss, sums + f.sum(0)
            fired += count_on(f)
        gradients["b_dec"] -= gradients["b_enc"] @ encoder
        if self.norm == "weighted":
            gradients["decoder"] += (l1 * sums / lengths)[:, None] * decoder
        terms = {"mse": mse, "l1": l1 * (sums @ lengths)}
        return Found(terms, gradients, torch.cat(errors), fired)
