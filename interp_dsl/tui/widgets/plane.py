"""A plane in half-blocks: red, green and blue as far as the output is alike to those of the three
activations; letters of the nearest where there are no colours."""

from __future__ import annotations

from typing import ClassVar

from rich.color import Color
from rich.style import Style
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from interp_dsl.runs.planes import Picture, Pixel

UPPER = "▀"
HERE = "◆"


class PlaneChart(Widget, can_focus=True):
    """`cursor` (row from the bottom, column) is the point that is looked at. Posts `Moved` when a
    person goes to another."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "go(0, -1)", "Back", show=False),
        Binding("right", "go(0, 1)", "Along", show=False),
        Binding("up,k", "go(1, 0)", "Across", show=False),
        Binding("down,j", "go(-1, 0)", "Back across", show=False),
        Binding("home", "go(0, -100000)", "First column", show=False),
        Binding("end", "go(0, 100000)", "Last column", show=False),
    ]
    DEFAULT_CSS = """
    PlaneChart { width: 1fr; height: 1fr; min-height: 5; padding: 0 1; }
    """
    picture: reactive[Picture | None] = reactive(None)
    cursor: reactive[tuple[int, int]] = reactive((0, 0))

    class Moved(Message):
        """Another point is looked at."""

        def __init__(self, chart: PlaneChart) -> None:
            super().__init__()
            self.chart = chart

    @property
    def pixel(self) -> Pixel | None:
        row, column = self.cursor
        return None if self.picture is None else self.picture.pixels[row][column]

    def show(self, picture: Picture) -> None:
        """Show another picture; the cursor stays where it can."""
        row, column = self.cursor
        last = len(picture.across) - 1, len(picture.along) - 1
        self.picture, self.cursor = picture, (min(row, last[0]), min(column, last[1]))

    def render(self) -> Text:
        if self.picture is None:
            return Text("")
        size = self.content_size
        return drawn(self.picture, self.cursor, size.width, size.height, not self.app.no_color)

    def action_go(self, up: int, right: int) -> None:
        if self.picture is None:
            return
        row, column = self.cursor
        last = len(self.picture.across) - 1, len(self.picture.along) - 1
        to = max(0, min(row + up, last[0])), max(0, min(column + right, last[1]))
        if to != self.cursor:
            self.cursor = to
            self.post_message(self.Moved(self))


def drawn(
    picture: Picture, cursor: tuple[int, int], width: int, height: int, coloured: bool
) -> Text:
    """The picture as large as it fits, a point as high as it is wide, the first row at the
    bottom."""
    rows, columns = len(picture.across), len(picture.along)
    halves = 2 if coloured else 1
    side = min(width // (1 if coloured else 2), halves * height)
    if side < 2:
        return Text("")
    size = max(1, side // max(rows, columns))
    high, wide = min(side, rows * size), min(side, columns * size)
    down = [rows - 1 - y * rows // high for y in range(high)]
    right = [x * columns // wide for x in range(wide)]
    lines = []
    for top in range(0, high, halves):
        line = Text()
        for column in right:
            lower = down[min(top + halves - 1, high - 1)]
            line.append(*_cell(picture, (down[top], lower), column, cursor, coloured))
        lines.append(line)
    return Text("\n", no_wrap=True).join(lines)


def _cell(
    picture: Picture, rows: tuple[int, int], column: int, cursor: tuple[int, int], coloured: bool
) -> tuple[str, Style]:
    upper, lower = (picture.pixels[row][column] for row in rows)
    is_here = cursor in ((rows[0], column), (rows[1], column))
    if not coloured:
        return f"{HERE if is_here else upper.nearest} ", Style(bold=is_here)
    if not is_here:
        return UPPER, Style(color=_rich(upper), bgcolor=_rich(lower))
    light = sum(upper.colour) > 380
    return HERE, Style(color="black" if light else "white", bgcolor=_rich(upper))


def _rich(pixel: Pixel) -> Color:
    return Color.from_rgb(*pixel.colour)
