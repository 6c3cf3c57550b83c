"""Plan: the experiment's text as run, and what it meant."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from interp_dsl.runs.events import Event
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.text import count, printable
from interp_dsl.tui.base import RunScreen
from interp_dsl.tui.highlight import highlighted, planned
from interp_dsl.tui.plans import read_plan
from interp_dsl.tui.screens.sides import Sides


class PlanScreen(Sides, RunScreen):
    """What was run, and what is known of how."""

    HELP: ClassVar[str] = (
        "The experiment as it was run, and the plan that it was read as: tasks, what they share, "
        "rows, tokens, FLOPs and memory as estimated before the run. The details of the run "
        "(parameters, seeds, versions, device) stand below the text."
    )

    def on_run_events(self, events: list[Event]) -> None:
        if events:
            return
        tones = self.home.tones
        text = highlighted(_experiment(self.folder), tones)
        text.append("\n")
        for name, value in _facts(self.folder):
            text.append(f"{name:<10} ", tones.muted)
            text.append(f"{value}\n")
        self.text.show("experiment.interp", text)
        title, plan = _plan(self.folder)
        self.plan.show(title, planned(plan, tones))

    def export(self) -> Path | None:
        """The plan as text."""
        path = self.export_path(".txt")
        path.write_text(f"{_experiment(self.folder)}\n\n{_plan(self.folder)[1]}\n", "utf-8")
        return path


def _experiment(folder: RunFolder) -> str:
    try:
        return folder.experiment
    except OSError:
        return "# this run keeps no text"


def _plan(folder: RunFolder) -> tuple[str, str]:
    from interp_dsl.plan.explain import explain

    plan = read_plan(folder)
    if plan is None:
        return "plan", "this run keeps no plan that this version can read"
    return f"plan · {count(len(plan.tasks), 'task')}", explain(plan)


def _facts(folder: RunFolder) -> list[tuple[str, str]]:
    manifest = folder.manifest
    facts = [(name, manifest.get(name)) for name in ("file", "device", "created", "host", "pid")]
    facts += [(f"-p {n}", v) for n, v in manifest.get("params", {}).items()]
    facts += [(f"seed {n}", v) for n, v in manifest.get("seeds", {}).items()]
    facts += sorted(manifest.get("versions", {}).items())
    facts += [("folder", folder.path)]
    return [(printable(str(n)), printable(str(v))) for n, v in facts if v is not None]
