"""A whole step of `relate` between two dictionaries, and its memory beside what its plan says.

    python benchmarks/geometry/relate_whole.py --out /tmp/relate
    python benchmarks/geometry/relate_whole.py --out /tmp/relate --width 1024 --prompts 64

A random GPT-2 (2 layers, d_model 768, context 128) and two random dictionaries of --width features,
--k of them on, in SAELens's files; nothing is downloaded. The step is run once. Printed are the
tokens, the processor seconds of the step, those of the products of features that its passes make
(once, on random numbers, and multiplied up), the most memory that the step took beyond what was
held before it, and what `interp plan` says it holds and needs a batch. One thread unless
--threads."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "patching"))

from job import Shape, Sweep
from material import make

import interp_dsl
from interp_dsl import session
from interp_dsl.dictionaries.dictionary import Dictionary
from interp_dsl.dictionaries.formats.writing import Origin, encoded
from interp_dsl.plan.cost import cost
from interp_dsl.plan.dictionaries import Relate
from interp_dsl.plan.sizes import sizes
from interp_dsl.runs.folder import RunFolder

D_MODEL, CONTEXT, BLOCK = 768, 128, 1024
PROGRAM = """model   m    = checkpoint("checkpoint")
dataset d    = tokens("pairs.safetensors")
let     low  = load("low")
let     high = load("high")
step graph = relate low, high on d.clean by similarity(support={support}, top={top})
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="a folder for models and runs")
    parser.add_argument("--width", type=int, default=24_576)
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--prompts", type=int, default=256, help=f"of {CONTEXT} tokens")
    parser.add_argument("--top", type=int, default=16)
    parser.add_argument("--support", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    shape = Shape(2, D_MODEL, 12, 512, CONTEXT, args.prompts)
    job = make(Sweep(f"relate-{args.width}", "resid_pre", False, shape), args.out, "cpu", 1)
    folder = Path(job.folder)
    for seed, (name, layer) in enumerate((("low", 0), ("high", 1))):
        _write(folder / name, layer, args.width, args.k, seed)
    path = folder / "relate.interp"
    path.write_text(PROGRAM.format(support=args.support, top=args.top))
    _report(path, args.out, args.width, args.prompts * (CONTEXT - 1))


def _write(folder: Path, layer: int, width: int, k: int, seed: int) -> None:
    """A dictionary whose directions are random and its encoder's too."""
    generator = torch.Generator().manual_seed(seed)
    decoder = torch.randn(width, D_MODEL, generator=generator)
    decoder /= decoder.norm(dim=1, keepdim=True)
    zeros = torch.zeros(width), torch.zeros(D_MODEL)
    tensors = dict(zip(("b_enc", "b_dec"), zeros, strict=True))
    made = Dictionary("topk", {"W_enc": decoder.T, "W_dec": decoder, **tensors}, k)
    hook = f"blocks.{layer}.hook_resid_post"
    origin = Origin("random", hook, None, layer, "resid_post", "topk")
    folder.mkdir(exist_ok=True)
    for name, data in encoded(made, "saelens", origin).items():
        (folder / name).write_bytes(data)


def _report(path: Path, out: Path, width: int, tokens: int) -> None:
    plan = interp_dsl.plan(path)
    task = next(t for t in plan.tasks if isinstance(t, Relate))
    estimate = cost(task, sizes(plan))
    passes = -(-width // task.rows)
    run, watch = out / "runs" / str(time.time_ns()), Watch()
    session.run_file(path, session.Settings(out=run, fresh=True, device="cpu"), watch)
    pairs = len(RunFolder.open(run).read_table("graph.pairs"))
    bound = 2 * passes * _product(min(task.rows, width), width) * tokens / BLOCK
    held, peak = estimate.bytes or 0, estimate.peak or 0
    print(f"{width:,} x {width:,} features, {tokens:,} tokens, {passes} passes, {pairs:,} pairs")
    print(f"step {watch.seconds:.1f} s, products {bound:.1f} s: {watch.seconds / bound:.2f} x")
    print(
        f"memory of the step {_gigabytes(watch.memory)}, the plan's figure "
        f"{_gigabytes(held + peak)} ({_gigabytes(held)} held, {_gigabytes(peak)} a batch)"
    )


class Watch:
    """Tells the processor seconds and the memory of the step."""

    seconds, memory = 0.0, None

    def checked(self, diagnostics: Sequence[Any]) -> None: ...

    def started(self, folder: Path, resumed: bool) -> None: ...

    def event(self, event: dict[str, Any]) -> None:
        if event.get("step") == "graph" and event["event"] in ("task_started", "task_finished"):
            self.seconds = time.process_time() - self.seconds
            self.memory = event.get("memory")


def _product(rows: int, width: int) -> float:
    """Processor seconds of one product of a block of tokens."""
    a, b = torch.rand(BLOCK, rows), torch.rand(BLOCK, width)
    started = time.process_time()
    torch.mm(a.T, b)
    return time.process_time() - started


def _gigabytes(n: float | None) -> str:
    return "not known" if n is None else f"{n / 1e9:.2f} GB"


if __name__ == "__main__":
    main()
