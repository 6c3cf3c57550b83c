"""What `perturb` and `interpolate` cost beside the matrix products that their own plans make.

    python benchmarks/curves/cost.py --out /tmp/curves

A random GPT-2, prompts of 32 tokens, one thread; `--shape small`: 4 layers, d_model 256, 8 heads,
vocabulary 5,000, or `gpt2-small`. Where a step changes the last position alone, a prompt is one
position of a batch: there are more of them, so that what is done once a point (its row of the
table, its direction) and once a batch does not outweigh the forwards.

Each step is run several times, the bare products of its plan's batches before and behind it; the
table gives the median processor seconds of the step, from its first pass to its written table,
those of the products at their own shapes, and the median ratio. The products are those of the
weights and those of attention, which at the last position are of one matrix an example and head:
its rows read the same keys."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "patching"))

from job import Shape, Sweep
from material import make
from plan import Product, of_attention, of_layer

import interp_dsl
from interp_dsl import session
from interp_dsl.models.compiled.prefix import TIMES
from interp_dsl.plan.cost import late_stretches
from interp_dsl.plan.places import Point
from interp_dsl.plan.sizes import sizes, units_of
from interp_dsl.plan.starts import Stretch, start
from interp_dsl.plan.tasks import DataSize, Plan
from interp_dsl.plan.tasks import Sweep as Task
from interp_dsl.plan.work import layers, reads

SHAPES = {
    "small": Shape(layers=4, width=256, heads=8, vocab=5000, context=32, batch=64),
    "gpt2-small": Shape(layers=12, width=768, heads=12, vocab=50257, context=32, batch=4),
}
MANY = {"small": 256, "gpt2-small": 64}
"""Prompts of the steps that change the last position."""
HEAD = """model   m     = checkpoint("checkpoint")
dataset pairs = tokens("pairs.safetensors")
"""
STEPS = {
    "perturb L2.resid_pre, all positions": "perturb L2.resid_pre of pairs.clean "
    "along random(n=4), covariance(n=4) by 2..16 every 2 measure kl()",
    "perturb L2.resid_pre, last position": "perturb L2.resid_pre of pairs.clean at 31 "
    "along random(n=4), covariance(n=4) by 2..16 every 2 measure kl()",
    "perturb L0.resid_pre, position 8": "perturb L0.resid_pre of pairs.clean at 8 "
    "along random(n=4), difference(n=4) by 2..16 every 2 measure kl()",
    "interpolate L0.resid_post, last position": "interpolate L0.resid_post from pairs.clean "
    "to pairs.corrupt at 31 measure distance(), kl()",
    "interpolate L0.resid_post, all positions": "interpolate L0.resid_post from pairs.clean "
    "to pairs.corrupt measure distance(), kl()",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="a folder for the models")
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'step':42} {'prompts':>7} {'points':>6} {'step s':>8} {'bound s':>8} {'ratio':>6}")
    for name, step in STEPS.items():
        is_last = name.endswith("last position")
        shape = SHAPES[args.shape]
        shape = replace(shape, batch=MANY[args.shape]) if is_last else shape
        job = make(Sweep("curves", "resid_pre", False, shape), args.out, "cpu", 1)
        path = Path(job.folder) / "curves.interp"
        path.write_text(f"{HEAD}step who = {step}\n")
        plan = interp_dsl.plan(path)
        bound = Bound(list(_products(plan)))
        runs = [_round(path, bound) for _ in range(args.repeats + 1)][1:]
        ours, least = (median(seconds) for seconds in zip(*runs, strict=True))
        ratio = median(s / b for s, b in runs)
        about = f"{name:42} {shape.batch:7} {_points(plan):6}"
        print(f"{about} {ours:8.3f} {least:8.3f} {ratio:6.2f}", flush=True)


def _round(path: Path, bound: Bound) -> tuple[float, float]:
    """Processor seconds of the step, and of the products before and behind it."""
    before = bound.seconds()
    ours = _step(path)
    return ours, (before + bound.seconds()) / 2


def _task(plan: Plan) -> Task:
    return next(t for t in plan.tasks if isinstance(t, Task))


def _points(plan: Plan) -> int:
    task = _task(plan)
    return len(units_of(task, sizes(plan)) or ()) * len(task.variants)


def _products(plan: Plan) -> Iterator[Product]:
    """The products of the step's batches; points that are not run left out."""
    task, known = _task(plan), sizes(plan)
    units, found = units_of(task, known), known.of(task.variants[0].into)
    assert units is not None and found is not None
    model, data = found
    read = reads(task.metrics)
    acting = [u for u in units if not (isinstance(u, Point) and u.length.value == 0)]
    starts = [start(unit, task.intervention) for unit in acting]
    for _ in task.variants:
        for stretch in late_stretches(task, starts, model, data, read):
            alike = _alike(stretch, data)
            for work in layers(model, data.width, read, stretch.start, trims=True):
                yield from of_layer(work.times(stretch.rows), model)
                yield from of_attention(work.times(alike), stretch.rows // alike, model, data.width)
            assert read.count is not None
            yield Product("unembed", stretch.rows * read.count, model.d_model, model.d_vocab)


def _alike(stretch: Stretch, data: DataSize) -> int:
    """How many rows of one example attend together."""
    is_short = TIMES * (data.width - stretch.start.position) <= data.width
    return max(1, stretch.rows // data.n) if is_short else 1


class Watch:
    """Tells the processor seconds of the step."""

    seconds = 0.0

    def checked(self, diagnostics: Sequence[Any]) -> None: ...

    def started(self, folder: Path, resumed: bool) -> None: ...

    def event(self, event: dict[str, Any]) -> None:
        if event.get("step") == "who" and event["event"] in ("task_started", "task_finished"):
            self.seconds = time.process_time() - self.seconds


def _step(path: Path) -> float:
    """Processor seconds of a step in a run of its own."""
    watch = Watch()
    with TemporaryDirectory() as folder:
        settings = session.Settings(out=Path(folder) / "run", fresh=True, device="cpu")
        session.run_file(path, settings, watch)
    return watch.seconds


class Bound:
    """The products alone, at their own shapes."""

    def __init__(self, products: Sequence[Product]) -> None:
        self.products = products
        largest = max(p.largest for p in products)
        self.left, self.right, self.into = (torch.randn(largest) for _ in range(3))
        self.weights = {p.name: torch.randn(p.inner, p.outer) for p in products if p.matrices == 1}

    def seconds(self) -> float:
        """Processor seconds of all of them."""
        started = time.process_time()
        for p in self.products:
            left, into = _view(self.left, p, p.inner), _view(self.into, p, p.outer)
            if p.name in self.weights:
                torch.mm(left[0], self.weights[p.name], out=into[0])
            else:
                right = self.right[: p.matrices * p.inner * p.outer]
                torch.bmm(left, right.view(p.matrices, p.inner, p.outer), out=into)
        return time.process_time() - started


def _view(buffer: Tensor, product: Product, columns: int) -> Tensor:
    size = product.matrices, product.rows, columns
    return buffer[: product.matrices * product.rows * columns].view(size)


if __name__ == "__main__":
    main()
