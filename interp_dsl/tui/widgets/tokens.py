"""Two prompts one under the other, token by token: labels above, a mark where they differ, effects
as colour and as numbers below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from interp_dsl.runs.prompts import Prompt, aligned, differs
from interp_dsl.runs.text import decimals, number, printable
from interp_dsl.tui.widgets.scale import Scale, levels, scale

Column = tuple[int | None, int | None]
SAME, OTHER, GAP = " ", "≠", "∅"


@dataclass(frozen=True)
class Rows:
    """What is shown: a prompt, the one that is compared with it, effects by token of the upper one,
    and the end of their scale."""

    upper: Prompt
    lower: Prompt | None = None
    effects: Mapping[int, float] | None = None
    limit: float = 0.0


def visible(token: str) -> str:
    """A token with its leading space as a dot, so that its border can be seen."""
    shown = printable(token)
    return "·" + shown[1:] if shown.startswith(" ") else shown


def wrapped(widths: Sequence[int], room: int) -> list[range]:
    """Columns in lines of at most `room` cells, one cell between two."""
    lines, start, used = [], 0, 0
    for column, width in enumerate(widths):
        if column > start and used + width > room:
            lines.append(range(start, column))
            start, used = column, 0
        used += width + 1
    return [*lines, range(start, len(widths))] if widths else []


class Tokens(ScrollView, can_focus=True):
    """`cursor` is a column. Posts `Moved` when it goes to another."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1)", "Left", show=False),
        Binding("right", "move(1)", "Right", show=False),
        Binding("up", "line(-1)", "Up", show=False),
        Binding("down", "line(1)", "Down", show=False),
        Binding("home", "move(-1000000)", "First", show=False),
        Binding("end", "move(1000000)", "Last", show=False),
    ]
    DEFAULT_CSS = """
    Tokens { height: auto; max-height: 10; scrollbar-size-vertical: 1; overflow-x: hidden; }
    """

    cursor: reactive[int] = reactive(0)

    class Moved(Message):
        """The cursor stands on another column."""

        def __init__(self, tokens: Tokens, column: int) -> None:
            super().__init__()
            self.tokens, self.column = tokens, column

        @property
        def control(self) -> Tokens:
            return self.tokens

    def __init__(self, id_: str | None = None) -> None:
        super().__init__(id=id_)
        self._rows: Rows | None = None
        self._columns: list[Column] = []
        self._widths: list[int] = []
        self._blocks: list[range] = []
        self._kinds: list[str] = []
        self._lines: list[tuple[int, str]] = []
        self._margin = 0

    def show(self, rows: Rows, cursor: int | None = None) -> None:
        """Show other prompts; the cursor on a column, or where it was."""
        self._rows = rows
        self._columns = aligned(rows.upper, rows.lower)
        self._widths = [self._wide(column) for column in range(len(self._columns))]
        names = [p.side for p in (rows.upper, rows.lower) if p is not None]
        self._kinds = ["labels", "upper", *(["marks", "lower"] if rows.lower else [])]
        self._kinds += ["effects"] if rows.effects else []
        self._margin = max(map(len, [*names, "effect" if rows.effects else ""])) + 1
        last = max(0, len(self._columns) - 1)
        self.set_reactive(
            Tokens.cursor, max(0, min(self.cursor if cursor is None else cursor, last))
        )
        self._wrap()
        if self._columns:
            self.call_after_refresh(self._reveal)

    @property
    def column(self) -> Column:
        """The tokens under the cursor: of the upper and of the lower prompt."""
        return self._columns[self.cursor] if self._columns else (None, None)

    @property
    def colours(self) -> Scale:
        return scale(self.app)

    def _wide(self, column: int) -> int:
        """A column is as wide as its widest text."""
        return max(
            1,
            *(cells(self._text(kind, column)) for kind in ("labels", "upper", "lower", "effects")),
        )

    def _text(self, kind: str, column: int) -> str:
        """What stands in a line of a column."""
        assert self._rows is not None
        a, b = self._columns[column]
        upper, lower = self._rows.upper, self._rows.lower
        match kind:
            case "labels":
                said = [upper.label_at(a) if a is not None else ""]
                said += [lower.label_at(b)] if lower and b is not None else []
                return printable(next(filter(None, said), ""))
            case "upper":
                return visible(upper.texts[a]) if a is not None else GAP
            case "lower" if lower is not None:
                return visible(lower.texts[b]) if b is not None else GAP
            case "marks" if lower is not None:
                return OTHER if differs(upper, lower, (a, b)) else SAME
            case "effects":
                value = self._effect(column)
                return (
                    ""
                    if value is None
                    else number(value, min(2, max(0, decimals([self._rows.limit]))))
                )
        return ""

    def _effect(self, column: int) -> float | None:
        assert self._rows is not None
        token = self._columns[column][0]
        return (self._rows.effects or {}).get(token) if token is not None else None

    # ---- lines

    def _wrap(self) -> None:
        self._blocks, self._lines = self._wrapped(self.size.width or 78)
        self.virtual_size = Size(1, len(self._lines))
        self.refresh(layout=True)

    def _wrapped(self, width: int) -> tuple[list[range], list[tuple[int, str]]]:
        """The columns of every block, and the lines: the number of their block and what stands in
        them, "" between two blocks. Lines without any text are left out."""
        blocks = wrapped(self._widths, max(10, width - self._margin))
        lines: list[tuple[int, str]] = []
        for at, block in enumerate(blocks):
            lines += [(at, "")] if at else []
            lines += [
                (at, kind)
                for kind in self._kinds
                if any(self._text(kind, column).strip() for column in block)
            ]
        return blocks, lines

    def on_resize(self) -> None:
        if self._rows is not None:
            self._wrap()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self._wrapped(width)[1]) if self._rows is not None else 0

    def render_line(self, y: int) -> Strip:
        width, line = self.size.width, y + self.scroll_offset.y
        if self._rows is None or line >= len(self._lines):
            return Strip.blank(width, self.rich_style)
        block, kind = self._lines[line]
        segments = [Segment(self._side(kind).ljust(self._margin), self.colours.muted)]
        for column in self._blocks[block] if kind else ():
            segments.append(self._cell(kind, column))
            segments.append(Segment(" "))
        return Strip(segments).adjust_cell_length(width).apply_style(self.rich_style)

    def _side(self, kind: str) -> str:
        assert self._rows is not None
        lower = self._rows.lower.side if self._rows.lower else ""
        names = {"upper": self._rows.upper.side, "lower": lower, "effects": "effect"}
        return printable(names.get(kind, ""))

    def _cell(self, kind: str, column: int) -> Segment:
        text, room = self._text(kind, column), self._widths[column]
        space = " " * (room - cells(text))
        if kind in ("marks", "effects"):
            half = len(space) // 2
            return Segment(space[:half] + text + space[half:], self._style(kind, column))
        return Segment(text + space, self._style(kind, column))

    def _style(self, kind: str, column: int) -> Style:
        colours = self.colours
        here = column == self.cursor
        if kind in ("labels", "marks"):
            return colours.strong if here or kind == "marks" else colours.muted
        assert self._rows is not None
        value = self._effect(column)
        if kind == "effects":
            return colours.tone(value)
        style = Style()
        if kind == "upper" and value is not None:
            level = int(levels(np.array([value]), self._rows.limit)[0])
            style = colours.cells[level]
        if here:
            style += (
                Style(reverse=True, bold=True)
                if self.has_focus
                else Style(bold=True, underline=True)
            )
        return style

    # ---- the cursor

    def action_move(self, by: int) -> None:
        self._go(self.cursor + by)

    def action_line(self, by: int) -> None:
        """To the column above or below."""
        here = self._block_of(self.cursor)
        there = self._blocks[max(0, min(len(self._blocks) - 1, here + by))]
        left = self._left(self.cursor)
        self._go(min(there, key=lambda column: abs(self._left(column) - left)))

    def _block_of(self, column: int) -> int:
        return next(i for i, block in enumerate(self._blocks) if column in block)

    def _left(self, column: int) -> int:
        block = self._blocks[self._block_of(column)]
        return sum(self._widths[c] + 1 for c in range(block.start, column))

    def _go(self, column: int) -> None:
        column = max(0, min(column, len(self._columns) - 1))
        if column == self.cursor or not self._columns:
            return
        self.cursor = column
        self._reveal()
        self.refresh()
        self.post_message(self.Moved(self, column))

    def _reveal(self) -> None:
        """Scroll so that the cursor's block can be seen."""
        block = self._block_of(self.cursor)
        lines = [i for i, (number, kind) in enumerate(self._lines) if number == block and kind]
        y = min(max(self.scroll_offset.y, lines[-1] + 1 - self.size.height), lines[0])
        self.scroll_to(0, y, animate=False)

    def on_click(self, event: events.Click) -> None:
        line = event.y + self.scroll_offset.y
        if line >= len(self._lines):
            return
        for column in self._blocks[self._lines[line][0]]:
            left = self._margin + self._left(column)
            if left <= event.x <= left + self._widths[column]:
                self._go(column)
