"""What a plan must know of the device that it will run on. No torch: what a run finds may differ
from what is expected here, and only batch sizes and estimates depend on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Device:
    """`tokens` go through the model at once: on a processor as many as keep a layer's activations
    near its caches, on a GPU as many as keep it busy. A layer's work of `least` FLOPs takes about
    ten times as long as to begin it: so much may start on its own. `budget` bytes bound what one
    batch holds, `shard` FLOPs what is lost when a run is killed: a few seconds' work."""

    kind: str
    tokens: int
    least: float
    budget: int
    shard: float


DEVICES: Mapping[str, Device] = {
    "cpu": Device("cpu", 2_048, 1.6e9, 256_000_000, 4e11),
    "cuda": Device("cuda", 131_072, 4e11, 8_000_000_000, 1e14),
    "mps": Device("mps", 32_768, 2e10, 2_000_000_000, 4e12),
}


def expected(name: str) -> Device:
    """The device behind `auto`, `cpu`, `cuda:1`: for `auto` a GPU where its driver is loaded."""
    if name == "auto":
        has_gpu = Path("/proc/driver/nvidia/version").exists()
        return DEVICES["cuda" if has_gpu else "cpu"]
    return DEVICES.get(name.partition(":")[0], DEVICES["cpu"])
