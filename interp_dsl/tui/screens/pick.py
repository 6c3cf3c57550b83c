"""A dialog with runs, one of which is to be chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from interp_dsl.runs.find import summary
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.live import status_of
from interp_dsl.tui.runlist import Run, RunRows
from interp_dsl.tui.safe import plain
from interp_dsl.tui.widgets.table import Table


class PickRun(ModalScreen[RunFolder | None]):
    """The run that Enter falls on; None on Escape."""

    DEFAULT_CSS = """
    PickRun { align: center middle; }
    PickRun #box { width: 90%; max-width: 110; height: 70%; border: round $primary;
                   background: $background; padding: 0 1; border-title-color: $foreground; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss", "Close")]

    def __init__(self, question: str, folders: Sequence[RunFolder]) -> None:
        super().__init__()
        self._question, self._folders = question, folders

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Table(id="pick")

    def on_mount(self) -> None:
        self.query_one("#box").border_title = plain(self._question)
        table = self.query_one(Table)
        table.nothing = "there is no other run"
        table.show(RunRows([Run(summary(f), status_of(f)) for f in self._folders]))
        table.focus()

    @on(Table.Chosen)
    def _on_chosen(self, event: Table.Chosen) -> None:
        rows = event.table.model
        assert isinstance(rows, RunRows)
        self.dismiss(RunFolder(rows.runs[event.row].summary.path))
