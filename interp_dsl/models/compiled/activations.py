"""Activation functions. Without gradients they work in place; on a processor on pieces that stay in
its cache: one long pass over memory instead of several."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache, partial

import torch
from torch import Tensor
from torch.nn import functional

PIECE = 1 << 17
"""Entries of a piece: 512 kB of float32."""


def _solu(x: Tensor) -> Tensor:
    return x * functional.softmax(x, dim=-1)


_tanh_gelu = partial(functional.gelu, approximate="tanh")
ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "gelu_new": _tanh_gelu,
    "gelu_pytorch_tanh": _tanh_gelu,
    "silu": functional.silu,
    "swish": functional.silu,
    "solu": _solu,
    "solu_ln": _solu,
}


def activated(x: Tensor, name: str, bias: Tensor | None) -> Tensor:
    """The activation `name` of x + bias, x [..., width], bias [width]. May overwrite x."""
    function = ACTIVATIONS[name]
    if torch.is_grad_enabled() or not x.is_contiguous():
        return function(x if bias is None else x + bias)
    if x.device.type != "cpu":
        return _WHOLE.get(name, function)(x if bias is None else x.add_(bias))
    in_place = _IN_PLACE.get(name)
    rows = x.view(-1, x.shape[-1])
    for piece in torch.split(rows, max(1, PIECE // x.shape[-1])):
        if bias is not None:
            piece.add_(bias)
        if in_place is None or x.dtype not in (torch.float32, torch.float64):
            piece.copy_(function(piece))
        else:
            in_place(piece)
    return x


_TWICE = 2 * math.sqrt(2 / math.pi)


@cache
def _number(value: float, dtype: torch.dtype) -> Tensor:
    return torch.tensor(value, dtype=dtype)


def _tanh_gelu_(x: Tensor) -> None:
    """½ x (1 + tanh u) = x σ(2u) with u = √(2/π) (x + 0.044715 x³): a sigmoid is much cheaper here
    than the library's tanh form, and equal to rounding."""
    slope = torch.addcmul(_number(_TWICE, x.dtype), x, x, value=_TWICE * 0.044715)
    x.mul_(slope.mul_(x).sigmoid_())


_tanh_gelu_whole = partial(torch.ops.aten.gelu_.default, approximate="tanh")
_WHOLE: Mapping[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu_,
    "gelu": torch.ops.aten.gelu_.default,
    "gelu_new": _tanh_gelu_whole,
    "gelu_pytorch_tanh": _tanh_gelu_whole,
    "silu": partial(functional.silu, inplace=True),
    "swish": partial(functional.silu, inplace=True),
}
"""In place in one operation, as devices other than a processor want it."""
_IN_PLACE: Mapping[str, Callable[[Tensor], object]] = {
    "relu": torch.relu_,
    "gelu_new": _tanh_gelu_,
    "gelu_pytorch_tanh": _tanh_gelu_,
}
