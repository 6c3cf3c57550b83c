"""What `perturb` and `interpolate` cost beside the matrix products that their own plans make.

    python benchmarks/curves/cost.py --out /tmp/curves

A random GPT-2 (4 layers, d_model 256, 8 heads, vocabulary 5,000), 16 prompts of 32 tokens, one
thread. Each step is run several times, the bare products of its plan's batches in between; the
table gives the median seconds of the step, from its first pass to its written table, the median
seconds of the products at their own shapes, and the ratio."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "patching"))

from job import Shape, Sweep
from material import make
from plan import Product, of_layer

import interp_dsl
from interp_dsl.plan.cost import late_stretches, sizes, units_of
from interp_dsl.plan.places import Point
from interp_dsl.plan.starts import start
from interp_dsl.plan.tasks import Plan
from interp_dsl.plan.tasks import Sweep as Task
from interp_dsl.plan.work import layers, reads
from interp_dsl.runs.folder import RunFolder

SHAPE = Shape(4, 256, 8, 5000, 32, 16)
HEAD = """model   m     = checkpoint("checkpoint")
dataset pairs = tokens("pairs.safetensors")
"""
STEPS = {
    "perturb L2.resid_pre, all positions": "perturb L2.resid_pre of pairs.clean "
    "along random(n=4), covariance(n=4) by 2..16 every 2 measure kl()",
    "perturb L2.resid_pre, last position": "perturb L2.resid_pre of pairs.clean at 31 "
    "along random(n=32), covariance(n=32) by 2..16 every 2 measure kl()",
    "perturb L0.resid_pre, position 8": "perturb L0.resid_pre of pairs.clean at 8 "
    "along random(n=4), difference(n=4) by 2..16 every 2 measure kl()",
    "interpolate L0.resid_post, last position": "interpolate L0.resid_post from pairs.clean "
    "to pairs.corrupt at 31 measure distance(), kl()",
    "interpolate L0.resid_post, all positions": "interpolate L0.resid_post from pairs.clean "
    "to pairs.corrupt measure distance(), kl()",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="a folder for models and runs")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    job = make(Sweep("curves", "resid_pre", False, SHAPE), args.out, "cpu", 1)
    print(f"{'step':42} {'points':>6} {'step s':>8} {'bound s':>8} {'ratio':>6}")
    for name, step in STEPS.items():
        path = Path(job.folder) / "curves.interp"
        path.write_text(f"{HEAD}step who = {step}\n")
        products = list(_products(interp_dsl.plan(path)))
        runs = [(_step(path, args.out, i), _bound(products)) for i in range(args.repeats + 1)][1:]
        ours, bound = median(s for s, _ in runs), median(b for _, b in runs)
        points = _points(interp_dsl.plan(path))
        print(f"{name:42} {points:6} {ours:8.3f} {bound:8.3f} {ours / bound:6.2f}")


def _task(plan: Plan) -> Task:
    return next(t for t in plan.tasks if isinstance(t, Task))


def _points(plan: Plan) -> int:
    task = _task(plan)
    return len(units_of(task, sizes(plan)) or ()) * len(task.variants)


def _products(plan: Plan) -> Iterator[Product]:
    """The products of weights of the step's batches; points that are not run left out."""
    task, known = _task(plan), sizes(plan)
    units, found = units_of(task, known), known.of(task.variants[0].into)
    assert units is not None and found is not None
    model, data = found
    read = reads(task.metrics)
    acting = [u for u in units if not (isinstance(u, Point) and u.length.value == 0)]
    starts = [start(unit, task.intervention) for unit in acting]
    for _ in task.variants:
        for stretch in late_stretches(task, starts, model, data, read):
            for work in layers(model, data.width, read, stretch.start, trims=True):
                yield from of_layer(work.times(stretch.rows), model)
            assert read.count is not None
            yield Product("unembed", stretch.rows * read.count, model.d_model, model.d_vocab)


def _step(path: Path, out: Path, number: int) -> float:
    """Seconds of a step in a run of its own."""
    folder = out / "runs" / f"{time.time_ns()}-{number}"
    interp_dsl.run(path, out=folder, fresh=True)
    events = RunFolder.open(folder).events()
    return next(
        float(e["seconds"]) for e in events if e["event"] == "task_finished" and e["step"] == "who"
    )


def _bound(products: list[Product]) -> float:
    """Seconds of the products alone, at their own shapes."""
    largest = max(p.rows * max(p.inner, p.outer) for p in products)
    left, right = (torch.randn(largest) for _ in range(2))
    weights = {p.name: torch.randn(p.inner, p.outer) for p in products}
    started = time.perf_counter()
    for p in products:
        into = right[: p.rows * p.outer].view(p.rows, p.outer)
        torch.mm(left[: p.rows * p.inner].view(p.rows, p.inner), weights[p.name], out=into)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
