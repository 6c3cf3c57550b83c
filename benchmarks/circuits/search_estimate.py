"""A whole search beside what the plan and the run itself said it would take.

    python benchmarks/circuits/search_estimate.py --work FOLDER --layers 12 --width 768 --heads 12

A seeded random model of GPT-2's form and pairs of random prompts. The plan bounds the tests in
passes of all examples through the whole model; a pass is timed in the same process, before the run
and after it. The run says, as it goes, how many seconds are left at the least and at the most."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch

sys.path.append(str(Path(__file__).parents[1]))

from case import Case, Job
from racing import processor
from random_model import make
from safetensors.torch import load_file

MOMENTS = 12
FORWARDS = 5


class Watch:
    """Keeps the events of the step, each with the moment it came; and the processor's seconds that
    its task took."""

    def __init__(self) -> None:
        self.events: list[tuple[float, dict[str, Any]]] = []
        self.cpu = 0.0

    def checked(self, diagnostics: Any) -> None:
        pass

    def started(self, folder: Any, resumed: bool) -> None:
        assert not resumed

    def event(self, event: dict[str, Any]) -> None:
        if event.get("step") != "raced":
            return
        self.events.append((time.perf_counter(), event))
        if event["event"] in ("task_started", "task_finished"):
            self.cpu = time.process_time() - self.cpu

    def of(self, kind: str) -> list[tuple[float, dict[str, Any]]]:
        return [one for one in self.events if one[1]["event"] == kind]


class Plain:
    """A plain forward of all examples, logits at every position."""

    def __init__(self, job: Job, device: str) -> None:
        from interp_dsl.models.load import load

        folder = Path(job.folder)
        spec = {"kind": "weights", "folder": str(folder / "model")}
        self._executor = load(spec, device=device, executor="compiled")
        self._tokens = load_file(folder / "pairs.safetensors")["clean"].to(device)
        self._ended = torch.cuda.synchronize if device.startswith("cuda") else lambda: None

    @torch.no_grad()
    def seconds(self) -> tuple[float, float]:
        """By the clock, and of the processor."""
        walls, cpus = zip(*(self._timed() for _ in range(FORWARDS)), strict=True)
        return median(walls), median(cpus)

    def _timed(self) -> tuple[float, float]:
        started = time.perf_counter(), time.process_time()
        self._executor.forward(self._tokens, None)
        self._ended()
        return time.perf_counter() - started[0], time.process_time() - started[1]


def searched(job: Job, device: str) -> tuple[Watch, list[dict[str, Any]], tuple[float, float]]:
    """What a run told, its edge table, and the seconds of a pass, by the clock and of the
    processor: in the middle of before and after."""
    from interp_dsl import session
    from interp_dsl.face import open_run

    plain, watch = Plain(job, device), Watch()
    before = plain.seconds()
    with TemporaryDirectory() as folder:
        settings = session.Settings(out=Path(folder) / "run", fresh=True, device=device)
        session.run_file(Path(job.folder) / "race.interp", settings, watch)
        rows = open_run(Path(folder) / "run").scores("raced").to_dicts()
    after = plain.seconds()
    print(f"a plain pass of all examples: {before[0]:.3g} s before, {after[0]:.3g} s after")
    return watch, rows, ((before[0] + after[0]) / 2, (before[1] + after[1]) / 2)


def planned(job: Job) -> tuple[float, float, int]:
    """The plan's bounds of the tests, in passes, and the bytes that it says are held."""
    import interp_dsl
    from interp_dsl.plan.edges import bounds
    from interp_dsl.plan.estimates import estimates
    from interp_dsl.plan.tasks import Search

    plan = interp_dsl.plan(str(Path(job.folder) / "race.interp"))
    (task,) = (t for t in plan.tasks if isinstance(t, Search))
    found = estimates(plan)
    bound, held = bounds(task, found.sizes), found.tasks[task.id].peak
    assert bound is not None and held is not None
    return bound.least, bound.most, held


def report(job: Job, device: str) -> None:
    c = job.case
    least, most, held = planned(job)
    watch, rows, (one, one_cpu) = searched(job, device)
    (started, _), (ended, finished) = watch.of("task_started")[0], watch.of("task_finished")[0]
    seconds = ended - started
    evaluated, kept = (sum(row[name] for row in rows) for name in ("evaluated", "kept"))
    print(
        f"{c.layers} layers, {c.heads} heads, d_model {c.width}, vocab {c.vocab}, context "
        f"{c.context}, batch {c.batch} · gain {c.gain:g}, threshold {c.threshold:g} · {device}, "
        f"{job.threads} thread{'s'[: job.threads - 1]}"
    )
    print(
        f"{len(rows):,} edges, {evaluated / len(rows):.1%} evaluated, {kept / len(rows):.1%} kept\n"
        f"{seconds:.1f} s = {seconds / one:,.1f} passes, {seconds / one / len(rows):.4f} an edge\n"
        f"{watch.cpu:.1f} s of the processor = {watch.cpu / one_cpu:,.1f} passes of "
        f"{one_cpu:.3g} s, {watch.cpu / one_cpu / len(rows):.4f} an edge\n"
        f"the plan: {least:,.1f} to {most:,.1f} passes = {least * one:,.1f} to {most * one:,.1f} s"
        f" · {'between' if least <= seconds / one <= most else 'NOT between'}\n"
        f"memory: {finished['memory'] / 1e6:,.0f} MB held, the plan says {held / 1e6:,.0f} MB\n\n"
        f"{'after s':>8} {'done':>7} {'kept':>7} {'left at least':>14} {'at most':>8} {'was':>8}"
    )
    moments = watch.of("edges")
    for number in range(MOMENTS):
        at, event = moments[number * (len(moments) - 1) // (MOMENTS - 1)]
        low, high = (f"{x:.1f}" for x in event["left"]) if event["left"] else ("–", "–")
        print(
            f"{at - started:8.1f} {event['done']:7,} {event['kept']:7,} {low:>14} {high:>8}"
            f" {ended - at:8.1f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for models and data")
    for name, value in (
        ("layers", 4),
        ("width", 256),
        ("heads", 8),
        ("vocab", 512),
        ("context", 24),
        ("batch", 16),
        ("threads", 1),
    ):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threshold", type=float, default=0.001)
    parser.add_argument("--gain", type=float, default=1.0)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    sizes = ("layers", "width", "heads", "vocab", "context", "batch", "threshold", "gain")
    held = {name: getattr(given, name) for name in sizes}
    name = "-".join(["estimate", *(f"{value:g}" for value in held.values())])
    report(make(Case(name, **held, mlps=True, ours=True), given.work, given.threads), given.device)
    print(f"\n{processor()}")


if __name__ == "__main__":
    main()
