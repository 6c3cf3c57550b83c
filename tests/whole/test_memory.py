"""A sweep of compiled passes where memory runs out in the middle: the batch is halved, and the
numbers are those of a run that has enough."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from torch import Tensor

from interp_dsl.check import check_source, plan_experiment
from interp_dsl.engine.execute import execute
from interp_dsl.engine.sweep import Sweeper
from interp_dsl.language.source import Source
from interp_dsl.models.compiled.forward import Compiled
from interp_dsl.plan.starts import WHOLE
from interp_dsl.plan.tasks import Plan, Sweep
from interp_dsl.runs.folder import RunFolder

TEXT = """
model m = bundled("ioi-3l")
dataset ioi = template(n=6, seed=0) {{
  clean   "When {{A}} and {{B}} went to the store, {{B@S2}} gave a book to{{@END}}"
  corrupt "When {{A}} and {{B}} went to the store, {{C@S2}} gave a book to{{@END}}"
  answer  " {{A}}"
  wrong   " {{B}}"
  where   A, B, C in ["Mary", "John", "Anna", "Paul", "Lucy"]
}}
step cut = ablate {{L1.mlp}} with zero
step who = patch {what} measure logit_diff(), kl()
"""
MANY = """
model m = bundled("ioi-3l")
dataset ioi = task("ioi-3l", n=512)
step who = patch heads from ioi.corrupt into ioi.clean measure logit_diff()
"""
ROWS = 512 * 12
ROOM = 8 << 20
"""Bytes, some fifth of what so many rows take at once."""


def planned(text: str) -> Plan:
    """The plan, all units of its step in one batch."""
    found = check_source(Source(text))
    assert found.experiment is not None, found.diagnostics
    plan = plan_experiment(found.experiment, "cpu")
    tasks = (replace(t, packing=WHOLE) if isinstance(t, Sweep) else t for t in plan.tasks)
    return replace(plan, tasks=tuple(tasks))


def run(plan: Plan, path: Path) -> tuple[pl.DataFrame, list[str]]:
    """The step's table, and what was noted of memory."""
    folder = RunFolder.create(path, "x", datetime(2026, 1, 1))
    assert execute(plan, folder).status == "done"
    notes = [e["text"] for e in folder.events() if e["event"] == "note"]
    return folder.read_table("who"), [text for text in notes if "out of memory" in text]


def same(a: pl.DataFrame, b: pl.DataFrame) -> None:
    assert a.select("unit", "position", "metric").equals(b.select("unit", "position", "metric"))
    for column in ("base", "value", "effect", "low", "high"):
        assert (a[column] - b[column]).abs().max() < 1e-4, column
    assert a["effect"].abs().max() > 0.01


@pytest.mark.parametrize(
    "what",
    [
        "heads from ioi.corrupt into ioi.clean",
        "resid_pre, mlps at each from ioi.corrupt into ioi.clean",
        "queries, keys at S2, END from ioi.corrupt into ioi.clean under cut",
        "heads at END from noise(std=0.5) into ioi.clean",
    ],
)
def test_passes_that_run_out_at_their_end_are_made_again(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream was written in place, and so were the rooms of products, when memory runs out."""
    plan = planned(TEXT.format(what=what))
    wanted, none = run(plan, tmp_path / "whole")
    logits, refused = Compiled.logits, []

    def cramped(model: Compiled, x: Tensor, *more: Any) -> Tensor:
        if len(x) > 7:
            refused.append(len(x))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return logits(model, x, *more)

    monkeypatch.setattr(Compiled, "logits", cramped)
    found, notes = run(plan, tmp_path / "cramped")
    assert not none and len(refused) == len(notes) > 1
    assert notes[-1].endswith(f"going on with {refused[-1] // 2}")
    same(found, wanted)


@contextmanager
def room(spare: int) -> Iterator[None]:
    """This process may take so many bytes more than it has."""
    held = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + spare, held[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, held)


def run_out(path: str) -> None:
    """What happens in a process of its own."""
    folder = Path(path)
    plan, values = planned(MANY), Sweeper._values
    wanted, none = run(plan, folder / "whole")

    def cramped(*given: Any) -> Tensor:
        with room(ROOM):
            return values(*given)

    Sweeper._values = cramped  # type: ignore[method-assign]
    found, notes = run(plan, folder / "cramped")
    assert not none and notes, notes
    same(found, wanted)
    print(*notes, sep="\n")


@pytest.mark.skipif(sys.platform != "linux", reason="bounds the memory of a process as Linux does")
def test_memory_that_really_runs_out(tmp_path: Path) -> None:
    code = (
        f"import sys, pathlib; from {__name__} import run_out; run_out(pathlib.Path(sys.argv[1]))"
    )
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    first = f"out of memory at {ROWS // 3} rows a batch; going on with {ROWS // 6}"
    assert done.stdout.startswith(first), done.stdout
