"""ReLU dictionaries with an L1 penalty.

norm="unit" (Bricken et al. 2023, Towards Monosemanticity):
    mean over the batch of [mean over elements (x - x̂)² + l1 Σ f], decoder rows of length 1
norm="weighted" (Anthropic's update of April 2024):
    mean over the batch of [Σ (x - x̂)² + l1 Σ f_i ‖decoder_i‖], decoder rows of any length
of a crosscoder (Lindsey et al. 2024), whose rows are those of several places side by side:
    ‖decoder_i‖ is the sum of the lengths at each place"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from interp_dsl.dictionaries.architectures.base import (
    Found,
    Now,
    Params,
    Sizes,
    affine,
    blank,
    chunks,
    column_sums,
    count_on,
    share,
    start,
    sum_of_squares,
    unit,
    where_on,
)


@dataclass(frozen=True)
class Relu:
    """`parts`: the widths of the places that a crosscoder rebuilds side by side, one alone where
    they are left out."""

    l1: float
    norm: Literal["unit", "weighted"]
    parts: tuple[int, ...] = ()
    name = "relu"

    @property
    def has_unit_norm(self) -> bool:
        return self.norm == "unit"

    @property
    def convention(self) -> str:
        return "mean" if self.norm == "unit" else "sum"

    def initial(self, sizes: Sizes, generator: torch.Generator) -> Params:
        """The encoder begins as the decoder's transpose (Gao et al. 2024, A.1; Anthropic's update),
        for weighted norms of length 0.1; an encoder of its own, as in Bricken et al. 2023, leaves
        a larger error and more dead features after a short fit."""
        return start(sizes, generator, 0.1 if self.norm == "weighted" else 1.0)

    def thresholds(self, params: Params, held: Params) -> None:
        return None

    def loss(self, params: Params, seen: Tensor, wanted: Tensor, now: Now) -> Found:
        """Five products: encode, decode, and the gradients of f, decoder and encoder."""
        by, decoder, width = now.products, params["decoder"], len(params["decoder"])
        l1, weight = self.l1 * now.warmth / len(seen), share(wanted, self.convention)
        lengths = self.lengths(decoder)
        pay = l1 / (2 * weight) * lengths  # slopes are counted in units of 2 weight
        sums, fired = torch.zeros_like(lengths), torch.zeros_like(lengths)
        gradients, error = blank(params, now.room), torch.empty_like(wanted)
        rough, x = by.rounded(params, "encoder", "decoder"), by.factor(seen)
        for rows, f, d_f in chunks(seen, width, "f", "d_f", room=now.room):
            affine(rough, x[rows], f, by).clamp_min_(0)
            on = by.factor(f)
            off = by.addmm(wanted[rows], on, rough["decoder"], beta=-1, out=error[rows])
            by.mm(off, rough["decoder"].T, d_f).add_(pay)
            d_pre = where_on(d_f, f)
            by.add_to(gradients["decoder"], on.T, off, 2 * weight)
            by.add_to(gradients["encoder"], d_pre.T, x[rows], 2 * weight)
            gradients["b_enc"].add_(column_sums(d_pre), alpha=2 * weight)
            sums += column_sums(f)
            fired += count_on(f)
        if self.norm == "weighted":
            gradients["decoder"] += (l1 * sums)[:, None] * self._turn(decoder)
        terms = {"mse": weight * sum_of_squares(error), "l1": l1 * (sums @ lengths)}
        return Found(terms, gradients, error, error, 2 * weight, gradients["b_enc"], fired)

    def lengths(self, decoder: Tensor) -> Tensor:
        """What each feature [m] counts in the penalty."""
        if self.norm == "unit":
            return torch.ones_like(decoder[:, 0])
        parts = torch.split(decoder, list(self.parts or decoder.shape[1:]), 1)
        return torch.stack([part.norm(dim=1) for part in parts]).sum(0)

    def _turn(self, decoder: Tensor) -> Tensor:
        """The slope of `lengths` along the decoder [m, d_out]: each site's row at length 1."""
        parts = torch.split(decoder, list(self.parts or decoder.shape[1:]), 1)
        return torch.cat([unit(part) for part in parts], 1)
