"""The bound: nothing but the matrix products that a sweep needs, at their own shapes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from job import Cell, Job
from plan import Product, planned_bytes, products, whole_flops
from torch import Tensor
from worker import Meter, serve

SIDE = {"cpu": 1024, "cuda": 8192}


class Bound:
    def __init__(self, job: Job) -> None:
        self.device = job.device
        self.products = list(products(job))
        self.extra: dict[str, Any] = {
            "flops": sum(p.flops for p in self.products),
            "trimmed_flops": sum(p.flops for p in products(job, narrow=False)),
            "whole_flops": whole_flops(job),
            "planned_bytes": planned_bytes(job),
        }
        self.trimmed = list(products(job, narrow=False))
        largest = max(p.largest for p in self.products + self.trimmed)
        self.left, self.right, self.into = (
            torch.randn(largest, device=self.device) for _ in range(3)
        )
        self.weights = {
            p.name: torch.randn(p.inner, p.outer, device=self.device)
            for p in self.products + self.trimmed
            if p.matrices == 1
        }

    def sweep(self, cells: Sequence[Cell], meter: Meter) -> list[float]:
        trimmed = Meter(self.device)
        with trimmed:
            self._multiply(self.trimmed)
        self.extra["trimmed_seconds"] = trimmed.seconds
        with meter:
            self._multiply(self.products)
        self.extra["rate"] = self._rate()
        return []

    def _multiply(self, products: Sequence[Product]) -> None:
        for p in products:
            left = _view(self.left, p.matrices, p.rows, p.inner)
            into = _view(self.into, p.matrices, p.rows, p.outer)
            if p.name in self.weights:
                torch.mm(left[0], self.weights[p.name], out=into[0])
            else:
                torch.bmm(left, _view(self.right, p.matrices, p.inner, p.outer), out=into)

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


def _view(buffer: Tensor, matrices: int, rows: int, columns: int) -> Tensor:
    return buffer[: matrices * rows * columns].view(matrices, rows, columns)


if __name__ == "__main__":
    serve(Bound, ("torch",))
