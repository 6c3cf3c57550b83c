"""Back through a norm."""

from __future__ import annotations

import torch
from torch import Tensor

from interp_dsl.models.compiled.forward import Compiled
from interp_dsl.models.compiled.weights import Norm


class Tangent:
    """A norm at the inputs x [..., D]: its Jacobian is

        J = diag(w) (I - 11ᵀ/D) (I - x̂x̂ᵀ/D) / σ     x̂ = (x - mean) / σ,  σ² = mean (x - mean)² + ε

    without the means for RMS. Without x̂x̂ᵀ it is the linear map that the norm is once its scale is
    held fixed."""

    def __init__(self, model: Compiled, norm: Norm, kind: str | None, x: Tensor) -> None:
        self._kind = kind
        self._weight = norm.weight
        if norm.weight is not None and model.description.norm_offset and kind == "RMS":
            self._weight = (1 + norm.weight.float()).to(x.dtype)
        if kind is not None:
            wide = x.to(torch.promote_types(x.dtype, torch.float32))
            wide = wide - wide.mean(-1, keepdim=True) if kind == "LN" else wide
            scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + model.description.eps)
            self._scale, self._unit = scale.to(x.dtype), (wide * scale).to(x.dtype)

    def pulled_back(self, g: Tensor, rows: Tensor) -> Tensor:
        """g rows J [m, B, T, D] for g [m, B, T, e] and matrices rows [m, e, D] behind the norm."""
        if self._kind is None:
            return _product(g, rows)
        u = _product(g * self._scale, self._folded(rows))
        inner = torch.einsum("mbtd,btd->mbt", u, self._unit) / u.shape[-1]
        return u.addcmul_(self._unit, inner[..., None], value=-1)

    def frozen(self, u: Tensor) -> Tensor:
        """u J [..., D] for u [..., D], the scale held fixed."""
        return u if self._kind is None else self._folded(u) * self._scale

    def _folded(self, rows: Tensor) -> Tensor:
        rows = rows if self._weight is None else rows * self._weight
        return rows - rows.mean(-1, keepdim=True) if self._kind == "LN" else rows


def _product(g: Tensor, rows: Tensor) -> Tensor:
    return torch.bmm(g.flatten(1, 2), rows).view(*g.shape[:-1], rows.shape[-1])
