"""An engine's process: the order {"cells": 2} is the first two cells, to warm up, {} the whole
sweep, answered by

    {"seconds": …, "memory": …, "values": […], "extra": {…}}"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import racing
import torch
from job import Cell, Job
from safetensors.torch import load_file
from torch import Tensor


class Meter:
    """Seconds, and the bytes of memory that were needed on top of those before the first start:
    on a CPU by the kernel's account of resident memory, on CUDA by the allocator's."""

    def __init__(self, device: str) -> None:
        self.is_cuda = device.startswith("cuda")
        self.seconds = 0.0
        self.memory: int | None = None
        self._before: int | None = None
        self._started = 0.0

    def start(self, anew: bool = False) -> None:
        """`anew`: memory counts from here, whatever was before."""
        gc.collect()
        self._reset()
        if anew or self._before is None:
            self._before = self._held("VmRSS")
        self._sync()
        self._started = time.perf_counter()

    def stop(self) -> None:
        self._sync()
        self.seconds = time.perf_counter() - self._started
        peak = self._held("VmHWM")
        if peak is not None and self._before is not None:
            self.memory = peak - self._before

    def __enter__(self) -> Meter:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _sync(self) -> None:
        if self.is_cuda:
            torch.cuda.synchronize()

    def _reset(self) -> None:
        if self.is_cuda:
            torch.cuda.reset_peak_memory_stats()
            return
        with suppress(OSError):  # else the peak counts from the process's start: an upper bound
            Path("/proc/self/clear_refs").write_text("5")

    def _held(self, field: str) -> int | None:
        if self.is_cuda:
            of_peak = field == "VmHWM"
            return torch.cuda.max_memory_allocated() if of_peak else torch.cuda.memory_allocated()
        status = Path("/proc/self/status")
        if not status.is_file():
            return None
        (line,) = (text for text in status.read_text().splitlines() if text.startswith(field))
        return int(line.split()[1]) * 1024


class Engine(Protocol):
    """Someone's way to run a sweep; made with everything loaded that is no part of it."""

    extra: dict[str, Any]
    """What else the driver should know of the last sweep."""

    def sweep(self, cells: Sequence[Cell], meter: Meter) -> list[float]:
        """The metric under each cell's patch, a mean over examples; `meter` is on for what
        counts."""
        ...


class Pairs:
    """The prompts [batch, context] and the two tokens whose logits are compared [batch]."""

    def __init__(self, job: Job) -> None:
        held = load_file(Path(job.folder) / "pairs.safetensors", device=job.device)
        self.source: Tensor = held["clean"]
        self.base: Tensor = held["corrupt"]
        self.answer: Tensor = held["answer"]
        self.wrong: Tensor = held["wrong"]

    def gap(self, logits: Tensor) -> Tensor:
        """Logits [..., batch, vocab] of the last position -> mean logit difference [...]."""
        rows = torch.arange(len(self.answer), device=logits.device)
        return (logits[..., rows, self.answer] - logits[..., rows, self.wrong]).mean(-1)


def checkpoint(job: Job) -> str:
    return str(Path(job.folder) / "checkpoint")


def serve(make: Callable[[Job], Engine], packages: Sequence[str]) -> None:
    """Answer the driver until it hangs up. `packages` are those whose versions it is told."""
    job = Job.read(Path(sys.argv[1]))
    torch.set_num_threads(job.threads)
    torch.set_grad_enabled(False)

    def load() -> Callable[[racing.Message], racing.Message]:
        engine, meter = make(job), Meter(job.device)

        def answer(order: racing.Message) -> racing.Message:
            values = engine.sweep(job.cells[: order.get("cells")], meter)
            measured = {"seconds": meter.seconds, "memory": meter.memory, "values": values}
            return {**measured, "extra": engine.extra}

        return answer

    racing.serve(load, packages)
