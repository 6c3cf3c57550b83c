"""An engine's process. Its orders:

{"begin": {name: {…a case…}}}     be ready for steps of these
{}                                a step of each in turn, between two dense products of its
                                  inputs × d_in × width, answered by
                                  {"steps": {name: seconds}, "products": {name: seconds}}
{"fit": {…a case…}, "into": folder}   a whole fit, kept in the engine's own files"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import racing
import torch
from case import Batches, Case, Job
from torch import Tensor


class Step(Protocol):
    def __call__(self, x: Tensor) -> object:
        """Learn from a batch x [B, d]."""
        ...


class Engine(Protocol):
    """Someone's way to fit dictionaries; made with everything loaded."""

    def begin(self, case: Case, batches: Batches) -> Step:
        """Its own training step, ready to be taken."""
        ...

    def fit(self, case: Case, batches: Batches, into: Path) -> None:
        """Its own training loop, and its own files."""
        ...


def seconds(work: Callable[[], object]) -> float:
    """Of the processor with one thread, which waiting for other work on the machine does not
    lengthen; else the clock's."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    started = clock()
    work()
    return clock() - started


class Course:
    """The cases that an engine has, in training."""

    def __init__(self, engine: Engine, cases: dict[str, Case], batches: Batches) -> None:
        self.steps = {name: engine.begin(case, batches) for name, case in cases.items()}
        self.cases, self.batches, self.count = cases, batches, 0

    def round(self) -> dict[str, dict[str, float]]:
        found: dict[str, dict[str, float]] = {"steps": {}, "products": {}}
        for name, step in self.steps.items():
            case = self.cases[name]
            x = self.batches.batch(self.count, case.batch)
            product = _product(x, case.width)
            before, took, after = seconds(product), seconds(partial(step, x)), seconds(product)
            found["steps"][name], found["products"][name] = took, (before + after) / 2
        self.count += 1
        return found


def _product(x: Tensor, width: int) -> Callable[[], object]:
    weight, out = x.new_ones(x.shape[1], width), x.new_ones(len(x), width)

    def product() -> None:
        with torch.no_grad():
            torch.mm(x, weight, out=out)

    return product


def serve(make: Callable[[], Engine], packages: list[str]) -> None:
    """Answer the driver until it hangs up. `packages` are those whose versions it is told."""
    job = Job.read(Path(sys.argv[1]))
    torch.set_num_threads(job.threads)

    def load() -> Callable[[racing.Message], racing.Message]:
        engine, batches = make(), Batches(job.folder)
        course: list[Course] = []

        def answer(order: racing.Message) -> racing.Message:
            match order:
                case {"begin": cases}:
                    given = {name: Case(**case) for name, case in cases.items()}
                    course[:] = [Course(engine, given, batches)]
                    return {}
                case {"fit": one, "into": folder}:
                    return _fitted(engine, Case(**one), batches, Path(folder))
            return course[0].round()

        return answer

    racing.serve(load, packages)


def _fitted(engine: Engine, case: Case, batches: Batches, into: Path) -> dict[str, Any]:
    into.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(case.seed)
    return {"seconds": seconds(lambda: engine.fit(case, batches, into))}
