"""Plan: the experiment's text as run, and what it meant."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal

from interp_dsl.runs.events import Event
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.text import count, printable
from interp_dsl.tui.base import WIDTHS, RunScreen
from interp_dsl.tui.highlight import highlighted, planned
from interp_dsl.tui.plans import read_plan
from interp_dsl.tui.widgets.choices import Choices, Group
from interp_dsl.tui.widgets.panes import Pane

SIDES = ("text", "plan")


class PlanScreen(RunScreen):
    """Text and plan side by side, or one of them where there is less room."""

    HELP: ClassVar[str] = (
        "The experiment as it was run, and the plan that it was read as: tasks, what they share, "
        "rows, tokens, FLOPs and memory as estimated before the run. The details of the run "
        "(parameters, seeds, versions, device) stand below the text."
    )
    HORIZONTAL_BREAKPOINTS = WIDTHS
    DEFAULT_CSS = """
    PlanScreen Pane { width: 1fr; height: 1fr; display: none; }
    PlanScreen.-text #text, PlanScreen.-plan #plan { display: block; }
    PlanScreen.-wide Pane { display: block; }
    PlanScreen.-wide Choices { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("t", "side", "Text or plan", show=False)]

    def __init__(self, folder: RunFolder) -> None:
        super().__init__(folder)
        self._side = 0

    def body(self) -> ComposeResult:
        yield Choices()
        with Horizontal():
            yield Pane(id="text")
            yield Pane(id="plan")

    def on_mount(self) -> None:
        self._show_side()

    def on_run_events(self, events: list[Event]) -> None:
        if events:
            return
        tones = self.home.tones
        text = highlighted(_experiment(self.folder), tones)
        text.append("\n")
        for name, value in _facts(self.folder):
            text.append(f"{name:<10} ", tones.muted)
            text.append(f"{value}\n")
        self.query_one("#text", Pane).show("experiment.interp", text)
        title, plan = _plan(self.folder)
        self.query_one("#plan", Pane).show(title, planned(plan, tones))

    def _show_side(self) -> None:
        for i, name in enumerate(SIDES):
            self.set_class(i == self._side, f"-{name}")
        self.query_one(Choices).show(Group("show", "t", SIDES, self._side))
        self.query_one(f"#{SIDES[self._side]}", Pane).focus()

    def action_side(self) -> None:
        self._side = 1 - self._side
        self._show_side()

    @on(Choices.Picked)
    def _on_picked(self, event: Choices.Picked) -> None:
        self._side = event.index
        self._show_side()

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
