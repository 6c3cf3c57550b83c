"""Norms that are linear: their scales are those of an earlier pass."""

from __future__ import annotations

import torch
from torch import Tensor

from interp_dsl.models.compiled.forward import Compiled
from interp_dsl.models.compiled.weights import Norm


class HeldNorms(Compiled):
    """A model's arithmetic. A pass behind `watch()` is the model's own; each norm's scale is kept,
    1 / σ [..., B, T, 1]. In passes behind `hold(rows)`, whose row i is of the example rows[i] of
    the one watched, norms divide by that σ: with c the mean of x, or 0 for RMS,

        (x - c) / σ_watched · w + b."""

    def __init__(self, model: Compiled) -> None:
        super().__init__(model.description, model.weights)
        self._scales: dict[int, Tensor] = {}
        self._rows: Tensor | None = None

    def watch(self) -> None:
        self._rows = None
        self._scales.clear()

    def hold(self, rows: Tensor) -> None:
        self._rows = rows

    def inverse_scale(self, x: Tensor, norm: Norm) -> Tensor:
        if self._rows is None:
            self._scales[id(norm)] = super().inverse_scale(x, norm)
            return self._scales[id(norm)]
        return self._scales[id(norm)].index_select(-3, self._rows)

    def normed(self, x: Tensor, norm: Norm, kind: str | None) -> Tensor:
        if kind != "LN":
            return super().normed(x, norm, kind)
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        wide = wide - wide.mean(-1, keepdim=True)
        out = (wide * self.inverse_scale(wide, norm)).to(x.dtype)
        out = out if norm.weight is None else out * norm.weight
        return out if norm.bias is None else out + norm.bias
