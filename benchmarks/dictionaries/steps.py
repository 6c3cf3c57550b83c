"""What a training step of each architecture takes, in units of one dense product of inputs × d_in ×
width, which is timed between the steps. See ../README.md."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from interp_dsl.dictionaries.architectures import (
    Architecture,
    BatchTopK,
    Gated,
    JumpRelu,
    Matryoshka,
    Relu,
    TopK,
)
from interp_dsl.dictionaries.dying import EVERY
from interp_dsl.dictionaries.products import BY_NAME, Products
from interp_dsl.dictionaries.schedules import Schedule
from interp_dsl.dictionaries.training import Settings, Trainer

DEAD = 0.05
"""The share of features that are dead where AuxK is timed with some."""


def architectures(k: int) -> dict[str, Architecture]:
    return {
        "relu": Relu(1e-3, "unit"),
        "relu, weighted": Relu(1e-1, "weighted"),
        "topk": TopK(k),
        "batch_topk": BatchTopK(k),
        "matryoshka": Matryoshka(k),
        "jumprelu": JumpRelu(1.0, float(k), bandwidth=0.02, threshold=0.02),
        "gated": Gated(1e-3),
    }


def mixtures(rows: int, d: int, width: int, generator: torch.Generator) -> Tensor:
    """Sums [rows, d] of about 20 of `width` random directions, with magnitudes 0.5 to 1.5."""
    made = {"generator": generator, "device": generator.device}
    known = torch.randn(width, d, **made)
    known /= known.norm(dim=1, keepdim=True)
    on = torch.rand(rows, width, **made) < 20 / width
    return (on * (0.5 + torch.rand(rows, width, **made))) @ known


class Case:
    """A dictionary in training, and some of its features dead where that is asked for."""

    def __init__(
        self, made: Architecture, batches: list[Tensor], width: int, by: Products, dead: bool
    ) -> None:
        settings = Settings(width, 4e-4, dead_after=1 << 60, products=by)
        self.trainer = Trainer(made, settings, Schedule(10_000), batches[0])
        self.batches, self.steps = batches, 0
        self.silenced = int(DEAD * width) if dead else 0

    def step(self) -> None:
        if self.silenced:
            self.trainer.silent[: self.silenced] = 1 << 61
        self.trainer.step(self.batches[self.steps % len(self.batches)])
        self.steps += 1


def timed(work: Callable[[], Any], device: torch.device) -> float:
    """CPU seconds of one thread, which other work on the machine does not lengthen by waiting; on
    CUDA the clock's, when the device has ended."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        started = time.perf_counter()
        work()
        torch.cuda.synchronize()
        return time.perf_counter() - started
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    started = clock()
    work()
    return clock() - started


def race(args: argparse.Namespace) -> dict[str, dict[str, float]]:
    device = torch.device(args.device)
    generator = torch.Generator(device).manual_seed(0)
    batches = [mixtures(args.batch, args.d, args.width, generator) for _ in range(args.batches)]
    by = BY_NAME["bfloat16" if args.bf16 else "float32"]
    factors = by.factor(batches[0]), by.factor(torch.randn(args.d, args.width, device=device))
    out = by.factor(torch.empty(args.batch, args.width, device=device))
    chosen = {n: a for n, a in architectures(args.k).items() if n in args.only or not args.only}
    cases: dict[str, Case] = {}
    # off the processor what is dead is only known some steps later
    warm = args.warm if device.type == "cpu" else max(args.warm, 2 * EVERY)
    for name, made in chosen.items():
        cases[name] = Case(made, batches, args.width, by, dead=False)
        if isinstance(made, TopK):
            cases[f"{name}, {DEAD:.0%} dead"] = Case(made, batches, args.width, by, dead=True)
    for case in cases.values():
        for _ in range(warm):
            case.step()
    steps: dict[str, list[float]] = {name: [] for name in cases}
    products: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(args.rounds):
        for name, case in cases.items():
            before = timed(lambda: torch.mm(*factors, out=out), device)
            steps[name].append(timed(case.step, device))
            after = timed(lambda: torch.mm(*factors, out=out), device)
            products[name].append((before + after) / 2)
    return {name: _row(steps[name], products[name], args) for name in cases}


def _row(steps: list[float], products: list[float], args: argparse.Namespace) -> dict[str, float]:
    ratios = sorted(s / p for s, p in zip(steps, products, strict=True))
    return {
        "step ms": 1e3 * statistics.median(steps),
        "product ms": 1e3 * statistics.median(products),
        "÷ product": statistics.median(ratios),
        "least": ratios[0],
        "most": ratios[-1],
        "inputs/s": args.batch / statistics.median(steps),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--d", type=int, default=512)
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--batches", type=int, default=4)
    parser.add_argument("--warm", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tf32", action="store_true", help="CUDA's products in TensorFloat-32")
    parser.add_argument(
        "--bf16", action="store_true", help="products of bfloat16, as of dtype=bfloat16"
    )
    parser.add_argument("--only", nargs="*", default=[], metavar="ARCHITECTURE")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.backends.cuda.matmul.allow_tf32 = args.tf32
    with torch.no_grad():
        found = race(args)
    about = f"{args.d} → {args.width}, k {args.k}, batch {args.batch}"
    on = f"{args.device}{', tf32' * args.tf32}{', bf16' * args.bf16}"
    print(f"{about}; torch {torch.__version__}, {on}, {args.threads} thread(s), ", end="")
    print(f"{platform.processor() or platform.machine()}; medians of {args.rounds} rounds")
    columns = ["step ms", "product ms", "÷ product", "least", "most", "inputs/s"]
    print("  ".join(["architecture".ljust(22), *(c.rjust(10) for c in columns)]))
    for name, row in found.items():
        cells = [f"{row[c]:,.0f}" if c == "inputs/s" else f"{row[c]:.2f}" for c in columns]
        print("  ".join([name.ljust(22), *(c.rjust(10) for c in cells)]))
    if args.json:
        args.json.write_text(json.dumps({"about": about, "rows": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
