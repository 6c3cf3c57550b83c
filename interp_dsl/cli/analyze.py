"""What the tasks of a run took, beside what was estimated of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from interp_dsl.language.diagnostics import Diagnostic
from interp_dsl.plan.cost import Cost
from interp_dsl.plan.estimates import estimates
from interp_dsl.plan.tasks import Plan
from interp_dsl.plan.written import quantity
from interp_dsl.runs.events import Event
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.text import duration
from interp_dsl.session import Watcher


class Stopwatch:
    """Keeps the seconds of every task and of the whole run, and hands all on to another watcher."""

    def __init__(self, other: Watcher) -> None:
        self.other = other
        self._finished: dict[str, Event] = {}
        self._ended: Event = {}

    def checked(self, diagnostics: Sequence[Diagnostic]) -> None:
        self.other.checked(diagnostics)

    def started(self, folder: RunFolder, resumed: bool) -> None:
        self.other.started(folder, resumed)

    def event(self, event: Event) -> None:
        if event["event"] == "task_finished":
            self._finished[event["task"]] = event
        elif event["event"] == "run_finished":
            self._ended = event
        self.other.event(event)

    def lines(self, plan: Plan) -> tuple[dict[str, str], list[str]]:
        """What stands beside each task, by id, and below the totals. Rows a second are the
        estimate's rows by the seconds."""
        found = estimates(plan)
        beside = {task: _took(event, found.tasks[task]) for task, event in self._finished.items()}
        seconds, imports = self._ended.get("seconds"), self._ended.get("imports")
        below = []
        if seconds is not None:
            apart = f", and {duration(imports)} of imports" if imports else ""
            most = max((e.get("memory") or 0 for e in self._finished.values()), default=0)
            held = f"; held {quantity(most)}B at most besides the models" if most else ""
            below = [f"took   {_short(seconds)}{apart}{held}"]
        if any(event["reused"] for event in self._finished.values()):
            below.append("       what was taken over took no time here; --fresh runs everything")
        return beside, below

    def data(self, estimated: dict[str, Any]) -> dict[str, Any]:
        """Estimates as JSON holds them, with `seconds`, `memory` (bytes at most, null where the
        system does not tell) and `reused` of every task that ended."""
        measured = {
            task: {name: event[name] for name in ("seconds", "memory", "reused")}
            for task, event in self._finished.items()
        }
        tasks = [{**task, **measured.get(task["id"], {})} for task in estimated["tasks"]]
        whole = {name: self._ended.get(name) for name in ("seconds", "imports")}
        return {**estimated, "tasks": tasks, "total": {**estimated["total"], **whole}}


def _took(event: Event, estimate: Cost) -> str:
    if event["reused"]:
        return "taken over" if event.get("step") else "not needed"
    rows, seconds = estimate.passes, event["seconds"]
    held = f", {quantity(event['memory'])}B held" if event["memory"] else ""
    if not rows or seconds <= 0:
        return _short(seconds) + held
    most = "at most " if estimate.is_bound else ""
    return f"{_short(seconds)}, {most}{rows / seconds:,.0f} rows a second{held}"


def _short(seconds: float) -> str:
    return duration(seconds) if seconds >= 1 else f"{max(0.0, 1000 * seconds):.3g} ms"
