"""`interp plan`: printed, as data, and with what a run took."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from interp_dsl.plan import serialise
from interp_dsl.plan.tasks import Plan

Interp = Callable[..., tuple[int, str, str]]
TEXT = """model m = bundled("ioi-3l")
dataset ioi = task("ioi-3l", n=8)
metric gap = logit_diff()
step who = patch heads from ioi.corrupt into ioi.clean measure gap
step best = patch top(who, 2) from ioi.corrupt into ioi.clean measure gap
expect who[L2H0].gap.normalized > 0.5
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ioi.interp").write_text(TEXT)


def test_the_plan_as_data_holds_estimates(interp: Interp) -> None:
    code, out, _ = interp("plan", "ioi.interp", "--json")
    data = json.loads(out)
    assert code == 0 and list(data) == ["plan", "tasks", "total", "plain_loop"]
    plan = serialise.from_data(data["plan"])
    assert isinstance(plan, Plan)
    assert [task["id"] for task in data["tasks"]] == [task.id for task in plan.tasks]
    tasks = {task["id"]: task for task in data["tasks"]}
    assert tasks["sweep:who"]["passes"] == 12 * 8 and tasks["sweep:best"]["flops"] is None
    assert data["total"]["unknown"] == ["sweep:best"]
    known = [task["flops"] for task in data["tasks"] if task["flops"] is not None]
    assert data["total"]["flops"] == sum(known)


def test_analyze_runs_and_measures(interp: Interp) -> None:
    code, out, err = interp("plan", "--analyze", "ioi.interp", "--device", "cpu")
    lines = out.splitlines()
    step = next(line for line in lines if "step who" in line)
    assert code == 0 and " rows a second" in step and step.endswith("]")
    assert " ms" in next(line for line in lines if "step best" in line)
    assert any(line.startswith("took   ") for line in lines)
    assert "running in runs/ioi-" in err and len(list(Path("runs").iterdir())) == 1

    code, out, _ = interp("plan", "--analyze", "ioi.interp", "--device", "cpu")
    assert "set to ioi.corrupt  [taken over]" in out and "--fresh runs everything" in out
    code, out, _ = interp("plan", "--analyze", "--json", "--fresh", "ioi.interp", "--device", "cpu")
    data = json.loads(out)
    tasks = {task["id"]: task for task in data["tasks"]}
    assert tasks["sweep:who"]["reused"] is False and tasks["sweep:who"]["seconds"] > 0
    if Path("/proc/self/status").is_file():
        held = tasks["sweep:who"]["memory"]  # nothing where this process had enough before
        assert isinstance(held, int) and held < 1e9
    assert data["total"]["seconds"] >= tasks["sweep:who"]["seconds"]


def test_analyze_ends_as_the_run_does(interp: Interp) -> None:
    Path("ioi.interp").write_text(TEXT.replace("> 0.5", "> 9"))
    code, out, _ = interp("plan", "--analyze", "ioi.interp", "--device", "cpu")
    assert code == 1 and "claim  who[L2H0].gap.normalized > 9" in out
    code, out, err = interp("plan", "--analyze", "none.interp")
    assert (code, out) == (3, "") and "E700" in err
