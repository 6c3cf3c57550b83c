"""A table of any length as one widget: only the rows in sight are ever made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol, cast

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from interp_dsl.tui.tones import Tones
from interp_dsl.tui.widgets.cells import Cell, fitted

GUTTER, GAP = 2, 2
CURSOR, MARK = "›", "•"


class Heading(Protocol):
    """A column: its title and width, and where its cells are pushed to."""

    @property
    def title(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def right(self) -> bool: ...


class TableModel(Protocol):
    """Rows in an order. `key` names a row whatever the order is."""

    @property
    def headings(self) -> Sequence[Heading]: ...
    def __len__(self) -> int: ...
    def cells(self, start: int, stop: int, tones: Tones) -> list[list[Cell]]: ...
    def key(self, row: int) -> int: ...
    def row_of(self, key: int) -> int | None: ...
    def sort(self, column: int) -> None: ...
    def arrow(self, column: int) -> str: ...


class Table(ScrollView, can_focus=True):
    """`model` is what is shown; `cursor` the row, `column` the column that `s` sorts by."""

    DEFAULT_CSS = """
    Table { background: $background; color: $foreground; overflow-x: auto; overflow-y: auto;
            scrollbar-size-vertical: 1; scrollbar-size-horizontal: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "go(0)", "First row", show=False),
        Binding("end", "go(-1)", "Last row", show=False),
        Binding("left", "column(-1)", "Column to the left", show=False),
        Binding("right", "column(1)", "Column to the right", show=False),
        Binding("s", "sort", "Sort", tooltip="by the column; again: signed, then the other way"),
        Binding("enter", "choose", "Open", show=False),
    ]
    cursor = reactive(0, repaint=False)
    column = reactive(0, repaint=False)

    class Moved(Message):
        """The cursor stands on another row."""

        def __init__(self, table: Table, row: int) -> None:
            super().__init__()
            self.table, self.row = table, row

        @property
        def control(self) -> Table:
            return self.table

    class Chosen(Moved):
        """Enter, or a second click, on a row."""

    def __init__(
        self,
        *,
        markable: bool = False,
        sortable: bool = True,
        id: str | None = None,  # noqa: A002
    ) -> None:
        super().__init__(id=id)
        self.sortable = sortable
        self.nothing = ""
        """What is said where there are no rows."""
        self.model: TableModel | None = None
        self.marked: set[int] = set()
        self.markable = markable
        self._window: tuple[int, list[list[Cell]]] = (0, [])

    # ---- what is shown

    def show(self, model: TableModel | None, keep: bool = False) -> None:
        """Show a model; with `keep` the cursor stays on its row, where that is still there."""
        key = self._key() if keep else None
        self.model = model
        if not keep:
            self.marked = set()
            self.cursor = 0
        self.renew(key)

    def renew(self, key: int | None = None) -> None:
        """The model has changed: its rows, their order, or its columns. The cursor goes to the row
        of a key where there is one."""
        self._window = (0, [])
        row = self.model.row_of(key) if self.model is not None and key is not None else None
        n = self.n_rows
        size = Size(self._width(), n + 1)
        if self.virtual_size != size:
            self.virtual_size = size
        last = len(self.model.headings) - 1 if self.model else 0
        self.column = max(0, min(self.column, last))
        before = self.cursor
        self.cursor = row if row is not None else max(0, min(self.cursor, n - 1))
        if before == self.cursor:
            self._announce()
        self.refresh()
        self.call_after_refresh(self._reveal)  # only then the new size is known

    def go_to(self, row: int) -> None:
        self.cursor = max(0, min(row, self.n_rows - 1))

    @property
    def n_rows(self) -> int:
        return len(self.model) if self.model is not None else 0

    def _key(self) -> int | None:
        return self.model.key(self.cursor) if self.model and self.n_rows else None

    def _width(self) -> int:
        widths = [h.width for h in self.model.headings] if self.model else []
        return GUTTER + sum(widths) + GAP * max(0, len(widths) - 1)

    # ---- drawing

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if self.model is None:
            return Strip.blank(width, self.rich_style)
        tones = cast("Tones", self.app.tones)  # type: ignore[attr-defined]
        row = self.scroll_offset.y + y - 1
        if y == 0:
            return self._line("", self._titles(tones), Style(), width)
        if self.n_rows == 0 and row == 1 and self.nothing:
            return self._line("", [(self.nothing, tones.muted)], Style(), width)
        if row >= self.n_rows:
            return Strip.blank(width, self.rich_style)
        is_cursor = row == self.cursor
        is_marked = self.markable and self.model.key(row) in self.marked
        gutter = (CURSOR if is_cursor else " ") + (MARK if is_marked else " ")
        under = Style()
        if is_cursor:
            under = tones.cursor if self.has_focus else tones.cursor_idle
        return self._line(gutter, self._cells(row, tones), under, width, tones.marked)

    def _line(
        self, gutter: str, cells: list[Cell], under: Style, width: int, mark: Style | None = None
    ) -> Strip:
        """The gutter and the first column stay where they are, the rest scrolls."""
        base = self.rich_style + under
        muted = cast("Tones", self.app.tones).muted  # type: ignore[attr-defined]
        segments = [
            Segment(text, base if under and style == muted else base + style + under)
            for text, style in cells
        ]
        first = [Segment(gutter.ljust(GUTTER), base + (mark or Style())), *segments[:1]]
        gap = Segment(" " * GAP, base)
        rest = Strip([part for segment in segments[1:] for part in (gap, segment)])
        fixed = Strip(first)
        left = self.scroll_offset.x
        scrolled = rest.crop(left, left + max(0, width - fixed.cell_length))
        return Strip([*fixed, *scrolled]).adjust_cell_length(width, base)

    def _titles(self, tones: Tones) -> list[Cell]:
        assert self.model is not None
        titles: list[Cell] = []
        for i, heading in enumerate(self.model.headings):
            title = f"{heading.title}{self.model.arrow(i)}"
            style = tones.head
            if self.sortable and self.has_focus and i == self.column:
                style += Style(underline=True)
            titles.append((fitted(title, heading.width, heading.right), style))
        return titles

    def _cells(self, row: int, tones: Tones) -> list[Cell]:
        assert self.model is not None
        start, held = self._window
        if not start <= row < start + len(held):
            start = self.scroll_offset.y
            stop = min(self.n_rows, start + self.size.height)
            if not start <= row < stop:
                start, stop = row, row + 1
            held = self.model.cells(start, stop, tones)
            self._window = (start, held)
        return held[row - start]

    def refresh_row(self, row: int) -> None:
        self.refresh(Region(0, row - self.scroll_offset.y + 1, self.size.width, 1))

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._window = (0, [])

    # ---- moving

    def watch_cursor(self, before: int, now: int) -> None:
        self.refresh_row(before)
        self.refresh_row(now)
        self._reveal()
        self._announce()

    def _reveal(self) -> None:
        """Scroll until the cursor is in sight."""
        top, room = self.scroll_offset.y, max(1, self.size.height - 1)
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False, immediate=True)
        elif self.cursor >= top + room:
            self.scroll_to(y=self.cursor - room + 1, animate=False, immediate=True)

    def watch_column(self) -> None:
        self.refresh(Region(0, 0, self.size.width, 1))
        if self.model is None or self.column == 0:
            self.scroll_to(x=0, animate=False, immediate=True)
            return
        widths = [h.width for h in self.model.headings]
        end = sum(widths[1 : self.column + 1]) + GAP * self.column
        room = self.size.width - GUTTER - widths[0]
        start = end - widths[self.column] - GAP
        if end > self.scroll_offset.x + room:
            self.scroll_to(x=end - room, animate=False, immediate=True)
        elif start < self.scroll_offset.x:
            self.scroll_to(x=start, animate=False, immediate=True)

    def on_resize(self) -> None:
        self._window = (0, [])
        self._reveal()

    def _announce(self) -> None:
        if self.n_rows:
            self.post_message(self.Moved(self, self.cursor))

    def action_move(self, by: int) -> None:
        self.go_to(self.cursor + by)

    def action_page(self, by: int) -> None:
        self.go_to(self.cursor + by * max(1, self.size.height - 2))

    def action_go(self, row: int) -> None:
        self.go_to(row if row >= 0 else self.n_rows + row)

    def action_column(self, by: int) -> None:
        last = len(self.model.headings) - 1 if self.model else 0
        self.column = max(0, min(self.column + by, last))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self.sortable if action == "sort" else True

    def action_sort(self) -> None:
        if self.sortable and self.model is not None and self.n_rows:
            self.model.sort(self.column)
            self.cursor = 0
            self.renew()
            self.scroll_to(y=0, animate=False, immediate=True)

    def action_choose(self) -> None:
        if self.n_rows:
            self.post_message(self.Chosen(self, self.cursor))

    def toggle_mark(self) -> None:
        """Mark the row under the cursor, or take its mark away, and go on to the next."""
        key = self._key()
        if key is not None and self.markable:
            self.marked ^= {key}
            self.refresh_row(self.cursor)
            self.go_to(self.cursor + 1)

    # ---- the mouse

    def on_click(self, event: events.Click) -> None:
        at = event.get_content_offset(self)
        if at is None:
            return
        if at.y == 0:
            column = self._column_at(at.x)
            if column is not None:
                self.column = column
                self.action_sort()
            return
        row = self.scroll_offset.y + at.y - 1
        if 0 <= row < self.n_rows:
            again = row == self.cursor and event.chain > 1
            self.go_to(row)
            if again:
                self.action_choose()

    def _column_at(self, x: int) -> int | None:
        if self.model is None:
            return None
        at = GUTTER
        for i, heading in enumerate(self.model.headings):
            if i == 1:
                at -= self.scroll_offset.x
            if at <= x < at + heading.width + GAP:
                return i
            at += heading.width + GAP
        return None
