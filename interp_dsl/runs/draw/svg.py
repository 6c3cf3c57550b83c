"""A circuit as a self-contained SVG: nodes by layer, edges upwards, width by strength, the sign by
colour and by dashes, the channel by where an edge enters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from interp_dsl.runs.circuit import Circuit
from interp_dsl.runs.draw import marks
from interp_dsl.runs.draw.curves import Curve, Obstacles, route
from interp_dsl.runs.draw.layout import Layout, lay_out
from interp_dsl.runs.draw.xml import text
from interp_dsl.runs.nodes import Node
from interp_dsl.runs.text import decimals, number, printable

if TYPE_CHECKING:
    import polars as pl

UNIT, RISE = 90, 78
WIDE, HIGH = 60, 32
LEFT, RIGHT, TOP, LEGEND = 96, 36, 86, 92
LEAST = 660
PORT = {"q": -18, "k": 0, "v": 18, "attn": 0}
THIN, THICK = 1.0, 6.0

UP, DOWN, NONE = "#1f5fa8", "#c4471a", "#6b7280"
INK, FAINT, BAND = "#1c2430", "#5b6573", "#f4f5f8"
FILL = {"head": "#ffffff", "mlp": "#e6e9f0", "embed": "#fbf1d5", "pos_embed": "#fbf1d5"}
KINDS = {UP: "positive", DOWN: "negative", NONE: "unknown"}
"""The classes of strokes, by which a page gives them the colours of its theme."""
DASHES = {UP: "", DOWN: ' stroke-dasharray="8 4"', NONE: ' stroke-dasharray="1.5 4"'}


def svg(circuit: Circuit, most: int = 300) -> str:
    """The picture; at most `most` edges of it, the strongest."""
    edges = marks.strongest(circuit, most)
    return _Picture(circuit, edges, lay_out(circuit, edges)).text()


class _Picture:
    """One drawing: the parts of it as lines of SVG."""

    def __init__(self, circuit: Circuit, edges: pl.DataFrame, layout: Layout) -> None:
        self.circuit, self.edges, self.layout = circuit, edges, layout
        self.bottom = TOP + max(len(layout.rows) - 1, 0) * RISE + HIGH
        self.height = self.bottom + LEGEND
        self.row = layout.row
        self.title = printable(marks.title(circuit))
        self.column = marks.strength_column(circuit)
        sizes = [abs(v) for v in edges[self.column] if v is not None]
        self.largest = max(sizes, default=0.0)
        self.places = decimals(sizes)
        self.routes = list(self.routed())
        middles = [UNIT * x for x in layout.x.values()]
        reach = [x for _, curve in self.routes for x in curve.span]
        left = min([*reach, *(x - WIDE / 2 for x in middles)], default=0.0)
        right = max([*reach, *(x + WIDE / 2 for x in middles)], default=0.0)
        self.width = max(LEAST, round(LEFT + right - left + RIGHT))
        self.indent = LEFT - left + (self.width - LEFT - RIGHT - (right - left)) / 2

    def text(self) -> str:
        name, about = self.names()
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}"'
            f' width="{self.width}" height="{self.height}" role="img"'
            f' aria-label="{text(name)}" font-family="Helvetica, Arial, sans-serif">'
        )
        parts = [
            head,
            f"<title>{text(name)}</title>",
            f"<desc>{text(about)}</desc>",
            f'<rect class="paper" width="{self.width}" height="{self.height}" fill="#ffffff"/>',
            *self.bands(),
            f'<g transform="translate({self.indent:.1f} 0)">',
            *self.curves(),
            *(line for node in self.layout.nodes.values() for line in self.node(node)),
            "</g>",
            *self.heading(),
            *self.legend(),
            "</svg>",
        ]
        return "\n".join(parts) + "\n"

    # ---- places

    def at(self, name: str) -> tuple[float, float]:
        """The middle of a node's box, x from the leftmost node."""
        return self.layout.x[name] * UNIT, self.bottom - HIGH / 2 - self.row[name] * RISE

    def obstacles(self, below: int, above: int) -> list[Obstacles]:
        """The boxes of the rows strictly between two rows."""
        found = []
        for names in self.layout.rows[below + 1 : above]:
            middles = np.array([self.at(name)[0] for name in names])
            half = WIDE / 2 + 5
            found.append(Obstacles(self.at(names[0])[1], middles - half, middles + half))
        return found

    # ---- parts

    def names(self) -> tuple[str, str]:
        shown = [row for row in self.edges.iter_rows(named=True)]
        said = [f"{marks.name(edge)} {self.said(edge)}" for edge in shown]
        what = marks.summary(self.circuit, len(shown))
        return self.title, f"{what}. Edges and their {self.column}: {'; '.join(said)}"

    def bands(self) -> Iterator[str]:
        """A stripe for every layer, its name at the left."""
        layers: dict[int, list[float]] = {}
        for name, node in self.layout.nodes.items():
            if node.layer is not None:
                layers.setdefault(node.layer, []).append(self.at(name)[1])
        for layer, heights in sorted(layers.items()):
            top, low = min(heights) - RISE / 2 + 5, max(heights) + RISE / 2 - 5
            yield (
                f'<rect class="band" x="12" y="{top:.1f}" width="{self.width - 24}"'
                f' height="{low - top:.1f}"'
                f' rx="6" fill="{BAND}"/>'
            )
            yield self.words(22, (top + low) / 2 + 4, f"layer {layer}", 11, FAINT)

    def routed(self) -> Iterator[tuple[dict[str, Any], Curve]]:
        """The edges and their courses, the weakest first."""
        import polars as pl

        size = pl.col(self.column).abs()
        for edge in self.edges.sort(size, nulls_last=False).iter_rows(named=True):
            if edge["source"] != edge["target"]:
                rows = self.row[edge["source"]], self.row[edge["target"]]
                (a, b), (c, d) = self.at(edge["source"]), self.at(edge["target"])
                end = (c + PORT.get(edge["channel"], 0), d + HIGH / 2)
                yield edge, route((a, b - HIGH / 2), end, self.obstacles(*rows), UNIT)

    def curves(self) -> Iterator[str]:
        opacity = 0.85 if len(self.edges) <= 60 else 0.65
        for edge, curve in self.routes:
            colour, width = self.stroke(edge[self.column])
            said = f"{marks.name(edge)} {self.said(edge)}"
            yield (
                f'<path class="edge {KINDS[colour]}"{self.named(edge)} d="{curve.path}"'
                f' fill="none" stroke="{colour}" stroke-width="{width:.2f}"'
                f' stroke-opacity="{opacity}"{DASHES[colour]}>'
                f"<title>{text(said)}</title></path>"
            )

    def node(self, node: Node) -> Iterator[str]:
        """A box with its name and, of a head, the letters of the channels that edges enter by."""
        x, y = self.at(node.name)
        into = self.edges.filter(target=node.name)
        ports = [c for c in PORT if c in into["channel"]] if node.kind == "head" else []
        direct = into.filter(source=node.name)["channel"].to_list()
        yield f'<g class="node {node.kind}" data-node="{text(node.name)}">'
        yield (
            f'<rect x="{x - WIDE / 2:.1f}" y="{y - HIGH / 2:.1f}" width="{WIDE}" height="{HIGH}"'
            f' rx="{4 if node.kind == "head" else 10}" fill="{FILL.get(node.kind, "#e3f0e6")}"'
            f' stroke="{INK}" stroke-width="1.1"/>'
        )
        lift = 2 if ports else -4.5
        size = 12 if len(node.name) < 8 else 10
        yield self.words(x, y - lift, node.name, size, INK, "middle")
        for channel in ports:
            place = x + PORT[channel]
            if channel in direct:
                yield f'<circle cx="{place:.1f}" cy="{y + 9.5:.1f}" r="5.5" fill="{INK}"/>'
            ink = "#ffffff" if channel in direct else FAINT
            yield self.words(place, y + 12.5, channel, 9, ink, "middle")
        yield "</g>"

    def heading(self) -> Iterator[str]:
        fits = (self.width - 48) // 9
        yield self.words(24, 34, _cut(self.title, fits), 16, INK)
        yield self.words(24, 54, marks.summary(self.circuit, len(self.edges)), 12, FAINT)

    def legend(self) -> Iterator[str]:
        """What widths, colours, dashes and letters say."""
        top = self.bottom + 34
        x = 24.0
        for colour, said in self.kinds():
            yield self.line(x, top, colour, 3)
            yield self.words(x + 40, top + 4, said, 11, INK)
            x += 52 + 6.3 * len(said)
        if self.largest:
            for share in (1.0, 0.25):
                said = f"|{self.column}| {self.largest * share:.2g}"
                yield self.line(x, top, INK, THIN + (THICK - THIN) * share)
                yield self.words(x + 40, top + 4, said, 11, INK)
                x += 52 + 6.3 * len(said)
        said = "edges run upwards; letters at a head: read by its queries q, keys k, values v"
        yield self.words(24, top + 26, said, 11, FAINT)
        if len(self.routes) < len(self.edges):
            said = "a letter on a disc: the direct edge, of that whole input, is kept"
            yield self.words(24, top + 44, said, 11, FAINT)
        elif marks.n_drawn(self.edges) < len(self.edges):
            said = "an edge at several positions is one line, as wide as the strongest of them"
            yield self.words(24, top + 44, said, 11, FAINT)

    def kinds(self) -> list[tuple[str, str]]:
        """The strokes that occur, and what they mean."""
        strokes = {self.stroke(value)[0] for value in self.edges[self.column]}
        said = {UP: f"{self.column} > 0", DOWN: f"{self.column} < 0"}
        said[NONE] = f"{self.column} 0 or not known"
        return [(colour, words) for colour, words in said.items() if colour in strokes]

    # ---- strokes and words

    def stroke(self, value: float | None) -> tuple[str, float]:
        """Colour and width of an edge."""
        if value is None or not self.largest:
            return NONE, THIN + 0.5
        width = THIN + (THICK - THIN) * abs(value) / self.largest
        return (UP if value > 0 else DOWN if value < 0 else NONE), width

    def named(self, edge: dict[str, Any]) -> str:
        """An edge for the scripts of a page: its ends, its channel, its strength."""
        held = {name: text(edge[name]) for name in ("source", "target", "channel")}
        held["strength"] = "" if edge[self.column] is None else f"{edge[self.column]:.6g}"
        return "".join(f' data-{name}="{value}"' for name, value in held.items())

    def said(self, edge: dict[str, Any]) -> str:
        return number(edge[self.column], self.places)

    def line(self, x: float, y: float, colour: str, width: float) -> str:
        return (
            f'<path class="{KINDS.get(colour, "sample")}" d="M{x:.1f} {y}h32"'
            f' stroke="{colour}" stroke-width="{width:.2f}"'
            f"{DASHES.get(colour, '')}/>"
        )

    def words(
        self, x: float, y: float, said: str, size: int, colour: str, anchor: str = "start"
    ) -> str:
        kind = {INK: "ink", FAINT: "faint"}.get(colour, "over")
        return (
            f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}"'
            f' text-anchor="{anchor}">{text(said)}</text>'
        )


def _cut(said: str, most: int) -> str:
    return said if len(said) <= most else said[: most - 1] + "…"
