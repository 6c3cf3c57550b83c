"""A run's state from its events alone."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.live import POINTS, RunLive, status_of

TASKS = [
    {"id": "model:m", "kind": "LoadModel", "step": None, "total": None},
    {"id": "sweep:who", "kind": "Sweep", "step": "who", "total": 8},
]


def told(*events: dict[str, Any]) -> RunLive:
    live = RunLive()
    for event in events:
        live.apply({"time": 0.0, **event})
    return live


BEGUN: dict[str, Any] = {"event": "run_started", "tasks": TASKS, "resumed": False}
STARTED: dict[str, Any] = {"event": "task_started", "task": "sweep:who", "step": "who", "total": 8}


def progress(time: float, done: int) -> dict[str, Any]:
    return {"time": time, "event": "progress", "task": "sweep:who", "done": done, "total": 8}


def test_tasks_wait_work_and_end() -> None:
    live = told(BEGUN)
    assert [task.stage for task in live.tasks.values()] == ["waiting", "waiting"]
    live.apply({**STARTED, "time": 1.0})
    assert [task.id for task in live.working] == ["sweep:who"]
    end = {"task": "sweep:who", "step": "who", "seconds": 2.5, "memory": 7, "reused": False}
    live.apply({"time": 3.5, "event": "task_finished", **end})
    task = live.tasks["sweep:who"]
    assert (task.stage, task.done, task.seconds, task.memory) == ("done", 8, 2.5, 7)
    assert live.n_ended == 1


def test_the_rate_is_that_of_the_last_progress_and_the_rest_takes_as_long() -> None:
    live = told(BEGUN, STARTED, progress(1.0, 1))
    task = live.tasks["sweep:who"]
    assert task.rate is None and task.left is None
    live.apply(progress(3.0, 5))
    assert task.rate == 2.0  # 4 units in 2 seconds
    assert task.left == 1.5  # 3 units are left


def test_a_run_that_is_taken_up_again_begins_its_tasks_anew() -> None:
    live = told(BEGUN, STARTED, progress(1.0, 3))
    live.finish("died")
    assert live.tasks["sweep:who"].stage == "stopped"
    live.apply({"time": 9.0, **BEGUN, "resumed": True})
    assert live.attempts == 2
    assert live.tasks["sweep:who"].stage == "waiting"
    assert [line.text for line in live.log] == ["the run begins", "the run goes on"]


def test_a_failure_is_kept_and_stops_what_was_worked_at() -> None:
    found = {"code": "E642", "message": "no memory", "notes": [], "help": None}
    live = told(BEGUN, STARTED, {"event": "failed", "diagnostics": [found]})
    live.apply({"time": 1.0, "event": "run_finished", "status": "failed", "seconds": 1.0})
    assert live.failures == [found]
    assert live.tasks["sweep:who"].stage == "failed"
    assert live.ending == "failed"
    assert [line.tone for line in live.log][-2:] == ["bad", "bad"]


def test_claims_turn_true_or_false() -> None:
    yes, no = ({"event": "claim", "text": f"a > {n}", "ok": n == 1} for n in (1, 2))
    live = told(BEGUN, yes, no)
    assert [claim["ok"] for claim in live.claims] == [True, False]
    assert [line.text for line in live.log][1:] == ["claim a > 1: true", "claim a > 2: false"]


def test_a_search_draws_its_score_and_the_edges_it_keeps() -> None:
    edges = {"event": "edges", "step": "who", "threshold": 0.1, "total": 9}
    live = told(*({**edges, "done": n, "kept": 9 - n, "score": n / 10} for n in range(4)))
    assert live.curves["who at 0.1 · kept"] == [(0, 9), (1, 8), (2, 7), (3, 6)]
    assert live.curves["who at 0.1 · score"][-1] == (3, 0.3)
    live.apply({"time": 0.0, **edges, "done": 0, "kept": 9, "score": 0.0})  # begun again
    assert live.curves["who at 0.1 · kept"] == [(0, 9)]


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    edges = {"event": "edges", "step": "who", "threshold": None, "total": None}
    n = 5 * POINTS
    live = told(*({**edges, "done": i, "kept": n - i, "score": 0.0} for i in range(n)))
    points = live.curves["who · kept"]
    assert len(points) <= 2 * POINTS
    assert points[0] == (0, n) and points[-1] == (n - 1, 1)
    assert points == sorted(points)


def test_the_newest_leading_components_stand_last() -> None:
    top = {"event": "top", "rows": []}
    live = told({**top, "step": "a"}, {**top, "step": "b"}, {**top, "step": "a"})
    assert list(live.leading) == ["b", "a"]


def test_kinds_of_later_versions_change_nothing() -> None:
    live = told(BEGUN, {"event": "say"}, {"event": "__init__"}, {"event": "tone"})
    assert live == told(BEGUN)


def test_a_run_whose_process_is_gone_has_died(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "x", datetime.now())
    assert status_of(folder) == "created"
    assert folder.acquire()
    assert status_of(RunFolder(folder.path)) == "running"
    folder._lock.release()
    assert status_of(folder) == "died"
    assert folder.acquire()
    folder.release("interrupted")
    assert status_of(folder) == "interrupted"
