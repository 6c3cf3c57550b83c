"""A head's attention on a prompt: the pattern as a map, or how to record it."""

from __future__ import annotations

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from interp_dsl.runs.grids import Grid
from interp_dsl.runs.text import printable
from interp_dsl.tui.widgets.heatmap import HeatMap
from interp_dsl.tui.widgets.scale import scale
from interp_dsl.tui.widgets.tokens import visible


class Attention(Vertical):
    """Query rows × key columns on a scale from 0 to 1, and in words what the cell under the cursor
    says."""

    DEFAULT_CSS = """
    Attention { width: 1fr; padding: 0 1; }
    Attention .said { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    Attention .absent { height: auto; display: none; padding: 1 0; }
    Attention.none HeatMap { display: none; }
    Attention.none .absent { display: block; }
    """

    def compose(self) -> ComposeResult:
        yield Static(classes="said", markup=False)
        yield HeatMap()
        yield Static(classes="absent", markup=False)

    @property
    def map(self) -> HeatMap:
        return self.query_one(HeatMap)

    def show(self, grid: Grid, title: str, query: int) -> None:
        """Show a pattern; the cursor on a query and the key that it attends to most."""
        self.remove_class("none")
        self._title = title
        names = tuple(map(visible, grid.row_names)), tuple(map(visible, grid.column_names))
        shown = Grid(grid.name, grid.facet, *names, grid.rows, grid.values)
        self.map.show(shown, limit=1.0, signed=False)
        row = min(query, grid.shape[0] - 1)
        self.map.cursor = row, int(grid.values[row].argmax()) if grid.values.size else 0
        self._say()

    def lack(self, title: str, remedy: str) -> None:
        """Say that there is no pattern, and the line that would record one."""
        self.add_class("none")
        colours = scale(self.app)
        self.query_one(".said", Static).update(Text(title, colours.strong))
        text = Text("was not recorded. Add to the experiment:\n\n", colours.muted)
        self.query_one(".absent", Static).update(text.append(remedy, colours.strong))

    @on(HeatMap.Moved)
    def _say(self) -> None:
        colours, grid = scale(self.app), self.map.grid
        if grid is None or self.has_class("none"):
            return
        row, column = self.map.cursor
        text = Text().append(printable(self._title), colours.strong)
        if grid.values.size:
            names = printable(grid.row_names[row]), printable(grid.column_names[column])
            text.append(f"  {names[0]} → {names[1]} ", colours.muted)
            text.append(f"{grid.values[row, column]:.3f}", colours.strong)
        self.query_one(".said", Static).update(text)
