"""The devices that tests run on: the processor, and a CUDA device where there is one.

A test that uses the fixture `device` runs once on each. What it computes with stays on the
processor: `from_cpu` makes an executor take and give tensors there, wherever its model lies."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor

from interp_dsl.models.edits import Edit
from interp_dsl.models.executor import Executor, Pass

HAS_CUDA = torch.cuda.is_available()
DEVICES = ["cpu", *([pytest.param("cuda", marks=pytest.mark.cuda)] if HAS_CUDA else [])]
CPU = torch.device("cpu")
ADDRESSES = ("reads", "rows", "changed", "positions", "columns")
_here = ["cpu"]

E = TypeVar("E", bound=Executor)
F = TypeVar("F", bound=Callable[..., Any])


def needs_cuda(test: F) -> F:
    """A test that is about CUDA alone."""
    return pytest.mark.cuda(pytest.mark.skipif(not HAS_CUDA, reason="needs a CUDA device")(test))


def here() -> str:
    """The device that the running test is about."""
    return _here[-1]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> Any:
    """Every device in turn, as `here()` tells."""
    _here.append(request.param)
    yield request.param
    _here.pop()


def from_cpu(executor: E) -> E:
    """The executor, its passes taking tensors of the processor and giving them there. Addresses
    (what a pass reads and changes) stay there, as the executors want them."""
    for name in ("forward", "remember", "resume", "room", "grow"):
        if executor.device != CPU and hasattr(executor, name):
            setattr(executor, name, _moving(getattr(executor, name), executor.device))
    return executor


def _moving(method: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    names = [*inspect.signature(method).parameters]

    def moved(*arguments: Any, **options: Any) -> Any:
        given = dict(zip(names, arguments, strict=False)) | options
        found = method(**{k: x if k in ADDRESSES else placed(x, device) for k, x in given.items()})
        if isinstance(found, Pass):
            return Pass(found.logits.cpu(), {site: x.cpu() for site, x in found.sites.items()})
        return found

    return moved


def placed(x: Any, device: torch.device) -> Any:
    """A tensor or an edit, or a list of those, on a device; anything else as it is."""
    if isinstance(x, Tensor | Edit):
        return x.to(device)
    if isinstance(x, list | tuple):
        return type(x)(placed(item, device) for item in x)
    return x
