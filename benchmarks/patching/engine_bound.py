"""The bound: nothing but the matrix products that a sweep needs, at their own shapes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from job import Cell, Job
from plan import planned_bytes, products, whole_flops
from torch import Tensor
from worker import Meter, serve

SIDE = {"cpu": 1024, "cuda": 8192}


class Bound:
    def __init__(self, job: Job) -> None:
        self.device = job.device
        self.products = list(products(job))
        self.extra: dict[str, Any] = {
            "flops": sum(p.flops for p in self.products),
            "whole_flops": whole_flops(job),
            "planned_bytes": planned_bytes(job),
        }
        largest = max(p.rows * max(p.inner, p.outer) for p in self.products)
        self.left, self.right = (torch.randn(largest, device=self.device) for _ in range(2))
        self.weights = {
            p.name: torch.randn(p.inner, p.outer, device=self.device) for p in self.products
        }

    def sweep(self, cells: Sequence[Cell], meter: Meter) -> list[float]:
        with meter:
            for p in self.products:
                into = _view(self.right, p.rows, p.outer)
                torch.mm(_view(self.left, p.rows, p.inner), self.weights[p.name], out=into)
        self.extra["rate"] = self._rate()
        return []

    def _rate(self) -> float:
        """FLOP a second of a large square product, the best of a few."""
        side = SIDE["cuda" if self.device.startswith("cuda") else "cpu"]
        a, b = (torch.randn(side, side, device=self.device) for _ in range(2))
        best = min(self._seconds(a, b) for _ in range(6))
        return float(2 * side**3 / best)

    def _seconds(self, a: Tensor, b: Tensor) -> float:
        self._sync()
        started = time.perf_counter()
        torch.mm(a, b)
        self._sync()
        return time.perf_counter() - started

    def _sync(self) -> None:
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()


def _view(buffer: Tensor, rows: int, columns: int) -> Tensor:
    return buffer[: rows * columns].view(rows, columns)


if __name__ == "__main__":
    serve(Bound, ("torch",))
