"""Which runs there are, which one goes on, which ones lend their steps."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from interp_dsl.plan import serialise
from interp_dsl.plan.serialise import same_work
from interp_dsl.plan.tasks import Plan
from interp_dsl.runs.find import latest, list_runs, resumable, summary, with_finished_steps
from interp_dsl.runs.folder import RunFolder
from tests.runs.recorded import WHEN, record

PLAN = Plan((), seed=1)


def begun(root: Path, minutes: int, status: str, plan: Plan = PLAN, stem: str = "ioi") -> RunFolder:
    folder = RunFolder.create(root, stem, WHEN + timedelta(minutes=minutes))
    folder.write_plan(plan)
    assert folder.acquire()
    folder.release(status)
    return folder


def test_runs_are_listed_newest_first(tmp_path: Path) -> None:
    assert list_runs(tmp_path / "missing") == []
    old, new = begun(tmp_path, 0, "done"), begun(tmp_path, 1, "failed")
    for name, text in (("page", '{"name": "another program"}'), ("torn", "{")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text(text)
    assert [f.path for f in list_runs(tmp_path)] == [new.path, old.path]


def test_the_latest_run_is_the_one_last_gone_on_with(tmp_path: Path) -> None:
    assert latest(tmp_path) is None
    old, new = begun(tmp_path, 0, "failed"), begun(tmp_path, 1, "done")
    for folder, started in ((old, "2026-11-20T12:00:00"), (new, "2026-11-20T11:00:00")):
        folder.update_manifest(started=started)
    assert [f.path for f in list_runs(tmp_path)] == [new.path, old.path]
    found = latest(tmp_path)
    assert found is not None and found.path == old.path


def test_the_newest_unfinished_run_of_the_same_plan_goes_on(tmp_path: Path) -> None:
    begun(tmp_path, 0, "interrupted")
    right = begun(tmp_path, 1, "interrupted")
    begun(tmp_path, 2, "done")
    begun(tmp_path, 3, "interrupted", plan=Plan((), seed=2))
    begun(tmp_path, 4, "interrupted", stem="other")
    held = begun(tmp_path, 5, "interrupted")
    assert held.acquire()
    found = resumable(tmp_path, "ioi", serialise.dumps(PLAN))
    assert found is not None and found.path == right.path
    assert resumable(tmp_path, "ioi", serialise.dumps(Plan((), seed=9))) is None


def test_runs_with_finished_steps_lend_them(tmp_path: Path) -> None:
    begun(tmp_path, 0, "failed")
    finished = record(tmp_path)
    assert [f.path for f in with_finished_steps(tmp_path)] == [finished.path]


def test_a_summary_counts_claims(tmp_path: Path) -> None:
    found = summary(record(tmp_path))
    assert (found.stem, found.status, found.claims_held, found.claims) == ("ioi", "done", 1, 2)
    assert found.when.startswith("2026-11-20T10:15:00")


def test_the_same_work_whatever_the_device() -> None:
    def text(**changes: object) -> str:
        task = {"is": "Sweep", "id": "s", "packing": {"rows": 3}, "batch": 2, **changes}
        return json.dumps({"is": "Plan", "device": changes.get("on", "auto"), "tasks": [task]})

    assert same_work(text(), text())
    assert same_work(text(), text(packing={"rows": 9}, batch=7))
    assert not same_work(text(), text(id="other"))
    other = json.loads(text())
    assert same_work(text(), json.dumps({**other, "device": "cuda:1"}))
    assert not same_work(text(), json.dumps({**other, "seed": 1}))
