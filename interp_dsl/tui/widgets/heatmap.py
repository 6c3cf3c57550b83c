"""A grid of numbers as one widget: cells coloured around zero, a cursor, the names of rows and
columns at the edges, which stay while the cells scroll."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from interp_dsl.language.cells import cells
from interp_dsl.runs.grids import Grid
from interp_dsl.runs.text import decimals, number, printable
from interp_dsl.tui.widgets.fit import Fit, fit
from interp_dsl.tui.widgets.scale import (
    CURSOR,
    NO_VALUE,
    Levels,
    Scale,
    glyph,
    levels,
    scale,
    sign,
)

NAMES = 14
"""The most characters that the names of rows take."""


class HeatMap(ScrollView, can_focus=True):
    """`grid` is what is shown; `cursor` (row, column) the cell that is looked at. Posts
    `Moved` when the cursor goes to another cell."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1, 0)", "Up", show=False),
        Binding("down,j", "move(1, 0)", "Down", show=False),
        Binding("left", "move(0, -1)", "Left", show=False),
        Binding("right", "move(0, 1)", "Right", show=False),
        Binding("home", "move(0, -100000)", "First column", show=False),
        Binding("end", "move(0, 100000)", "Last column", show=False),
        Binding("pageup", "move(-10, 0)", "Ten up", show=False),
        Binding("pagedown", "move(10, 0)", "Ten down", show=False),
    ]
    DEFAULT_CSS = """
    HeatMap { width: 1fr; height: 1fr; scrollbar-size-vertical: 1; }
    """

    cursor: reactive[tuple[int, int]] = reactive((0, 0))

    class Moved(Message):
        """The cursor stands on another cell."""

        def __init__(self, heatmap: HeatMap, cell: tuple[int, int]) -> None:
            super().__init__()
            self.heatmap, self.cell = heatmap, cell

        @property
        def control(self) -> HeatMap:
            return self.heatmap

    def __init__(self, id_: str | None = None) -> None:
        super().__init__(id=id_)
        self.grid: Grid | None = None
        self._levels: Levels = np.zeros((0, 0), dtype=np.int16)
        self._fit, self._margin, self._places = Fit("signs", 3), 0, 3
        self._signed = True
        self._row_names: list[str] = []
        self._column_names: list[str] = []

    # ---- what is shown

    def show(self, grid: Grid, limit: float | None = None, signed: bool = True) -> None:
        """Show another grid; the cursor stays where it can. `limit`: the end of the scale, the
        grid's own largest value when left out. `signed`: False for what is never below 0, whose
        cells are colour alone."""
        self.grid, self._signed = grid, signed
        self._levels = levels(grid.values, grid.limit if limit is None else limit)
        self._places = decimals([grid.limit])
        self._row_names = [printable(name) for name in grid.row_names]
        self._column_names = [printable(name) for name in grid.column_names]
        rows, columns = grid.shape
        here = self.cursor
        self.cursor = (max(0, min(here[0], rows - 1)), max(0, min(here[1], columns - 1)))
        self._arrange()

    @property
    def colours(self) -> Scale:
        """The scale in the theme's colours."""
        return scale(self.app)

    @property
    def fitted(self) -> Fit:
        """How the cells are drawn now."""
        return self._fit

    def on_resize(self) -> None:
        self._arrange()

    def _arrange(self) -> None:
        if self.grid is None or not self.is_attached:
            return
        widest = max(map(cells, self._row_names), default=0)
        self._margin = min(NAMES, widest) + 1
        size = self.container_size if not self.size.width else self.scrollable_content_region.size
        room = max(1, size.height - 1), max(1, size.width - self._margin)
        wide = len(self._said(-self.grid.limit)) if self._signed else 0
        self._fit = fit(self.grid.shape, room, wide, not self.app.no_color)
        rows, columns = self.grid.shape
        lines = self._fit.lines(rows) + 1
        self.virtual_size = Size(self._margin + columns * self._fit.width, lines)
        self.refresh()
        self.call_after_refresh(lambda: self._reveal(self.cursor))

    def _said(self, value: float) -> str:
        return number(value, self._places) if np.isfinite(value) else ""

    # ---- the cursor

    def action_move(self, down: int, across: int) -> None:
        if self.grid is None or not self.grid.values.size:
            return
        rows, columns = self.grid.shape
        row, column = self.cursor
        self.cursor = (
            max(0, min(rows - 1, row + down)),
            max(0, min(columns - 1, column + across)),
        )

    def watch_cursor(self, old: tuple[int, int], new: tuple[int, int]) -> None:
        if old == new or not self.is_attached:
            return
        self._reveal(new)
        self.refresh()
        self.post_message(self.Moved(self, new))

    def _reveal(self, cell: tuple[int, int]) -> None:
        """Scroll so that the cell can be seen beside the names."""
        row, column = cell
        line = row // 2 if self._fit.inside == "half" else row * self._fit.height
        size = self.scrollable_content_region.size
        left, width = column * self._fit.width, self._fit.width
        x, y = self.scroll_offset
        room, lines = size.width - self._margin, size.height - 1
        x = min(max(x, left + width - room), left)
        y = min(max(y, line + self._fit.height - lines), line)
        self.scroll_to(x, y, animate=False)

    def cell_at(self, x: int, y: int) -> tuple[int, int] | None:
        """The cell at a place of the widget, None for names and beyond."""
        if self.grid is None or y < 1 or x < self._margin:
            return None
        line, rows = y - 1 + self.scroll_offset.y, self.grid.shape[0]
        row = line * 2 if self._fit.inside == "half" else line // self._fit.height
        column = (x - self._margin + self.scroll_offset.x) // self._fit.width
        if row >= rows or column >= self.grid.shape[1]:
            return None
        at = self.cursor
        if self._fit.inside == "half" and (row, column) == at and row + 1 < rows:
            row += 1  # a second click on a line of two rows goes to the lower one
        return row, column

    def on_click(self, event: events.Click) -> None:
        cell = self.cell_at(event.x, event.y)
        if cell is not None:
            self.cursor = cell

    # ---- lines

    def render_line(self, y: int) -> Strip:
        if self.grid is None or not self.grid.values.size:
            return Strip.blank(self.size.width, self.rich_style)
        if y == 0:
            return self._line("", Style(), self._heading())
        line = y - 1 + self.scroll_offset.y
        if line >= self._fit.lines(self.grid.shape[0]):
            return Strip.blank(self.size.width, self.rich_style)
        return self._line(*self._name_of(line), self._cells_of(line))

    @property
    def _in_sight(self) -> tuple[int, int]:
        """The first column that can be seen, and the one after the last."""
        width, x = self._fit.width, self.scroll_offset.x
        last = (x + self.size.width - self._margin) // width + 1
        return x // width, min(len(self._column_names), last)

    def _line(self, name: str, style: Style, body: list[Segment]) -> Strip:
        """A name and the columns in sight."""
        label = Strip([Segment(name, style)], cells(name)).adjust_cell_length(self._margin)
        room, cut = self.size.width - self._margin, self.scroll_offset.x % self._fit.width
        shown = Strip(body).crop(cut, cut + room).extend_cell_length(room)
        return Strip.join([label, shown]).apply_style(self.rich_style)

    def _name_of(self, line: int) -> tuple[str, Style]:
        """The name beside a line; of two rows in a line, that of the cursor or of the upper one."""
        row = line // self._fit.height
        if self._fit.inside == "half":
            row = 2 * line + (self.cursor[0] == 2 * line + 1)
        elif line % self._fit.height != self._fit.height // 2:
            return "", Style()
        here = row == self.cursor[0]
        return _short(self._row_names[row], self._margin - 1), self._edge(here)

    def _edge(self, here: bool) -> Style:
        return self.colours.strong if here else self.colours.muted

    def _heading(self) -> list[Segment]:
        """The names of the columns in sight: all where they fit, else as many as stand apart, and
        the cursor's own always."""
        (first, last), width = self._in_sight, self._fit.width
        total, here = (last - first) * width, self.cursor[1]
        text, free = [" "] * total, [True] * total
        cut = self.scroll_offset.x % width
        seen = min(total, cut + self.scrollable_content_region.width - self._margin)
        marked = 0, 0
        for column in [here] * (first <= here < last) + list(range(first, last)):
            name = self._column_names[column] or " "
            size = cells(name)
            start = (column - first) * width + max(0, (width - size) // 2)
            start = max(0, min(start, seen - size))
            end = start + size
            if end > total or not all(free[max(0, start - 1) : end + 1]):
                continue
            text[start:end] = [name, *[""] * (size - 1)]
            free[start:end] = [False] * size
            if column == here:
                marked = start, end
        parts = (text[: marked[0]], text[slice(*marked)], text[marked[1] :])
        styles = (self.colours.muted, self._edge(True), self.colours.muted)
        return [Segment("".join(p), s) for p, s in zip(parts, styles, strict=True) if p]

    def _cells_of(self, line: int) -> list[Segment]:
        if self._fit.inside == "half":
            return list(self._halves(line))
        row, inner = divmod(line, self._fit.height)
        middle = inner == self._fit.height // 2
        return list(self._whole(row, middle))

    def _whole(self, row: int, middle: bool) -> Iterator[Segment]:
        """A row of cells, their text on the middle line."""
        assert self.grid is not None
        colours, width = self.colours, self._fit.width
        first, last = self._in_sight
        found = self._levels[row, first:last].tolist()
        values = self.grid.values[row, first:last].tolist()
        here = self.cursor[1] - first if self.cursor[0] == row else -1
        blank, filled = " " * width, dict[int, str]()
        for column, level in enumerate(found):
            if self._fit.inside == "numbers":
                text = self._said(values[column]).center(width) if middle else blank
            else:
                text = filled.get(level) or filled.setdefault(level, self._sign(level, middle))
            if column != here:
                yield Segment(text, colours.cells[level])
            else:
                yield from self._framed(text, level)

    def _framed(self, text: str, level: int) -> Iterator[Segment]:
        """A cell under the cursor: between two bars in its own colour, or inverse where it has no
        room for them."""
        if len(text) < 3:
            yield Segment(text, self.colours.cursors[level])
            return
        style = self.colours.cells[level]
        edge = style + Style(color=self.colours.ink.rich_color)
        yield Segment("▌", edge)
        yield Segment(text[1:-1], style + Style(bold=True))
        yield Segment("▐", edge)

    def _sign(self, level: int, middle: bool) -> str:
        width = self._fit.width
        if not middle or not (self._signed or self.colours.is_plain):
            return " " * width
        if self.colours.is_plain:
            has_sign = self._signed and width > 2 and level
            shown = sign(level) + glyph(level) if has_sign else glyph(level)
            return shown.center(width) if width > 2 else shown * width
        return sign(level).center(width)

    def _halves(self, line: int) -> Iterator[Segment]:
        """Two rows of cells as the halves of a line."""
        (first, last), pair = self._in_sight, self.colours.pair
        shown = self._levels[2 * line : 2 * line + 2].copy()
        if self.cursor[0] // 2 == line:
            shown[self.cursor[0] % 2, self.cursor[1]] = CURSOR
        upper = shown[0, first:last].tolist()
        lower = shown[1, first:last].tolist() if len(shown) > 1 else [NO_VALUE] * len(upper)
        text = "▀" * self._fit.width
        for levels_ in zip(upper, lower, strict=True):
            yield Segment(text, pair(*levels_))


def _short(name: str, width: int) -> str:
    return name if cells(name) <= width else name[: max(0, width - 1)] + "…"
