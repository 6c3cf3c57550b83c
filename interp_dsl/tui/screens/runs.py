"""Runs: those of a folder, the newest first, with status, size and claims."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from interp_dsl.runs.events import Event
from interp_dsl.runs.find import list_runs, summary
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.live import status_of
from interp_dsl.runs.names import holds_run
from interp_dsl.runs.text import count, file_size
from interp_dsl.tui.base import RunScreen
from interp_dsl.tui.runlist import Run, RunRows
from interp_dsl.tui.safe import plain
from interp_dsl.tui.widgets.table import Table

EVERY = 2.0


class RunsScreen(RunScreen):
    """The runs beside the one that is open; of a folder of runs, those in it."""

    HELP: ClassVar[str] = (
        "The runs of this folder. Enter opens one; a run that is going on can be opened too, "
        "whoever started it. The list is looked at anew every two seconds."
    )
    DEFAULT_CSS = """
    RunsScreen Table { border: round $foreground 25%; height: 1fr;
                       border-title-color: $foreground; border-subtitle-color: $text-muted; }
    RunsScreen Table:focus { border: round $primary; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "open", "Open")]

    def __init__(self, folder: RunFolder) -> None:
        super().__init__(folder)
        self.root = folder.path.parent if holds_run(folder.path) else folder.path

    def body(self) -> ComposeResult:
        yield Table(id="runs")

    def on_mount(self) -> None:
        self.query_one(Table).focus()
        self.set_interval(EVERY, self._look)

    def on_run_events(self, events: list[Event]) -> None:
        if not events:
            self._look()

    def _look(self) -> None:
        if self.is_current:
            self.run_worker(self._read, thread=True, exclusive=True, exit_on_error=False)

    def _read(self) -> None:
        found = []
        for folder in list_runs(self.root):
            try:
                found.append(Run(summary(folder), status_of(folder)))
            except (OSError, ValueError, KeyError):  # deleted while we looked
                continue
        self.app.call_from_thread(self._show, found)

    def _show(self, found: list[Run]) -> None:
        table = self.query_one(Table)
        rows, before = RunRows(found), table.model
        if isinstance(before, RunRows) and before.order is not None:
            column, down = before.order
            for _ in range(1 + down):
                rows.sort(column)
        table.nothing = f"no runs in {self.root}; interp run FILE makes one"
        table.show(rows, keep=before is not None)
        table.border_title = plain(f"runs · {len(found):,} in {self.root}")
        size = sum(run.summary.bytes for run in found)
        table.border_subtitle = plain(f"{count(len(found), 'run')}, {file_size(size)}")

    @on(Table.Chosen)
    def _on_chosen(self, event: Table.Chosen) -> None:
        rows = event.table.model
        if isinstance(rows, RunRows):
            self.home.open_run(RunFolder(rows.runs[event.row].summary.path))

    def action_open(self) -> None:
        self.query_one(Table).action_choose()

    def export(self) -> Path | None:
        """The list as csv."""
        rows = self.query_one(Table).model
        if not isinstance(rows, RunRows):
            return None
        lines = ["run,status,when,bytes,claims_held,claims"]
        lines += [
            f'"{r.summary.path.name}",{r.status},{r.summary.when},{r.summary.bytes},'
            f"{r.summary.claims_held},{r.summary.claims}"
            for r in rows.runs
        ]
        path = self.export_path(".csv")
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path
