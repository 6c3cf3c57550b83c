"""What tables with a filter have in common: the line to type it into, rows to mark, one to look
at."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType

from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.text import count
from interp_dsl.tui.base import WIDTHS, RunScreen
from interp_dsl.tui.widgets.filterbar import FilterBar
from interp_dsl.tui.widgets.frame import FrameModel
from interp_dsl.tui.widgets.table import Table

SHOWN = 400
"""Characters of a copied text that are shown."""


class FilteredScreen(RunScreen):
    """A screen with a `Table` and a `FilterBar`. A derived one gives `filter`, `show_title`
    and `show_row`."""

    HORIZONTAL_BREAKPOINTS = WIDTHS
    DEFAULT_CSS = """
    FilteredScreen #main { height: 1fr; }
    FilteredScreen Table { border: round $foreground 25%; border-title-color: $foreground;
                           border-subtitle-color: $text-muted; }
    FilteredScreen Table:focus { border: round $primary; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("space,x", "mark", "Mark", key_display="space"),
    ]

    def __init__(self, folder: RunFolder) -> None:
        super().__init__(folder)
        self.model: FrameModel | None = None

    def filter(self, text: str) -> None:
        """Keep the rows of the model that a text names, and say so below it."""
        raise NotImplementedError

    def show_title(self) -> None:
        """Say above and below the table what it shows."""
        raise NotImplementedError

    def show_row(self) -> None:
        """Show what is known of the row under the cursor, which has moved or may have."""
        raise NotImplementedError

    def on_mount(self) -> None:
        self.table.border_title = "reading …"

    @property
    def table(self) -> Table:
        return self.query_one(Table)

    def row(self) -> dict[str, object] | None:
        """The row under the cursor."""
        if self.model is None or not len(self.model):
            return None
        return self.model.shown.row(self.table.cursor, named=True)

    def counted(self, unit: str) -> str:
        """Which row the cursor is on, how many there are and how many are marked."""
        assert self.model is not None
        shown, all_rows, marked = len(self.model), len(self.model.frame), len(self.table.marked)
        of = count(all_rows, unit) if shown == all_rows else f"{shown:,} of {all_rows:,} {unit}s"
        place = f"{self.table.cursor + 1:,}/{of}" if shown else of
        return place + (f" · {marked:,} marked" if marked else "")

    def copy(self, text: str) -> None:
        """Put a text on the clipboard and show it."""
        self.app.copy_to_clipboard(text)
        shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
        self.notify(shown, title="copied", timeout=8, markup=False)

    @on(Table.Moved)
    def _on_moved(self) -> None:
        self.show_row()

    # ---- keys

    def action_mark(self) -> None:
        self.table.toggle_mark()
        self.show_title()

    def action_filter(self) -> None:
        self.query_one(FilterBar).open()

    @on(FilterBar.Typed)
    def _on_typed(self, event: FilterBar.Typed) -> None:
        self.filter(event.text)
        self.table.renew()
        self.show_row()

    @on(FilterBar.Left)
    def _on_left(self) -> None:
        self.table.focus()

    def close_inner(self) -> bool:
        """Escape takes the filter away before it leaves the screen."""
        bar = self.query_one(FilterBar)
        if not bar.is_open:
            return False
        bar.action_leave()
        return True
