"""Curves: how a metric goes along directions or on the way to another activation, with bands."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.widgets import Static

from interp_dsl.runs.bands import Band, Bands, named
from interp_dsl.runs.curve_rows import curve_columns, point_words
from interp_dsl.runs.events import Event
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.text import MISSING, Column, decimals, number, printable
from interp_dsl.tui.base import WIDTHS, RunScreen, is_news
from interp_dsl.tui.curved import Curved
from interp_dsl.tui.place import Place
from interp_dsl.tui.widgets.bands import BandChart, ink, mark
from interp_dsl.tui.widgets.flow import flow
from interp_dsl.tui.widgets.listing import Heading, Item, Listing
from interp_dsl.tui.widgets.scale import scale
from interp_dsl.tui.widgets.settings import Setting, Settings, turned

SPOT = "the next unit and position"
WHAT = "effect with its interval, median with quartiles, share of the way, ratio to the baseline"


class CurvesScreen(RunScreen):
    """The curves of a step at a place, and what each comes to."""

    HELP: ClassVar[str] = (
        "A line a direction, told apart by its marks; the shade is the band of the line that is "
        "looked at. Left and right go along the lengths, up and down from line to line; the table "
        "says what each comes to at that length and as a whole."
    )
    HORIZONTAL_BREAKPOINTS = WIDTHS
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right_square_bracket", "step(1)", "Step", key_display="[ ]"),
        Binding("left_square_bracket", "step(-1)", "Step before", show=False, key_display="["),
        Binding("full_stop", "metric(1)", "Metric", key_display=", ."),
        Binding("comma", "metric(-1)", "Metric before", show=False, key_display=","),
        Binding("right_curly_bracket", "spot(1)", "Place", key_display="{ }", tooltip=SPOT),
        Binding("left_curly_bracket", "spot(-1)", "Place before", show=False, key_display="{"),
        Binding("v", "quantity(1)", "Value", tooltip=WHAT),
        Binding("tab", "app.focus_next", "Chart, table", show=False),
    ]
    DEFAULT_CSS = """
    CurvesScreen #main { height: 1fr; layout: vertical; }
    CurvesScreen.-wide #main { layout: horizontal; }
    CurvesScreen BandChart { padding: 0 1; width: 1fr; height: 1fr; }
    CurvesScreen #side { height: auto; max-height: 9; padding: 0 1; }
    CurvesScreen.-wide #side { width: 64; height: 1fr; max-height: 100%;
                               border-left: solid $surface; }
    CurvesScreen #lines { height: auto; min-height: 3; max-height: 100%; }
    CurvesScreen #readout { height: 2; padding: 0 1; }
    CurvesScreen #nothing { height: 1fr; content-align: center middle; display: none; }
    CurvesScreen.empty #nothing { display: block; }
    CurvesScreen.empty #main, CurvesScreen.empty #readout { display: none; }
    """

    def __init__(self, folder: RunFolder) -> None:
        super().__init__(folder)
        self.curved = Curved(folder)

    def body(self) -> ComposeResult:
        yield Settings(id="settings")
        yield Static("no step has curves yet", id="nothing", markup=False)
        with Container(id="main"):
            yield BandChart(id="chart")
            with Vertical(id="side"):
                yield Listing(id_="lines", empty="no curves here")
        yield Static(id="readout", markup=False)

    @property
    def chart(self) -> BandChart:
        return self.query_one("#chart", BandChart)

    # ---- what is shown

    def on_run_events(self, events: list[Event]) -> None:
        if not is_news(events):
            return
        first = not self.curved.step
        is_new = self.curved.read()
        self.set_class(not self.curved.step, "empty")
        if not self.curved.step:
            return
        if not events:
            self._follow_place()
        if first or is_new or not events:
            self._show()
        if first:
            self.chart.at = len(self._bands.xs) // 2
            self.chart.focus()
            self._say()

    def _follow_place(self) -> None:
        """Go where another view has gone."""
        place = self.place
        if place.step in self.curved.steps:
            spot = (place.unit, place.position) if place.unit and place.position else None
            self.curved.choose(place.step, place.metric, spot=spot)

    @property
    def _bands(self) -> Bands:
        found = self.chart.bands
        return found if found is not None else self.curved.bands

    def _show(self) -> None:
        """Show the chosen picture; the cursor stays as far as it can."""
        chart, bands = self.chart, self.curved.bands
        chart.bands = bands
        chart.chosen = max(0, min(chart.chosen, len(bands.lines) - 1))
        chart.at = max(0, min(chart.at, len(bands.xs) - 1))
        self._show_settings()
        self._show_lines()
        self._say()

    def _show_settings(self) -> None:
        held = self.curved
        spots = [named(spot) for spot in held.spots]
        lists = [
            ("[ ]", "step", held.steps, held.step, "step(1)"),
            (", .", "metric", held.metrics, held.metric, "metric(1)"),
            ("{ }", "at", spots, named(held.spot) if held.spot else "", "spot(1)"),
            ("v", "value", held.quantities, held.quantity, "quantity(1)"),
        ]
        self.query_one(Settings).settings = tuple(
            Setting(key, name, now, values.index(now), len(values), action)
            for key, name, values, now, action in lists
            if now in values
        )

    def _show_lines(self) -> None:
        """The table: each line's mark and name, its value at the length, what it comes to."""
        bands, colours = self._bands, scale(self.app)
        whole = whole_columns(bands)
        points = [v for line in bands.lines for v in (p.y for p in line.points)]
        places = min(3, decimals(points)) if decimals(points) > 0 else decimals(points)
        widths = [max(map(len, (c.name, *c.cells))) for c in whole]
        values = [self._value(line, places) for line in bands.lines]
        wide = max([len(bands.y), *map(len, values)])
        headings = [Heading("", 1, toned=True), Heading("", 0), Heading(bands.y, wide, True)]
        headings += [Heading(c.name, w, True) for c, w in zip(whole, widths, strict=True)]

        def item(row: int) -> Item:
            line = bands.lines[row]
            said = (mark(row), line.name or bands.title, self._value(line, places))
            return Item((*said, *(c.cells[row] for c in whole)), ink=ink(row, colours))

        self.query_one("#lines", Listing).show(headings, len(bands.lines), item, self.chart.chosen)

    def _value(self, line: Band, places: int) -> str:
        """A line's value at the x that is looked at."""
        at = self._point(line)
        return MISSING if at is None else number(line.points[at].y, places, signed=False)

    def _point(self, line: Band) -> int | None:
        x = self.chart.x
        return next((i for i, p in enumerate(line.points) if p.x == x), None)

    def _say(self) -> None:
        """All numbers of the line that is looked at, at the length, in words."""
        bands, colours = self._bands, scale(self.app)
        if not bands.lines:
            return
        line = bands.lines[self.chart.chosen]
        at = self._point(line)
        said = [(line.name or bands.title, "")]
        said += [("", "not measured here")] if at is None else point_words(line.rows[at])
        parts = []
        for n, (name, value) in enumerate(said):
            part = Text().append(printable(name), colours.muted if n else colours.strong)
            parts.append(part.append(f" {value}" if name and value else value))
        self.query_one("#readout", Static).update(flow(parts, self.size.width - 2))
        held = self.curved
        if held.spot is not None:
            self.place = Place(held.step, held.metric, *held.spot)

    # ---- one cursor for both

    @on(BandChart.Moved)
    def _chart_moved(self) -> None:
        lines = self.query_one("#lines", Listing)
        lines.forget()
        lines.go(self.chart.chosen)
        self._say()

    @on(Listing.Moved, "#lines")
    def _line_moved(self, message: Listing.Moved) -> None:
        self.chart.chosen = message.row
        self._say()

    def on_resize(self) -> None:
        if self.curved.step:
            self.call_after_refresh(self._say)

    # ---- choosing

    def action_step(self, by: int) -> None:
        if self.curved.step:
            self.curved.choose(step=turned(self.curved.steps, self.curved.step, by))
            self._show()

    def action_metric(self, by: int) -> None:
        if self.curved.step:
            self.curved.choose(metric=turned(self.curved.metrics, self.curved.metric, by))
            self._show()

    def action_spot(self, by: int) -> None:
        held = self.curved
        if held.spot is not None:
            spots = held.spots
            held.choose(spot=spots[(spots.index(held.spot) + by) % len(spots)])
            self._show()

    def action_quantity(self, by: int) -> None:
        if self.curved.step:
            self.curved.choose(quantity=turned(self.curved.quantities, self.curved.quantity, by))
            self._show()

    def export(self) -> Path | None:
        """The rows of the picture, as CSV."""
        import polars as pl

        rows = [row for line in self._bands.lines for row in (*line.whole, *line.rows)]
        if not rows:
            return None
        path = self.export_path(f"-{self.curved.step}.csv")
        pl.DataFrame(rows, schema=self.curved.table.schema).write_csv(path)
        return path


def whole_columns(bands: Bands) -> list[Column]:
    """What each line comes to as a whole: one row a line, a threshold a column."""
    import polars as pl

    thresholds = sorted(
        {r["threshold"] for b in bands.lines for r in b.whole if r.get("threshold") is not None}
    )
    found: list[Column] = []
    for threshold in thresholds or [None]:
        rows = [
            next((r for r in b.whole if r.get("threshold") == threshold), None) for b in bands.lines
        ]
        if all(row is None for row in rows):
            return found
        schema = next(iter(row for row in rows if row is not None)).keys()
        held = [row if row is not None else dict.fromkeys(schema) for row in rows]
        made = curve_columns(pl.DataFrame(held, infer_schema_length=None))
        wanted = ("reached",) if threshold is not None else WHOLE
        for column in (c for c in made if c.name in wanted):
            name = f"reached {threshold:g}" if threshold is not None else column.name
            found.append(Column(name, column.cells, right=True))
    return found


WHOLE = ("slope", "location", "width", "plateau", "jumps", "flips")
"""Columns of a whole curve that the table shows."""
