"""What a report reads of a run folder: whatever is there, of a run that goes on or died as well."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from interp_dsl.plan.algebra import Run
from interp_dsl.plan.tasks import CircuitOf, EvaluateCircuit, Plan, Record
from interp_dsl.runs.events import Event
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.names import safe


@dataclass(frozen=True)
class Reading:
    """A run folder, read once."""

    folder: RunFolder

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        return self.folder.manifest

    @cached_property
    def text(self) -> str:
        """The experiment's text; empty where the run has none yet."""
        try:
            return self.folder.experiment
        except FileNotFoundError:
            return ""

    @cached_property
    def plan(self) -> Plan | None:
        """The plan; None before it is written, and where another version of interp wrote it."""
        try:
            return self.folder.read_plan()
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    @cached_property
    def events(self) -> list[Event]:
        """The events that a report tells of, without the many of progress."""
        kinds = ("task_finished", "note", "failed", "run_finished")
        return [event for event in self.folder.events() if event["event"] in kinds]

    @cached_property
    def steps(self) -> list[str]:
        """The steps with results, in the order of the text."""
        tasks = self.plan.tasks if self.plan else ()
        recorded = {t.step for t in tasks if isinstance(t, Record) and self._has(t.step)}
        held = {s: None for s in self.folder.steps if is_name(s)}
        planned = [step_of(task) for task in tasks]
        return [s for s in dict.fromkeys([*planned, *held]) if s and (s in held or s in recorded)]

    def recorded_run(self, step: str) -> Run | None:
        """Whose activations a `record` step keeps."""
        tasks = self.plan.tasks if self.plan else ()
        return next((t.run for t in tasks if isinstance(t, Record) and t.step == step), None)

    def _has(self, step: str) -> bool:
        return is_name(step) and self.folder.has_tensors(step)

    @cached_property
    def forms(self) -> dict[str, str]:
        """The form that the text asks a step to be shown in."""
        return {view.step: view.form for view in self.plan.views} if self.plan else {}

    def seconds(self, task: str) -> float | None:
        """What a task took; None where it was not run or taken over."""
        found = [e for e in self.events if e["event"] == "task_finished" and e["task"] == task]
        return None if not found or found[-1]["reused"] else float(found[-1]["seconds"])

    def sizes(self, step: str) -> dict[float, int]:
        """How many edges the circuits of a step have by threshold, of those that an evaluation
        measures."""
        tasks = self.plan.tasks if self.plan else ()
        evaluated = [t for t in tasks if isinstance(t, EvaluateCircuit) and t.step == step]
        if evaluated and isinstance(evaluated[0].circuit, CircuitOf):
            step = evaluated[0].circuit.step
        found = self.found(step)
        return {c["threshold"]: int(c["edges"]) for c in found if c.get("threshold") is not None}

    def found(self, step: str) -> list[dict[str, Any]]:
        """The circuits that a search has noted: `threshold`, `edges`, `metrics`."""
        facts = self.manifest.get("steps", {}).get(step, {})
        return list(facts.get("circuits", ()))

    @property
    def failures(self) -> list[str]:
        """What ended the run, where something went wrong."""
        failed = [e for e in self.events if e["event"] == "failed"]
        told = failed[-1]["diagnostics"] if failed and self.folder.status == "failed" else []
        return [" ".join(filter(None, (d.get("code"), d.get("message")))) for d in told]


def is_name(step: str) -> bool:
    """Whether files of a run may be called after this."""
    try:
        return bool(safe(step))
    except ValueError:
        return False


def step_of(task: object) -> str | None:
    """The step that a task leaves the results of."""
    return getattr(task, "step", None)


def as_json(value: Any) -> str:
    """A value of the manifest as text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
