"""A table beside a picture: rows that are made when they come into sight, a cursor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from interp_dsl.tui.widgets.cells import fitted
from interp_dsl.tui.widgets.scale import Scale, scale

Tone = float | None
"""A cell's colour: that of this number's sign, or none."""


@dataclass(frozen=True, slots=True)
class Heading:
    """A column: its name, its width in characters (0: a share of what is left), on which side its
    text stands, whether it has its row's colour."""

    name: str
    width: int
    right: bool = False
    toned: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """A row: the text of each column, the number whose sign colours it, whether it stands back, its
    colour where that is no sign's."""

    texts: tuple[str, ...]
    tone: Tone = None
    dim: bool = False
    ink: Style | None = None


class Listing(ScrollView, can_focus=True):
    """Rows under fixed headings. Posts `Moved` when a person moves the cursor, `Chosen` on Enter or
    a second click; `go` moves it silently."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "move(-10000000)", "First", show=False),
        Binding("end", "move(10000000)", "Last", show=False),
        Binding("enter", "choose", "Open", show=False),
    ]
    DEFAULT_CSS = """
    Listing { width: 1fr; height: 1fr; scrollbar-size-vertical: 1; overflow-x: hidden; }
    """

    cursor: reactive[int] = reactive(0)

    class Moved(Message):
        """The cursor stands on another row."""

        def __init__(self, listing: Listing, row: int) -> None:
            super().__init__()
            self.listing, self.row = listing, row

        @property
        def control(self) -> Listing:
            return self.listing

    class Chosen(Moved):
        """The row under the cursor was asked for."""

    def __init__(self, id_: str | None = None, empty: str = "nothing here") -> None:
        super().__init__(id=id_)
        self.empty = empty
        self._headings: Sequence[Heading] = ()
        self._count = 0
        self._item: Callable[[int], Item] = lambda row: Item(())
        self._made: dict[int, Item] = {}

    def show(
        self, headings: Sequence[Heading], count: int, item: Callable[[int], Item], cursor: int = 0
    ) -> None:
        """Show `count` rows; `item(i)` makes one."""
        self._headings, self._count, self._item = headings, count, item
        self._made = {}
        self.virtual_size = Size(1, count + 1)
        self.go(cursor)
        self.refresh()

    def forget(self) -> None:
        """Make the rows anew, for what they are made of has changed."""
        self._made.clear()
        self.refresh()

    @property
    def count(self) -> int:
        return self._count

    @property
    def headings(self) -> Sequence[Heading]:
        return self._headings

    def item(self, row: int) -> Item:
        """A row, made once."""
        if row not in self._made:
            if len(self._made) > 5000:
                self._made.clear()
            self._made[row] = self._item(row)
        return self._made[row]

    def go(self, row: int) -> None:
        """Put the cursor on a row and show it; nothing is posted."""
        row = max(0, min(row, self._count - 1))
        self.set_reactive(Listing.cursor, row)
        if self.is_attached:
            lines = max(1, self.scrollable_content_region.height - 1)
            y = min(max(self.scroll_offset.y, row + 1 - lines), row)
            self.scroll_to(0, y, animate=False)
        self.refresh()

    def on_resize(self) -> None:
        self.go(self.cursor)

    @property
    def colours(self) -> Scale:
        """The scale in the theme's colours."""
        return scale(self.app)

    # ---- moving

    def action_move(self, rows: int) -> None:
        before = self.cursor
        self.go(before + rows)
        if self._count and self.cursor != before:
            self.post_message(self.Moved(self, self.cursor))

    def action_page(self, pages: int) -> None:
        self.action_move(pages * max(1, self.scrollable_content_region.height - 2))

    def action_choose(self) -> None:
        if self._count:
            self.post_message(self.Chosen(self, self.cursor))

    def on_click(self, event: events.Click) -> None:
        row = event.y - 1 + self.scroll_offset.y
        if event.y < 1 or row >= self._count:
            return
        if row == self.cursor:
            self.action_choose()
        else:
            self.action_move(row - self.cursor)

    # ---- lines

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if y == 0 and self._headings:
            texts = tuple(heading.name for heading in self._headings)
            return self._line(texts, [self.colours.muted] * len(texts), width)
        row = y - 1 + self.scroll_offset.y
        if row >= self._count:
            said = self.empty if not self._count and y == 1 else ""
            return (
                Strip([Segment(said, self.colours.muted)])
                .adjust_cell_length(width, self.rich_style)
                .apply_style(self.rich_style)
            )
        item = self.item(row)
        base = self.colours.muted if item.dim else Style()
        tone = base if item.dim else item.ink or self.colours.tone(item.tone)
        toned = [tone if heading.toned else base for heading in self._headings]
        strip = self._line(item.texts, toned, width)
        if row != self.cursor:
            return strip
        here = Style(reverse=True) if self.has_focus else Style(bold=True, underline=True)
        return Strip([Segment(s.text, (s.style or Style()) + here) for s in strip], width)

    def _line(self, texts: Sequence[str], styles: Sequence[Style], width: int) -> Strip:
        segments: list[Segment] = []
        for heading, text, style, room in zip(
            self._headings, texts, styles, self._widths(width), strict=False
        ):
            segments.append(Segment(fitted(text, room, heading.right), style))
            segments.append(Segment(" "))
        return (
            Strip(segments).adjust_cell_length(width, self.rich_style).apply_style(self.rich_style)
        )

    def _widths(self, width: int) -> list[int]:
        fixed = sum(h.width for h in self._headings) + len(self._headings)
        left = max(4, (width - fixed) // max(1, sum(not h.width for h in self._headings)))
        return [h.width or left for h in self._headings]
