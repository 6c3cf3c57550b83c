"""What is saved where the next block of activations is made while one is learned from: whole fits
on a random model with it and without, in turn, and whether both leave the same numbers. See
../README.md."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "circuits"))

from case import Case
from random_model import make

from interp_dsl.data.types import Data, Side
from interp_dsl.engine import fit
from interp_dsl.engine.execute import execute
from interp_dsl.models.load import load
from interp_dsl.plan.algebra import Run
from interp_dsl.plan.dictionaries import Fit, Fitted
from interp_dsl.plan.places import Site, Target
from interp_dsl.plan.tasks import BuildData, LoadModel, Plan
from interp_dsl.runs.folder import RunFolder
from interp_dsl.verbs.dictionaries import ARCHITECTURES, settled

WAYS = {"in turn": False, "ahead": True}


class Given:
    """The model and the prompts of the race, whatever is asked for."""

    def __init__(self, model: Any, data: Data) -> None:
        self.held, self.prompts = model, data

    def model(self, spec: Mapping[str, Any], device: str, trusted: bool) -> Any:
        return self.held

    def data(self, name: str, spec: Mapping[str, Any], facts: Any, trusted: bool) -> Data:
        return self.prompts


def given(args: argparse.Namespace, folder: Path) -> Given:
    """A random model of GPT-2's form, by the compiled forward, and random prompts."""
    shape = {"layers": args.layers, "width": args.d, "heads": args.d // 64, "vocab": 1000}
    case = Case("overlap", **shape, context=args.context, batch=1, gain=1.0, mlps=True)
    made = Path(make(case, folder, 1).folder)
    model = load(
        {"kind": "weights", "folder": str(made / "model")}, args.device, executor="compiled"
    )
    size = (args.prompts, args.context)
    tokens = np.random.default_rng(0).integers(1, 1000, size)
    ends = np.full(args.prompts, args.context)
    return Given(model, Data("d", {"d": Side("d", tokens, ends, ends - 1)}))


def planned(args: argparse.Namespace) -> Plan:
    known = ARCHITECTURES["topk"].parameters
    options = {k: p.default for k, p in known.items() if not p.is_required} | {"seed": 0}
    sizes = {"width": args.width, "k": args.k, "batch": args.batch}
    options = settled({**options, **sizes, "buffer": args.buffer * args.batch}, args.tokens)
    target = Target(Site("resid_post", args.layers - 1))
    one = Fitted("", target, "topk", tuple(sorted(options.items())))
    task = Fit(
        "f", "sae", Run("m", "d", "d"), (one,), args.tokens, args.batch, options["buffer"],
        batch=args.rows,
    )  # fmt: skip
    return Plan((LoadModel("m", "m", {}), BuildData("d", "d", {}, "m"), task))


def fitted(plan: Plan, held: Given, is_ahead: bool) -> tuple[float, dict[str, Any]]:
    """Seconds of a whole fit, and what it leaves."""
    fit.has_room = lambda harvest: is_ahead
    with tempfile.TemporaryDirectory() as path:
        folder = RunFolder.create(Path(path), "overlap", datetime(2026, 1, 1))
        started = time.perf_counter()
        execute(plan, folder, loaders=held)
        if held.held.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started, dict(folder.read_tensors("sae"))


def race(args: argparse.Namespace, held: Given) -> dict[str, dict[str, Any]]:
    """Each way with each number of threads, round after round; the first round is not counted."""
    plan, rows = planned(args), {}
    for _ in range(args.rounds + 1):
        for threads in args.threads:
            torch.set_num_threads(threads)
            left = {}
            for way, is_ahead in WAYS.items():
                seconds, left[way] = fitted(plan, held, is_ahead)
                row = rows.setdefault(f"{way}, {threads} threads", {"seconds": []})
                row["seconds"].append(seconds)
            one, other = left.values()
            row["same"] = all(np.array_equal(one[name], other[name]) for name in one)
    for row in rows.values():
        del row["seconds"][0]
        row["median"] = statistics.median(row["seconds"])
        row["activations/s"] = args.tokens / row["median"]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--d", type=int, default=256)
    parser.add_argument("--context", type=int, default=64)
    parser.add_argument("--prompts", type=int, default=1024)
    parser.add_argument("--rows", type=int, default=32, help="prompts through the model at once")
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--buffer", type=int, default=8, help="batches of a block")
    parser.add_argument("--tokens", type=int, default=131_072)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = race(args, given(args, Path(folder)))
    for name, row in rows.items():
        same = {True: ", the same numbers", False: ", OTHER NUMBERS"}.get(row.get("same"), "")
        print(f"{name:<20} {row['median']:8.2f} s {row['activations/s']:12,.0f}/s{same}")
    if args.json:
        about = {"argv": sys.argv[1:], "torch": torch.__version__, "machine": platform.platform()}
        args.json.write_text(json.dumps({**about, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
