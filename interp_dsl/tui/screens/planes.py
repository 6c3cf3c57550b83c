"""Planes: what a model makes of the points of a plane through three activations."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from interp_dsl.runs.events import Event
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.planes import CORNERS, Picture, pictures, plane_tables
from interp_dsl.runs.text import share
from interp_dsl.tui.base import RunScreen, is_news
from interp_dsl.tui.place import Place
from interp_dsl.tui.widgets.flow import flow
from interp_dsl.tui.widgets.plane import PlaneChart
from interp_dsl.tui.widgets.scale import scale
from interp_dsl.tui.widgets.settings import Setting, Settings, turned
from interp_dsl.tui.widgets.tokens import visible

SAID = 4
"""Tokens that are told of a whole plane."""


class PlanesScreen(RunScreen):
    """The pictures of a step of `interpolate … using slice=N`."""

    HELP: ClassVar[str] = (
        "The plane goes through the activation as it is (a, at 0, 0), what its path leads to (b, "
        "at 1, 0) and that of a further prompt (c, at height 1). Red, green and blue say how alike "
        "the model's output is to what it makes of a, b and c; letters say the nearest where there "
        "are no colours."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right_square_bracket", "step(1)", "Step", key_display="[ ]"),
        Binding("left_square_bracket", "step(-1)", "Step before", show=False, key_display="["),
        Binding("right_curly_bracket", "turn(1)", "Plane", key_display="{ }"),
        Binding("left_curly_bracket", "turn(-1)", "Plane before", show=False, key_display="{"),
    ]
    DEFAULT_CSS = """
    PlanesScreen #readout { height: 3; padding: 0 1; }
    PlanesScreen #nothing { height: 1fr; content-align: center middle; display: none; }
    PlanesScreen.empty #nothing { display: block; }
    PlanesScreen.empty PlaneChart, PlanesScreen.empty #readout { display: none; }
    """

    def __init__(self, folder: RunFolder) -> None:
        super().__init__(folder)
        self.steps: list[str] = []
        self.step, self.at = "", 0
        self.pictures: list[Picture] = []

    def body(self) -> ComposeResult:
        yield Settings(id="settings")
        yield Static("no step has drawn a plane yet", id="nothing", markup=False)
        yield PlaneChart(id="chart")
        yield Static(id="readout", markup=False)

    @property
    def chart(self) -> PlaneChart:
        return self.query_one("#chart", PlaneChart)

    # ---- what is shown

    def on_run_events(self, events: list[Event]) -> None:
        if not is_news(events):
            return
        first = not self.step
        self.steps = [name.removesuffix(".planes") for name in plane_tables(self.folder)]
        self.set_class(not self.steps, "empty")
        if not self.steps:
            return
        wanted = self.place.step if self.place.step in self.steps and not events else self.step
        if first or wanted != self.step:
            self._choose(wanted or self.steps[0])
        if first:
            middle = self.pictures[0]
            self.chart.cursor = len(middle.across) // 2, len(middle.along) // 2
            self.chart.focus()
        self._show()

    def _choose(self, step: str) -> None:
        self.step, self.at = step, 0
        self.pictures = pictures(self.folder.read_table(f"{step}.planes"))

    def _show(self) -> None:
        self.chart.show(self.pictures[self.at])
        titles = [picture.title for picture in self.pictures]
        lists = [
            ("[ ]", "step", self.steps, self.steps.index(self.step), "step(1)"),
            ("{ }", "at", titles, self.at, "turn(1)"),
        ]
        self.query_one(Settings).settings = tuple(
            Setting(key, name, values[at], at, len(values), action)
            for key, name, values, at, action in lists
        )
        self._say()
        self.place = Place(self.step)

    def _say(self) -> None:
        """The point that is looked at, then the plane as a whole."""
        pixel, colours, picture = self.chart.pixel, scale(self.app), self.pictures[self.at]
        if pixel is None:
            return
        row, column = self.chart.cursor
        there = f"along {picture.along[column]:.2f}, across {picture.across[row]:.2f}"
        parts = [Text(there, colours.strong)]
        alike = " ".join(f"{n} {x:.2f}" for n, x in zip(CORNERS, pixel.alike, strict=True))
        parts += [Text(f"alike to {alike}"), Text(f"nearest {pixel.nearest}")]
        parts += [Text(f"next {visible(pixel.token)}"), Text("of the plane:", colours.muted)]
        parts += [Text(f"{visible(t)} {share(s)}", colours.muted) for t, s in picture.tokens[:SAID]]
        self.query_one("#readout", Static).update(flow(parts, self.size.width - 2))

    @on(PlaneChart.Moved)
    def _moved(self) -> None:
        self._say()

    def on_resize(self) -> None:
        if self.step:
            self.call_after_refresh(self._say)

    # ---- choosing

    def action_step(self, by: int) -> None:
        if self.step:
            self._choose(turned(self.steps, self.step, by))
            self._show()

    def action_turn(self, by: int) -> None:
        if self.step:
            self.at = (self.at + by) % len(self.pictures)
            self._show()

    def export(self) -> Path | None:
        """The points of the step's planes, as CSV."""
        if not self.step:
            return None
        path = self.export_path(f"-{self.step}.csv")
        self.folder.read_table(f"{self.step}.planes").write_csv(path)
        return path
