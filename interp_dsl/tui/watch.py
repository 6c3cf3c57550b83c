"""Watch: the run as it goes."""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.widgets import Static

from interp_dsl.runs.events import Event
from interp_dsl.runs.text import printable
from interp_dsl.tui.base import RunScreen


class WatchScreen(RunScreen):
    """Tasks, curves, leading components, claims, log."""

    def body(self) -> ComposeResult:
        yield Static(id="tasks")

    def on_run_events(self, events: list[Event]) -> None:
        tasks = self.live.tasks.values()
        lines = [f"{t.stage:<8} {t.name} {t.done}/{t.total}" for t in tasks]
        self.query_one("#tasks", Static).update(Text("\n".join(map(printable, lines))))
