"""The precision that a model runs in: the dtype of its weights and activations, and how matrices of
float32 are multiplied.

torch keeps the latter for the whole process. An executor sets its own for every pass and puts back
what it found, so that float32 is float32 whatever the process was told, and two models of one run
may differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import torch

from interp_dsl.models.errors import failure, nearest
from interp_dsl.models.options import DTYPES

TF32_CAPABILITY = (8, 0)
"""NVIDIA GPUs multiply in TF32 from this compute capability on (Ampere)."""


@dataclass(frozen=True)
class Precision:
    """`dtype` of weights and activations; `tf32` where matrices of float32 are multiplied with
    mantissas rounded to 10 bits, their products added in float32."""

    dtype: torch.dtype
    tf32: bool = False

    @property
    def name(self) -> str:
        return "tf32" if self.tf32 else str(self.dtype)


def resolve(name: str | None, device: torch.device) -> Precision:
    """float32 for None. A device without TF32 gives float32 for tf32. Raises InterpError E461 for
    a name that is none of DTYPES, and for one that the device cannot run."""
    name = name or "float32"
    if name not in DTYPES:
        close = nearest(name, DTYPES)
        raise failure(
            "E461",
            f"{name} is no precision that a model can run in",
            notes=("known: " + ", ".join(DTYPES),),
            help=f"did you mean {close}?" if close else None,
        )
    if name == "float64" and name not in supported(device):
        raise failure(
            "E461",
            f"{device.type} has no float64",
            help='take float32, or run on the processor: device="cpu", or --device cpu',
            exit_code=3,
        )
    if name == "tf32":
        return Precision(torch.float32, tf32=has_tf32(device))
    dtype: torch.dtype = getattr(torch, name)
    return Precision(dtype)


def supported(device: torch.device) -> tuple[str, ...]:
    """The names among DTYPES that a device runs as they say."""
    absent = set() if has_tf32(device) else {"tf32"}
    absent |= {"float64"} if device.type == "mps" else set()
    return tuple(name for name in DTYPES if name not in absent)


def has_tf32(device: torch.device) -> bool:
    """Whether a device multiplies in TF32."""
    if device.type != "cuda" or torch.version.cuda is None:
        return False
    return torch.cuda.get_device_capability(device) >= TF32_CAPABILITY


@contextmanager
def float32_products(tf32: bool) -> Iterator[None]:
    """While it lasts, matrices of float32 are multiplied in TF32 or, without, in float32."""
    backends: list[Any] = [b for b in _BACKENDS if hasattr(b, "fp32_precision")]  # from torch 2.9
    held = [backend.fp32_precision for backend in backends]
    try:
        whole: str | None = torch.get_float32_matmul_precision()
    except RuntimeError:  # the process has set it by backend, which torch does not sum up
        whole = None
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    try:
        yield
    finally:
        if whole is not None:
            torch.set_float32_matmul_precision(whole)
        for backend, value in zip(backends, held, strict=True):
            backend.fp32_precision = value


_BACKENDS = [getattr(b, "matmul", None) for b in (torch.backends.cuda, torch.backends.mkldnn)]


class _Precise(Protocol):
    tf32: bool


E = TypeVar("E", bound=_Precise)
P = ParamSpec("P")
R = TypeVar("R")


def in_own_precision(method: Callable[Concatenate[E, P], R]) -> Callable[Concatenate[E, P], R]:
    """A method of an executor, run with float32 products as its `tf32` says."""

    @wraps(method)
    def run(self: E, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with float32_products(self.tf32):
            return method(self, *args, **kwargs)

    return run
