"""A circuit as a picture: nodes to walk between, lines whose weight and sign are those of the edges
that they carry."""

from __future__ import annotations

from collections.abc import Mapping, Set
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

from interp_dsl.runs.draw.canvas import Canvas, Cell, Edge
from interp_dsl.tui.widgets.scale import Scale, scale

HEAVY = str.maketrans("│─╭╮╰╯├┤┬┴┼", "┃━┏┓┗┛┣┫┳┻╋")
"""Lines of edges with at least half of the largest strength."""
DASHED = str.maketrans("│─┃━", "┆┄┇┅")
"""Lines of edges below zero."""


class Graph(ScrollView, can_focus=True):
    """`node` is the one that is looked at. Posts `Moved` when it is another."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "row(-1)", "Up", show=False),
        Binding("down,j", "row(1)", "Down", show=False),
        Binding("left", "beside(-1)", "Left", show=False),
        Binding("right", "beside(1)", "Right", show=False),
    ]
    DEFAULT_CSS = """
    Graph { width: 1fr; height: 1fr; scrollbar-size-vertical: 1; }
    """

    node: reactive[str] = reactive("")

    class Moved(Message):
        """Another node is looked at."""

        def __init__(self, graph: Graph, node: str) -> None:
            super().__init__()
            self.graph, self.node = graph, node

        @property
        def control(self) -> Graph:
            return self.graph

    def __init__(self, id_: str | None = None) -> None:
        super().__init__(id=id_)
        self.canvas: Canvas | None = None
        self._strengths: Mapping[Edge, float | None] = {}
        self._shown: Set[Edge] = frozenset()
        self._alive: frozenset[str] = frozenset()
        self._near: dict[str, float | None] = {}
        self._largest = 0.0

    def show(
        self, canvas: Canvas, strengths: Mapping[Edge, float | None], shown: Set[Edge]
    ) -> None:
        """Show a picture: of all its edges the strengths, and which of them are there now; the rest
        stands back."""
        self.canvas, self._strengths, self._shown = canvas, strengths, shown
        self._alive = frozenset(name for edge in shown for name in edge[:2])
        self._largest = max((abs(v) for v in strengths.values() if v is not None), default=0.0)
        self.virtual_size = Size(canvas.width, len(canvas.lines))
        if self.node not in canvas.places and canvas.rows:
            self.set_reactive(Graph.node, canvas.rows[0][0])
        self._look()

    @property
    def colours(self) -> Scale:
        return scale(self.app)

    def look_at(self, node: str) -> None:
        """Look at a node; nothing is posted."""
        if self.canvas is not None and node in self.canvas.places:
            self.set_reactive(Graph.node, node)
            self._look()

    def _look(self) -> None:
        """Which nodes the edges of the node lead to, and the strongest of those edges."""
        near: dict[str, float | None] = {}
        for edge in self._shown:
            if self.node in edge[:2]:
                other = edge[1] if edge[0] == self.node else edge[0]
                near[other] = _stronger(near.get(other), self._strengths.get(edge))
        near.pop(self.node, None)
        self._near = near
        if self.canvas is not None and self.node in self.canvas.places:
            line, column = self.canvas.places[self.node]
            size = self.scrollable_content_region.size
            x = min(max(self.scroll_offset.x, column + 6 - size.width), max(0, column - 6))
            y = min(max(self.scroll_offset.y, line + 3 - size.height), max(0, line - 2))
            self.scroll_to(x, y, animate=False)
        self.refresh()

    @property
    def _corner(self) -> tuple[int, int]:
        """Where the picture begins: in the middle of the widget where it is smaller."""
        if self.canvas is None:
            return 0, 0
        left = max(0, (self.size.width - self.canvas.width) // 2)
        return left, max(0, (self.size.height - len(self.canvas.lines)) // 2)

    # ---- walking

    def action_row(self, by: int) -> None:
        """To the nearest node of the next row."""
        canvas = self.canvas
        if canvas is None or self.node not in canvas.places:
            return
        here = next(i for i, row in enumerate(canvas.rows) if self.node in row)
        there = here + by
        if 0 <= there < len(canvas.rows):
            column = canvas.places[self.node][1]
            self._go(min(canvas.rows[there], key=lambda n: abs(canvas.places[n][1] - column)))

    def action_beside(self, by: int) -> None:
        canvas = self.canvas
        if canvas is None or self.node not in canvas.places:
            return
        row = next(row for row in canvas.rows if self.node in row)
        at = row.index(self.node) + by
        if 0 <= at < len(row):
            self._go(row[at])

    def _go(self, node: str) -> None:
        if node != self.node:
            self.look_at(node)
            self.post_message(self.Moved(self, node))

    def on_click(self, event: events.Click) -> None:
        left, top = self._corner
        line, column = event.y + self.scroll_offset.y - top, event.x + self.scroll_offset.x - left
        if self.canvas is None or column < 0 or not 0 <= line < len(self.canvas.lines):
            return
        cells = self.canvas.lines[line]
        node = cells[column].node if column < len(cells) else None
        if node is not None:
            self._go(node)

    # ---- lines

    def render_line(self, y: int) -> Strip:
        (left, top), width = self._corner, self.size.width
        line = y + self.scroll_offset.y - top
        if self.canvas is None or not 0 <= line < len(self.canvas.lines):
            return Strip.blank(width, self.rich_style)
        segments, before = [Segment(" " * left)], None
        for cell in self.canvas.lines[line]:
            segments.append(self._segment(cell, cell.node is not None and cell.node != before))
            before = cell.node
        cut = Strip(segments).crop(self.scroll_offset.x, self.scroll_offset.x + width)
        return cut.adjust_cell_length(width).apply_style(self.rich_style)

    def _segment(self, cell: Cell, begins: bool) -> Segment:
        if cell.node is not None:
            return self._of_node(cell.node, cell.text, begins)
        if cell.edges:
            return self._of_edges(cell)
        return Segment(cell.text, self.colours.muted)

    def _of_node(self, node: str, text: str, begins: bool) -> Segment:
        """The node itself inverse; those at its edges in the colour of these, their sign before
        them where there is room for it; what has no edge now standing back."""
        colours = self.colours
        if node == self.node:
            return Segment(text, Style(reverse=True, bold=True))
        if node in self._near:
            strength = self._near[node]
            if begins and strength and self.canvas is not None and not self.canvas.has_lines:
                text = "+" if strength > 0 else "−"
            return Segment(text, colours.tone(strength) + Style(bold=True))
        return Segment(text, Style() if node in self._alive else colours.muted)

    def _of_edges(self, cell: Cell) -> Segment:
        colours = self.colours
        held = cell.edges & self._shown
        if not held:
            return Segment(cell.text, colours.faint)
        mine = {edge for edge in held if self.node in edge[:2]}
        strength: float | None = None
        for edge in mine or held:
            strength = _stronger(strength, self._strengths.get(edge))
        share = abs(strength) / self._largest if strength and self._largest else 0.0
        text = cell.text.translate(HEAVY) if share >= 0.5 else cell.text
        if strength is not None and strength < 0:
            text = text.translate(DASHED)
        return Segment(text, colours.stroke(strength, share, bool(mine)))


def _stronger(one: float | None, other: float | None) -> float | None:
    """The larger of two strengths by size."""
    if one is None or other is None:
        return other if one is None else one
    return one if abs(one) >= abs(other) else other
