"""A dialog with the values of single examples behind a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from interp_dsl.runs.text import count
from interp_dsl.tui.base import WIDTHS
from interp_dsl.tui.safe import plain
from interp_dsl.tui.widgets.columns import BarColumn, Column, NumberColumn, TextColumn
from interp_dsl.tui.widgets.frame import FrameModel
from interp_dsl.tui.widgets.table import Table

if TYPE_CHECKING:
    import polars as pl


class ExamplesScreen(ModalScreen[None]):
    """The examples by the size of their effect; `s` sorts, Escape closes."""

    HORIZONTAL_BREAKPOINTS = WIDTHS
    DEFAULT_CSS = """
    ExamplesScreen { align: center middle; }
    ExamplesScreen #box { width: 90%; max-width: 110; height: 85%; background: $background;
                          border: round $border; padding: 0 1;
                          border-title-color: $foreground; border-subtitle-color: $text-muted; }
    ExamplesScreen #row { width: 34; padding: 1 1 0 0; display: none; }
    ExamplesScreen.-wide #row { display: block; }
    ExamplesScreen Table { width: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "dismiss", "Close"),
    ]

    def __init__(self, title: str, row: Text, frame: pl.DataFrame) -> None:
        super().__init__()
        self._title, self._row, self._frame = title, row, frame

    def compose(self) -> ComposeResult:
        with Vertical(id="box"), Horizontal():
            yield Static(self._row, id="row")
            yield Table(id="examples")

    def on_mount(self) -> None:
        box = self.query_one("#box")
        box.border_title = plain(self._title)
        box.border_subtitle = plain(f"{count(len(self._frame), 'example')} · s sorts · esc closes")
        table = self.query_one("#examples", Table)
        table.show(example_rows(self._frame))
        table.focus()


def example_rows(frame: pl.DataFrame) -> FrameModel:
    """The examples of a row as a table's model, the largest first."""
    by = "value" if frame["effect"].is_null().all() else "effect"
    columns: list[Column] = [TextColumn.of(frame, "example")]
    for name in ("base", "value"):
        if not frame[name].is_null().all():
            columns.append(NumberColumn.of(frame, name, signed=False))
    if by == "effect":
        columns.append(NumberColumn.of(frame, "effect"))
    columns.append(BarColumn.of(frame, by))
    return FrameModel(frame, columns, by)
