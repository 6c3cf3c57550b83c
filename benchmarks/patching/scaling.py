"""How the cost of our sweeps grows with cells, layers, context and batch, each doubled.

python benchmarks/patching/scaling.py --work FOLDER
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

from job import Job, Shape, Sweep
from material import make
from plan import products
from race import machine, memory, result, script, warm
from racing import Racer, aligned, racer

HEAD = ("", "cells", "median s", "× time", "× work", "time ÷ work", "MB")


def axes(base: Shape, doublings: int) -> dict[str, list[Sweep]]:
    """For each axis the sweeps of growing size: heads at all positions, and for `cells` a growing
    sample of heads by position."""
    factors = [2**i for i in range(doublings + 1)]

    def grown(axis: str) -> list[Sweep]:
        start = getattr(base, axis)
        return [
            Sweep(f"{axis}-{start * f}", "z", False, replace(base, **{axis: start * f}))
            for f in factors
        ]

    fewest = base.layers * base.heads * base.context >> doublings
    cells = [Sweep(f"cells-{fewest * f}", "z", True, base, sample=fewest * f) for f in factors]
    return {"cells": cells, **{axis: grown(axis) for axis in ("layers", "context", "batch")}}


def timed(sweeps: Sequence[Sweep], given: argparse.Namespace) -> list[tuple[Sweep, Job, Racer]]:
    """All sizes of an axis, a process each, in turn."""
    runs: list[tuple[Sweep, Job, Racer]] = []
    try:
        for sweep in sweeps:
            job = make(sweep, given.work, given.device, given.threads)
            runs.append((sweep, job, racer("interp", script("interp"), sys.executable, job)))
            runs[-1][2].begin()
            warm(runs[-1][2])
        for _ in range(given.rounds):
            for _, _, one in runs:
                one.round()
    finally:
        for _, _, one in runs:
            one.end()
    return runs


def row(job: Job, one: Racer, first: tuple[Job, Racer]) -> tuple[str, ...]:
    """A size against the first of its axis."""
    if not (one.rounds and first[1].rounds):
        return (job.sweep, str(len(job.cells)), one.failed or one.absent or "–", *("–" * 4))
    time, work = _seconds(one) / _seconds(first[1]), _flops(job) / _flops(first[0])
    return (
        job.sweep,
        str(len(job.cells)),
        f"{_seconds(one):.4g}",
        f"{time:.2f}",
        f"{work:.2f}",
        f"{time / work:.2f}",
        "–" if (held := memory(one)) is None else f"{held / 1e6:.0f}",
    )


def _seconds(one: Racer) -> float:
    return float(median(answer["seconds"] for answer in one.rounds))


def _flops(job: Job) -> int:
    return sum(p.flops for p in products(job))


def main() -> None:
    given = _arguments()
    base = Shape(given.layers, given.width, given.heads, 512, given.context, given.batch)
    results: list[dict[str, Any]] = []
    rows: list[tuple[str, ...]] = [HEAD]
    for sweeps in axes(base, given.doublings).values():
        runs = timed(sweeps, given)
        results += [result(sweep, job, [one]) for sweep, job, one in runs]
        rows += [row(job, one, runs[0][1:]) for _, job, one in runs]
    print(aligned(rows))
    if given.json:
        held = {"machine": machine(given.device), "sweeps": results}
        given.json.write_text(json.dumps(held, indent=1) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for models and data")
    for name, size in (("layers", 3), ("width", 256), ("heads", 8), ("context", 16), ("batch", 8)):
        parser.add_argument(f"--{name}", type=int, default=size, help=f"at first; {size}")
    parser.add_argument("--doublings", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="also write everything measured here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
