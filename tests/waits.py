"""Where the program waits for a device: calls of torch whose answer the host needs before it can go
on, and copies between the two, told apart by who makes them.

On the processor nothing waits; the calls are the same, so that they can be listed without a GPU."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

import interp_dsl

PACKAGE = Path(interp_dsl.__file__).parent
_METHODS = (
    "item tolist cpu numpy __bool__ __int__ __float__ __index__ __contains__ nonzero argwhere "
    "unique unique_consecutive masked_select equal allclose bincount multinomial new_tensor"
)
_FUNCTIONS = (
    "nonzero argwhere unique unique_consecutive masked_select equal allclose bincount multinomial "
    "tensor from_numpy as_tensor"
)
ASKED = frozenset(
    [getattr(Tensor, name) for name in _METHODS.split()]
    + [getattr(torch, name) for name in _FUNCTIONS.split()]
)


class Waits(TorchFunctionMode):
    """`found` fills with the functions of the package, `module:function`, that make such calls.
    Within those that are `allowed`, CUDA's own watch over waits is lifted."""

    def __init__(self, allowed: Collection[str] = ()) -> None:
        super().__init__()
        self.allowed = allowed
        self.found: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        caller = _caller(sys._getframe(1))
        if func in ASKED or _waits(func, args, kwargs or {}):
            self.found.add(caller)
        with watch("default") if caller in self.allowed else nullcontext():
            return func(*args, **(kwargs or {}))


@contextmanager
def watch(mode: str) -> Iterator[None]:
    """CUDA's watch over waits: default, warn or error. Nothing where there is no CUDA device."""
    if not torch.cuda.is_available():
        yield
        return
    held = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode(mode)
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(held)


def _waits(func: Any, args: Any, kwargs: Any) -> bool:
    """Whether it does by what it is given."""
    if func in (Tensor.__getitem__, Tensor.__setitem__):
        return _is_looked_at(args[1])
    if func is torch.where:
        return len(args) == 1
    if func in (torch.repeat_interleave, Tensor.repeat_interleave):
        counts = kwargs.get("repeats", args[-1])  # their sum is the shape
        return isinstance(counts, Tensor) and kwargs.get("output_size") is None
    if func is Tensor.to:  # from one memory to another, if not behind the host's back
        places = (*args[1:], kwargs.get("device"))
        moves = any(isinstance(place, str | torch.device) for place in places)
        return moves and not kwargs.get("non_blocking")
    return False


def _is_looked_at(key: Any) -> bool:
    """Whether an index is of truth values, whose number decides the shape, or a list, which is
    copied to the device."""
    parts = key if isinstance(key, tuple) else (key,)
    return any(
        isinstance(part, list) or (isinstance(part, Tensor) and part.dtype == torch.bool)
        for part in parts
    )


def _caller(frame: FrameType | None) -> str:
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(PACKAGE):
            name = path.relative_to(PACKAGE.parent).with_suffix("").as_posix().replace("/", ".")
            return f"{name}:{frame.f_code.co_qualname.partition('.<locals>')[0]}"
        frame = frame.f_back
    return "elsewhere"
