"""The graph of modules in characters: directions as letters of their module, place by place from
below, edges as dotted lines, the denser the larger they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from rich.style import Style
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from interp_dsl.runs.bases import Link, Modules, Node, letter
from interp_dsl.runs.text import printable
from interp_dsl.tui.widgets.bands import ink
from interp_dsl.tui.widgets.scale import Scale, scale

_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


class ModuleChart(Widget, can_focus=True):
    """`node` is the direction that is looked at. Posts `Moved` when a person goes to another."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "beside(-1)", "Left", show=False),
        Binding("right", "beside(1)", "Right", show=False),
        Binding("up,k", "layer(1)", "Next place", show=False),
        Binding("down,j", "layer(-1)", "Place before", show=False),
    ]
    DEFAULT_CSS = """
    ModuleChart { width: 1fr; height: 1fr; min-height: 5; }
    """
    graph: reactive[Modules | None] = reactive(None)
    node: reactive[Node | None] = reactive(None)

    class Moved(Message):
        """Another direction is looked at."""

        def __init__(self, chart: ModuleChart) -> None:
            super().__init__()
            self.chart = chart

    def show(self, graph: Modules) -> None:
        """Show a graph; the cursor stays where it can."""
        self.graph = graph
        if self.node not in graph.x:
            self.node = next((n for layer in graph.layers for n in graph.row(layer)), None)

    def render(self) -> Text:
        if self.graph is None:
            return Text("")
        size = self.content_size
        return drawn(self.graph, self.node, size.width, size.height, scale(self.app))

    def action_beside(self, by: int) -> None:
        if self.graph is not None and self.node is not None:
            row = self.graph.row(self.node[0])
            self._go(row[max(0, min(row.index(self.node) + by, len(row) - 1))])

    def action_layer(self, by: int) -> None:
        """To the nearest direction of the next place."""
        if self.graph is None or self.node is None:
            return
        at, layers = self.graph.layers.index(self.node[0]) + by, self.graph.layers
        row = self.graph.row(layers[at]) if 0 <= at < len(layers) else []
        if row:
            x = self.graph.x
            here = x[self.node]
            self._go(min(row, key=lambda n: abs(x[n] - here)))

    def _go(self, node: Node) -> None:
        if node != self.node:
            self.node = node
            self.post_message(self.Moved(self))


def drawn(graph: Modules, node: Node | None, width: int, height: int, colours: Scale) -> Text:
    """The graph in `height` lines, the first place at the bottom."""
    margin = max((len(printable(layer)) for layer in graph.layers), default=0) + 2
    if not graph.layers or width < margin + 8 or height < 2 * len(graph.layers):
        return Text("no room for the graph here", colours.muted)
    cells = _Cells(graph, margin, width, height, colours)
    near = [link for link in graph.links if node in (link.source, link.target)]
    for link in sorted(graph.links, key=lambda link: link.weight):
        if link not in near:
            cells.link(link, False)
    for link in near:
        cells.link(link, True)
    for one in graph.x:
        cells.node(one, one == node)
    return Text("\n", no_wrap=True).join(cells.lines())


class _Cells:
    """The characters of a graph and their colours."""

    def __init__(
        self, graph: Modules, margin: int, width: int, height: int, colours: Scale
    ) -> None:
        self.graph, self.margin, self.colours = graph, margin, colours
        self.columns, self.height = width - margin, height
        steps = np.linspace(height - 1, 0, len(graph.layers)) if len(graph.layers) > 1 else [0]
        self.rows = {layer: round(float(y)) for layer, y in zip(graph.layers, steps, strict=True)}
        self.signs = [[" "] * self.columns for _ in range(height)]
        self.styles = [[Style()] * self.columns for _ in range(height)]
        self.dots = np.zeros((height, self.columns), dtype=np.int64)

    def place(self, node: Node) -> tuple[int, int]:
        """Line and column of a direction."""
        return self.rows[node[0]], round(self.graph.x[node] * (self.columns - 1))

    def link(self, link: Link, near: bool) -> None:
        """Every dot of a strong edge, every second or third of a weaker one."""
        (low, a), (high, b) = self.place(link.source), self.place(link.target)
        mine, other = self.graph.module[link.source], self.graph.module[link.target]
        style = self.colours.muted if mine != other or mine is None else ink(mine, self.colours)
        style = self.colours.strong if near else style
        apart = 1 if near or link.weight > 2 / 3 else 2 if link.weight > 1 / 3 else 3
        start, end = 4 * low - 1, 4 * high + 4
        n = max(abs(start - end), 2 * abs(b - a)) + 1
        halves, quarters = np.linspace(2 * a, 2 * b, n), np.linspace(start, end, n)
        for half, quarter in list(zip(halves, quarters, strict=True))[::apart]:
            dot, level = round(float(half)), round(float(quarter))
            column, row = dot // 2, level // 4
            if 0 <= row < self.height and 0 <= column < self.columns:
                self.dots[row, column] |= _DOTS[dot % 2][level % 4]
                self.signs[row][column] = chr(0x2800 + int(self.dots[row, column]))
                self.styles[row][column] = style

    def node(self, node: Node, here: bool) -> None:
        row, column = self.place(node)
        module = self.graph.module[node]
        style = self.colours.muted if module is None else ink(module, self.colours)
        self.signs[row][column] = letter(module)
        self.styles[row][column] = style + Style(bold=True, reverse=here)

    def lines(self) -> Iterator[Text]:
        names = {row: layer for layer, row in self.rows.items()}
        for i, (signs, styles) in enumerate(zip(self.signs, self.styles, strict=True)):
            name = printable(names[i]) if i in names else ""
            text = Text(name.ljust(self.margin), self.colours.muted)
            for sign, style in zip(signs, styles, strict=True):
                text.append(sign, style)
            yield text
