"""The devices that tests run on: the processor, and a CUDA device where there is one."""

from __future__ import annotations

from typing import TypeVar

import pytest
import torch
from torch import Tensor

from interp_dsl.models.edits import Edit

HAS_CUDA = torch.cuda.is_available()
DEVICES = ["cpu", *([pytest.param("cuda", marks=pytest.mark.cuda)] if HAS_CUDA else [])]
on_every_device = pytest.mark.parametrize("device", DEVICES)
needs_cuda = [
    pytest.mark.cuda,
    pytest.mark.skipif(not HAS_CUDA, reason="needs a CUDA device"),
]

X = TypeVar("X")


def placed(x: X, device: torch.device | str) -> X:
    """A tensor, an edit, or a list of them, on a device; anything else as it is."""
    if isinstance(x, Tensor | Edit):
        return x.to(torch.device(device))  # type: ignore[return-value]
    if isinstance(x, list):
        return [placed(item, device) for item in x]  # type: ignore[return-value]
    return x
