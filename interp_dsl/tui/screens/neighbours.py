"""A dialog with the features beside one, to one of which a person may go."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from interp_dsl.runs.text import count
from interp_dsl.tui.safe import plain
from interp_dsl.tui.widgets.frame import FrameModel
from interp_dsl.tui.widgets.table import Table


class NeighboursScreen(ModalScreen[int | None]):
    """The feature that Enter falls on; None on Escape. `s` sorts."""

    DEFAULT_CSS = """
    NeighboursScreen { align: center middle; }
    NeighboursScreen #box { width: 90%; max-width: 110; height: 70%; border: round $primary;
                            background: $background; padding: 0 1;
                            border-title-color: $foreground; border-subtitle-color: $text-muted; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "dismiss", "Close")]

    def __init__(self, feature: int, rows: FrameModel) -> None:
        super().__init__()
        self._feature, self._rows = feature, rows

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Table(id="neighbours")

    def on_mount(self) -> None:
        box = self.query_one("#box")
        box.border_title = plain(f"beside feature {self._feature}")
        there = count(len(self._rows), "feature")
        box.border_subtitle = plain(f"{there} · ⏎ goes there · s sorts · esc closes")
        table = self.query_one(Table)
        table.show(self._rows)
        table.focus()

    @on(Table.Chosen)
    def _on_chosen(self, event: Table.Chosen) -> None:
        event.stop()
        self.dismiss(int(self._rows.shown["other"][event.row]))
