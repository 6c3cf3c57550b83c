"""Lines with bands in characters: braille for the lines, each with marks of its own, shade for the
band of the one that is looked at."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.color import Color
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from interp_dsl.runs.bands import Band, Bands
from interp_dsl.runs.cuts import Point
from interp_dsl.runs.text import decimals, number, printable
from interp_dsl.tui.widgets.scale import Scale, scale

MARKS = "●▲■◆○△□◇"
SHADE, HERE = "░", "│"
APART = 6
"""Characters between two marks of a line."""
DARK = ("#56b4e9", "#e69f00", "#2fc49a", "#d58bb5", "#f0e442", "#b0b8c4")
LIGHT = ("#0072b2", "#b34f00", "#00785a", "#a03c8f", "#7a5c00", "#444c5c")
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))

Floats = NDArray[np.float64]


def mark(line: int) -> str:
    """The mark of a line."""
    return MARKS[line % len(MARKS)]


def ink(line: int, colours: Scale, faint: bool = False) -> Style:
    """The colour of a line, on a dark ground or a light one."""
    if colours.is_plain:
        return Style()
    held = DARK if colours.ground.brightness < 0.5 else LIGHT
    colour = Color.parse(held[line % len(held)])
    return Style(color=(colours.ground.blend(colour, 0.45) if faint else colour).rich_color)


class BandChart(Widget, can_focus=True):
    """`chosen` is the line that is looked at, `at` the number of the x among all that there are.
    Posts `Moved` when a person goes to another x or line."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "go(-1, 0)", "Left", show=False),
        Binding("right", "go(1, 0)", "Right", show=False),
        Binding("home", "go(-100000, 0)", "First", show=False),
        Binding("end", "go(100000, 0)", "Last", show=False),
        Binding("up,k", "go(0, -1)", "Line before", show=False),
        Binding("down,j", "go(0, 1)", "Next line", show=False),
    ]
    DEFAULT_CSS = """
    BandChart { width: 1fr; height: 1fr; min-height: 5; }
    """
    bands: reactive[Bands | None] = reactive(None)
    chosen: reactive[int] = reactive(0)
    at: reactive[int] = reactive(0)

    class Moved(Message):
        """Another x or another line is looked at."""

        def __init__(self, chart: BandChart) -> None:
            super().__init__()
            self.chart = chart

    @property
    def x(self) -> float | None:
        """The x that is looked at."""
        xs = self.bands.xs if self.bands is not None else []
        return xs[min(self.at, len(xs) - 1)] if xs else None

    def render(self) -> Text:
        if self.bands is None:
            return Text("")
        size = self.content_size
        return drawn(self.bands, self.chosen, self.x, size.width, size.height, scale(self.app))

    def action_go(self, right: int, down: int) -> None:
        if self.bands is None or not self.bands.lines:
            return
        before = self.at, self.chosen
        self.at = max(0, min(self.at + right, len(self.bands.xs) - 1))
        self.chosen = max(0, min(self.chosen + down, len(self.bands.lines) - 1))
        if (self.at, self.chosen) != before:
            self.post_message(self.Moved(self))

    def on_click(self, event: events.Click) -> None:
        """Go to the x that is nearest to where the mouse is."""
        if self.bands is None or not self.bands.lines:
            return
        frame = Frame(self.bands, self.content_size.width, self.content_size.height)
        xs = self.bands.xs
        column = event.x - frame.margin
        nearest = min(range(len(xs)), key=lambda i: abs(frame.column(xs[i]) - column))
        self.action_go(nearest - self.at, 0)


@dataclass
class Frame:
    """Where points stand in `width` by `height` characters, of which the first line is a title, the
    last the axis."""

    bands: Bands
    width: int
    height: int
    margin: int = field(init=False)
    labels: tuple[str, str] = field(init=False)

    def __post_init__(self) -> None:
        points = [p for line in self.bands.lines for p in line.points]
        ys = [v for p in points for v in (p.y, p.low, p.high) if v is not None and self._holds(v)]
        ends = (min(ys), max(ys)) if ys else (0.0, 1.0)
        if not self.bands.log:
            ends = min(0.0, ends[0]), max(0.0, ends[1])
        self.low, self.high = self.scaled(ends[0]), self.scaled(ends[1])
        xs = [p.x for p in points] or [0.0]
        self.left, self.right = min(xs), max(xs)
        self.labels = self._said(ends[1], ends), self._said(ends[0], ends)
        self.margin = max(map(len, self.labels)) + 1
        self.columns, self.rows = max(4, self.width - self.margin), max(1, self.height - 2)

    def _holds(self, y: float) -> bool:
        return math.isfinite(y) and (y > 0 or not self.bands.log)

    def _said(self, value: float, ends: Sequence[float]) -> str:
        if self.bands.log:
            return f"{value:.2g}".replace("e-0", "e-").replace("e+0", "e")
        whole = all(float(v).is_integer() for v in ends)
        return f"{value:.0f}" if whole else number(value, min(3, decimals(ends)), signed=value < 0)

    def scaled(self, y: float) -> float:
        """y as it counts on the axis; what a logarithm has no place for stands at the bottom."""
        if not self.bands.log:
            return y
        return math.log10(y) if y > 0 else getattr(self, "low", 0.0)

    def column(self, x: float) -> float:
        """The column of an x, from 0."""
        span = self.right - self.left
        return (x - self.left) / span * (self.columns - 1) if span else 0.0

    def row(self, y: float | None) -> float:
        """The quarter of a line of a y, from the top."""
        span = self.high - self.low
        share = (self.scaled(y) - self.low) / span if y is not None and span else 0.0
        return (1 - share) * (4 * self.rows - 1)

    def path(self, points: Sequence[Point], ys: Sequence[float | None]) -> tuple[Floats, Floats]:
        """Columns and quarters of lines along points, at every half column."""
        places = [self.column(p.x) for p in points]
        halves = np.arange(round(2 * places[0]), round(2 * places[-1]) + 1, dtype=np.float64)
        return halves, np.interp(halves / 2, places, [self.row(y) for y in ys])


def drawn(
    bands: Bands, chosen: int, x: float | None, width: int, height: int, colours: Scale
) -> Text:
    """The chart in `height` lines: a title, the lines with the ends of their axes, the x that is
    looked at."""
    title = Text().append(printable(bands.y), colours.strong)
    title.append(f" by {printable(bands.x)}", colours.muted)
    if bands.band and bands.lines:
        name = printable(bands.lines[chosen].name) if len(bands.lines) > 1 else ""
        title.append(f"  {SHADE}{SHADE} {bands.band} {name and 'of ' + name}", colours.muted)
    title.truncate(width, overflow="ellipsis")
    if not any(line.points for line in bands.lines) or height < 4 or width < 12:
        return title
    frame = Frame(bands, width, height)
    cells = _Cells(frame, colours)
    cells.here(x)
    cells.band(bands.lines[chosen], chosen)
    for i, line in enumerate(bands.lines):
        if i != chosen:
            cells.line(line, i)
    cells.line(bands.lines[chosen], chosen, near=True)
    lines = [title, *cells.lines(), _axis(frame, x, colours)]
    return Text("\n", no_wrap=True).join(lines)


def _axis(frame: Frame, x: float | None, colours: Scale) -> Text:
    """The ends of the axis, and between them what is looked at."""
    said = [" "] * frame.columns
    looked = frame.left if x is None else x
    left, right, here = (f"{v:.4g}" for v in (frame.left, frame.right, looked))
    start = round(frame.column(looked)) - len(here) // 2
    start = max(0, min(start, frame.columns - len(here)))
    end = start + len(here)
    if start > len(left):
        said[: len(left)] = left
    if end < frame.columns - len(right):
        said[-len(right) :] = right
    said[start:end] = here
    text = Text(" " * frame.margin + "".join(said), colours.muted)
    text.stylize(colours.strong, frame.margin + start, frame.margin + end)
    return text


class _Cells:
    """The characters of a chart and their colours."""

    def __init__(self, frame: Frame, colours: Scale) -> None:
        self.frame, self.colours = frame, colours
        self.signs = [[" "] * frame.columns for _ in range(frame.rows)]
        self.styles = [[Style()] * frame.columns for _ in range(frame.rows)]
        self.dots = np.zeros((frame.rows, frame.columns), dtype=np.int64)

    def put(self, row: int, column: int, sign: str, style: Style) -> None:
        self.signs[row][column], self.styles[row][column] = sign, style

    def here(self, x: float | None) -> None:
        if x is not None:
            for row in range(self.frame.rows):
                self.put(row, round(self.frame.column(x)), HERE, self.colours.faint)

    def band(self, line: Band, number_: int) -> None:
        """Shade where a cell's middle is between the bounds."""
        held = [p for p in line.points if p.low is not None and p.high is not None]
        if len(held) < 2:
            return
        halves, low = self.frame.path(held, [p.low for p in held])
        high = self.frame.path(held, [p.high for p in held])[1]
        style = ink(number_, self.colours, faint=True)
        for half, below, above in zip(halves, low, high, strict=True):
            for row in range(self.frame.rows):
                if half % 2 == 0 and above - 0.5 <= 4 * row + 1.5 <= below + 0.5:
                    self.put(row, int(half) // 2, SHADE, style)

    def line(self, line: Band, number_: int, near: bool = False) -> None:
        """Dots along the line, and its marks."""
        if not line.points:
            return
        style = ink(number_, self.colours) + Style(bold=near)
        halves, quarters = self.frame.path(line.points, [p.y for p in line.points])
        before = round(float(quarters[0]))
        for half, quarter in zip(halves, quarters, strict=True):
            to = round(float(quarter))
            for place in range(min(before, to), max(before, to) + 1):
                self._dot(int(half), place, style)
            before = to
        for row, column in self._marked(line, number_):
            self.put(row, column, mark(number_), style)

    def _dot(self, half: int, quarter: int, style: Style) -> None:
        row, column = quarter // 4, half // 2
        if self.signs[row][column] in MARKS:
            return
        self.dots[row, column] |= _DOTS[half % 2][quarter % 4]
        self.put(row, column, chr(0x2800 + int(self.dots[row, column])), style)

    def _marked(self, line: Band, number_: int) -> Iterator[tuple[int, int]]:
        """The cells of a line's marks: at points some characters apart, not the same ones for all
        lines."""
        columns = [round(self.frame.column(p.x)) for p in line.points]
        last = -APART + (2 * number_) % APART
        for i, (column, point) in enumerate(zip(columns, line.points, strict=True)):
            if column - last >= APART or i == len(columns) - 1:
                last = column
                yield round(self.frame.row(point.y)) // 4, column

    def lines(self) -> Iterator[Text]:
        top, bottom = self.frame.labels
        for i, (signs, styles) in enumerate(zip(self.signs, self.styles, strict=True)):
            label = top if not i else bottom if i == self.frame.rows - 1 else ""
            text = Text(label.rjust(self.frame.margin - 1) + " ", self.colours.muted)
            for sign, style in zip(signs, styles, strict=True):
                text.append(sign, style)
            yield text
