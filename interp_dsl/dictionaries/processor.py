"""Which tensors lie in the processor's memory. There a result is at hand as soon as it is asked
for; a device works on by itself, and to look at a number of it is to wait for all it was given."""

from __future__ import annotations

from torch import Tensor


def has(x: Tensor) -> bool:
    return x.device.type == "cpu"
