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
    "item tolist cpu numpy __bool__ __int__ __float__ __index__ __contains__ nonzero unique "
    "masked_select equal"
)
_FUNCTIONS = "nonzero equal unique masked_select tensor from_numpy as_tensor"
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
        if func in ASKED or (func is Tensor.__getitem__ and _by_mask(args[1])):
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


def _by_mask(key: Any) -> bool:
    """Whether a tensor is indexed by one of truth values: how many there are decides the shape."""
    parts = key if isinstance(key, tuple) else (key,)
    return any(isinstance(part, Tensor) and part.dtype == torch.bool for part in parts)


def _caller(frame: FrameType | None) -> str:
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(PACKAGE):
            name = path.relative_to(PACKAGE.parent).with_suffix("").as_posix().replace("/", ".")
            return f"{name}:{frame.f_code.co_qualname.partition('.<locals>')[0]}"
        frame = frame.f_back
    return "elsewhere"
