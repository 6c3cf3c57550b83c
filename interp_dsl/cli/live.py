"""The progress display of a terminal: a bar a task, rates, time left, the leading components."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group
from rich.live import Live as Screen
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from interp_dsl.cli.output import Output, is_colored
from interp_dsl.cli.watch import Quiet
from interp_dsl.runs.events import Event
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.live import ending, imported, outcome, task_name, time_left
from interp_dsl.runs.text import decimals, interval, number, printable

SHOWN = 5


class Rate(ProgressColumn):
    """Things a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f}/s" if task.speed else "", style="dim")


class Left(TimeRemainingColumn):
    """Time left: between what a search says of itself, else by the rate."""

    def render(self, task: Task) -> Text:
        said = task.fields.get("left")
        return Text(said, style="progress.remaining") if said else super().render(task)


class Live(Quiet):
    """A display that events drive; it keeps what is done above and goes when the run ends."""

    def __init__(self, output: Output, console: Console | None = None) -> None:
        super().__init__(output)
        self.console = console or Console(stderr=True, no_color=not is_colored(sys.stderr))
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            Rate(),
            TimeElapsedColumn(),
            Left(),
            console=self.console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._beginning: TaskID | None = None
        self._leading: tuple[str, list[Mapping[str, Any]]] = ("", [])
        self._ended: set[str] = set()
        self._screen = Screen(
            get_renderable=self._picture, console=self.console, refresh_per_second=8, transient=True
        )

    def started(self, folder: RunFolder, resumed: bool) -> None:
        self._say(f"{'going on in' if resumed else 'running in'} {folder.path}")
        self._beginning = self._bars.add_task("importing torch", total=None)
        self._screen.start()

    def close(self) -> None:
        self._screen.stop()

    def event(self, event: Event) -> None:
        if self._beginning is not None:
            self._bars.remove_task(self._beginning)
            self._beginning = None
        match event["event"]:
            case "task_started":
                total, told = event.get("total"), task_name(event)
                told += ": gathering activations" if event["task"].startswith("fit:") else ""
                self._tasks[event["task"]] = self._bars.add_task(
                    printable(told), total=total or None
                )
            case "progress" if event["task"] in self._tasks:
                self._bars.update(
                    self._tasks[event["task"]],
                    completed=event["done"],
                    total=event.get("total") or None,
                )
            case "edges" | "nodes" as what if f"search:{event['step']}" in self._tasks:
                told = f"{event['step']}: {event['kept']:,} {what}, score {event['score']:.4g}"
                self._bars.update(
                    self._tasks[f"search:{event['step']}"],
                    description=printable(told),
                    left=time_left(event),
                )
            case "fit" if f"fit:{event['step']}" in self._tasks:
                one = f"[{event['dictionary']}]" if event.get("dictionary") else ""
                told = f"{event['step']}{one}: loss {event['loss']:.3g}, l0 {event['l0']:.1f}, "
                told += f"fvu {event['fvu']:.3f}, {event['dead']:,} dead"
                self._bars.update(self._tasks[f"fit:{event['step']}"], description=printable(told))
            case "task_finished":
                self._finish(event)
            case "top":
                self._leading = (str(event["step"]), list(event["rows"])[:SHOWN])
            case "note":
                self._say(f"note: {event['text']}")
            case "imported":
                self._say(imported(event))
            case "run_finished":
                self._say(ending(event))

    def _finish(self, event: Event) -> None:
        if event["task"] in self._tasks:
            self._bars.remove_task(self._tasks.pop(event["task"]))
        self._ended.add(str(event.get("step")))
        self._say(f"✓ {task_name(event)}: {outcome(event)}")

    def _say(self, text: str) -> None:
        self.console.print(Text(printable(text)))

    def _picture(self) -> Group:
        step, rows = self._leading
        if not rows:
            return Group(self._bars)
        title = step if step in self._ended else f"{step} so far"
        return Group(self._bars, leading_table(title, rows))


def leading_table(title: str, rows: list[Mapping[str, Any]]) -> Table:
    """The leading components of a step."""
    table = Table(title=Text(printable(title)), title_justify="left", box=None)
    for name in ("unit", "metric"):
        table.add_column(name)
    for name in ("effect", "95% interval"):
        table.add_column(name, justify="right")
    places = decimals([row["effect"] for row in rows])
    for row in rows:
        words = [str(row["unit"]), str(row["metric"])]
        words += [number(row["effect"], places), interval(row["low"], row["high"], places)]
        table.add_row(*(Text(printable(word)) for word in words))
    return table
