"""Maps: the scores of a step as a grid, the same rows ranked beside it, one cursor for both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.timer import Timer
from textual.widgets import Static

from interp_dsl.runs.events import Event
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.grids import Grid, Ints
from interp_dsl.runs.text import MISSING, decimals, number, printable
from interp_dsl.tui.atlas import Atlas
from interp_dsl.tui.base import NEWS, PATIENCE, RunScreen
from interp_dsl.tui.examples import show_examples
from interp_dsl.tui.widgets.cells import bar
from interp_dsl.tui.widgets.flow import flow
from interp_dsl.tui.widgets.heatmap import HeatMap
from interp_dsl.tui.widgets.listing import Heading, Item, Listing
from interp_dsl.tui.widgets.scale import legend, scale
from interp_dsl.tui.widgets.settings import Setting, Settings, turned

BAR, WIDE = 13, 44
"""Characters of a bar, and how wide the table must be to hold one."""


class MapsScreen(RunScreen):
    """A heat map and its ranked rows."""

    HELP = (
        "Each cell is one unit: its colour is the size of the effect, + and − its sign. The table "
        "ranks the same cells; what is chosen in one is chosen in the other. Of a running step the "
        "cells fill as its shards finish."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right_square_bracket", "step(1)", "Step", key_display="[ ]"),
        Binding("left_square_bracket", "step(-1)", "Step before", show=False, key_display="["),
        Binding("full_stop", "metric(1)", "Metric", show=False, key_display=", ."),
        Binding("comma", "metric(-1)", "Metric before", show=False, key_display=","),
        Binding("v", "column(1)", "Value: effect, normalized, value", show=False),
        Binding("f", "picture(1)", "Picture", tooltip="other axes, another position"),
        Binding("F", "picture(-1)", "Picture before", show=False, key_display="F"),
        Binding("enter", "examples", "Examples", key_display="enter"),
        Binding("tab", "app.focus_next", "Map/table", show=False),
    ]
    DEFAULT_CSS = """
    MapsScreen #maps { height: 1fr; }
    MapsScreen #map { width: 3fr; padding: 0 1; }
    MapsScreen #ranked { width: 2fr; max-width: 50; min-width: 26; border-left: solid $surface; }
    MapsScreen #readout { height: 2; padding: 0 1; }
    MapsScreen #legend { height: 1; padding: 0 1; }
    MapsScreen #nothing { height: 1fr; content-align: center middle; display: none; }
    MapsScreen.empty #nothing { display: block; }
    MapsScreen.empty #maps, MapsScreen.empty #readout, MapsScreen.empty #legend { display: none; }
    """

    def __init__(self, folder: RunFolder) -> None:
        super().__init__(folder)
        self.atlas = Atlas(folder)
        self._order: Ints = np.zeros((0, 2), dtype=np.int64)
        self._rank: Ints = np.zeros((0, 0), dtype=np.int64)
        self._renewal: Timer | None = None

    def body(self) -> ComposeResult:
        yield Settings(id="settings")
        yield Static("no step has scores that make a picture yet", id="nothing", markup=False)
        with Horizontal(id="maps"):
            yield HeatMap(id_="map")
            with Vertical(id="ranked"):
                yield Listing(id_="rows")
        yield Static(id="readout", markup=False)
        yield Static(id="legend", markup=False)

    # ---- what is shown

    @property
    def map(self) -> HeatMap:
        return self.query_one("#map", HeatMap)

    @property
    def rows(self) -> Listing:
        return self.query_one("#rows", Listing)

    def on_run_events(self, events: list[Event]) -> None:
        if not events or not self.atlas.step:
            self.renew(goes_to_place=not events)
        elif self._renewal is None and any(e["event"] in NEWS for e in events):
            self._renewal = self.set_timer(PATIENCE, self.renew)

    def renew(self, goes_to_place: bool = False) -> None:
        """Read what has been finished since, and show it; the cursor stays on its cell, or goes to
        the place that another view looks at."""
        self._renewal = None
        first, cell = not self.atlas.step, self.map.cursor
        new = self.atlas.read()
        self.set_class(not self.atlas.step, "empty")
        if not self.atlas.step:
            return
        found = self.atlas.find(self.place) if goes_to_place else None
        if first or found is not None or self.atlas.step in new:
            self._show(found if first or found else cell)
        elif new and self.atlas.grid is not None:
            self._say_settings(self.atlas.grid)
        if first:
            self.map.focus()

    def on_resize(self) -> None:
        if self.atlas.step:
            self.call_after_refresh(self._rank_rows)

    def _show(self, cell: tuple[int, int] | None = None) -> None:
        """Show the chosen picture, the cursor in `cell` or on the largest value."""
        grid = self.atlas.grid
        if grid is None:
            return
        self._order = grid.ranked()
        self._rank = np.full(grid.shape, -1, dtype=np.int64)
        self._rank[tuple(self._order.T)] = np.arange(len(self._order))
        self.map.show(grid)
        first = (int(self._order[0, 0]), int(self._order[0, 1])) if len(self._order) else (0, 0)
        self.map.cursor = cell or first
        self._rank_rows()
        self._say_settings(grid)
        self._say_cell()

    def _say_settings(self, grid: Grid) -> None:
        held = self.atlas
        titles = [g.title for g in held.grids]
        lists = [
            ("[ ]", "step", held.steps, held.step, "step(1)"),
            (", .", "metric", held.metrics, held.metric, "metric(1)"),
            ("v", "value", held.columns, held.column, "column(1)"),
        ]
        said = [
            Setting(key, name, now, values.index(now), len(values), action)
            for key, name, values, now, action in lists
            if now
        ]
        said[0] = replace(said[0], value=held.step + held.so_far(held.step))
        said.append(Setting("f", "", grid.title, held.at, len(titles), "picture(1)"))
        self.query_one(Settings).settings = tuple(said)
        what = " of ".join(filter(None, (held.column, printable(held.metric))))
        what += "; blank: not yet" if held.so_far(held.step) else ""
        text = legend(scale(self.app), grid.limit, what, self.size.width - 2)
        self.query_one("#legend", Static).update(text)

    def _rank_rows(self) -> None:
        """The table beside the map; bars where it is wide enough."""
        grid = self.atlas.grid
        if grid is None:
            return
        places, limit = decimals([grid.limit]), grid.limit
        wide = self.rows.size.width >= WIDE
        width = max(len(number(-limit, places)), len(self.atlas.column))
        headings = [Heading("unit", 0), Heading(self.atlas.column, width, True, True)]
        headings += [Heading("", BAR, toned=True)] if wide else []

        def item(rank: int) -> Item:
            row, column = self._order[rank].tolist()
            value = float(grid.values[row, column])
            said = [self.atlas.name(grid.at((row, column)) or 0), number(value, places)]
            said += [bar(value, limit, BAR // 2)] if wide else []
            return Item(tuple(said), float(said[1]) if said[1] != MISSING else None)

        here = max(0, int(self._rank[self.map.cursor]))
        self.rows.show(headings, len(self._order), item, here)

    def _say_cell(self) -> None:
        """The cell under the cursor in words, and to the other views."""
        grid, colours = self.atlas.grid, scale(self.app)
        if grid is None:
            return
        cell = self.map.cursor
        row = grid.at(cell)
        if row is None:
            at = f"{grid.row_names[cell[0]]} {grid.column_names[cell[1]]}"
            said = [(printable(at), "not measured")]
        else:
            said = [(printable(self.atlas.name(row)), ""), *self.atlas.facts(row)]
        parts = []
        for n, (name, value) in enumerate(said):
            part = Text().append(name, colours.muted if n else colours.strong)
            part.append(f" {value}" if name and value else value, colours.strong if n == 1 else "")
            parts.append(part)
        self.query_one("#readout", Static).update(flow(parts, self.size.width - 2))
        self.place = self.atlas.place(cell)

    # ---- one cursor for both

    @on(HeatMap.Moved, "#map")
    def _cell_moved(self) -> None:
        rank = int(self._rank[self.map.cursor])
        if rank >= 0:
            self.rows.go(rank)
        self._say_cell()

    @on(Listing.Moved, "#rows")
    def _row_moved(self, message: Listing.Moved) -> None:
        row, column = self._order[message.row].tolist()
        self.map.cursor = row, column

    # ---- choosing

    def action_step(self, by: int) -> None:
        if self.atlas.step:
            held = self.atlas
            held.choose(step=turned(held.steps, held.step, by), at=0)
            self._show(self.atlas.find(replace(self.place, step=self.atlas.step)))

    def action_metric(self, by: int) -> None:
        if self.atlas.step:
            self.atlas.choose(metric=turned(self.atlas.metrics, self.atlas.metric, by))
            self._show(self.map.cursor)

    def action_column(self, by: int) -> None:
        if self.atlas.step:
            self.atlas.choose(column=turned(self.atlas.columns, self.atlas.column, by))
            self._show(self.map.cursor)

    def action_picture(self, by: int) -> None:
        if self.atlas.step:
            self.atlas.choose(at=self.atlas.at + by)
            self._show()

    @on(Listing.Chosen, "#rows")
    def action_examples(self) -> None:
        """The single examples behind the cell under the cursor."""
        grid, step = self.atlas.grid, self.atlas.step
        row = grid.at(self.map.cursor) if grid else None
        if row is None or "unit" not in self.atlas.table.columns:
            self.notify("there are no examples behind this", severity="warning")
        elif self.atlas.so_far(step):
            self.notify("its examples can be seen when the step has ended", severity="warning")
        else:
            show_examples(self, step, row)

    def export(self) -> Path | None:
        """The rows of the picture, ranked, as CSV."""
        grid = self.atlas.grid
        if grid is None:
            return None
        path = self.export_path(".csv")
        rows = [
            row for cell in self._order.tolist() if (row := grid.at((cell[0], cell[1]))) is not None
        ]
        self.atlas.table[rows].write_csv(path)
        return path
