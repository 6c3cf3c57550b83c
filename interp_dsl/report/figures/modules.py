"""The graph of modules: directions as lettered circles, place by place from below, edges between
them as wide as they are large."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from interp_dsl.report.figures import style
from interp_dsl.report.figures.style import element, words
from interp_dsl.runs.bases import Link, Modules, Node, letter

LONG, HIGH, TOP = 560.0, 110.0, 56.0
RADIUS = 8.0


def module_plot(graph: Modules, title: str, about: Callable[[Node], str] = lambda _: "") -> str:
    """The graph as SVG; empty where it has no edges. `about`: what is told of a node besides."""
    return _Plot(graph, title, about).text() if graph.links else ""


class _Plot:
    """One drawing: where directions stand, and the parts."""

    def __init__(self, graph: Modules, title: str, about: Callable[[Node], str]) -> None:
        self.graph, self.title, self.about = graph, title, about
        self.left = max(len(layer) for layer in graph.layers) * style.WIDE + 30
        self.rows = {layer: i for i, layer in enumerate(reversed(graph.layers))}

    def at(self, node: Node) -> tuple[float, float]:
        return self.left + self.graph.x[node] * LONG, TOP + self.rows[node[0]] * HIGH

    def text(self) -> str:
        parts = [words(12, 20, self.title, 13, font_weight="600")]
        for layer, row in self.rows.items():
            parts.append(words(12, TOP + row * HIGH + 4, layer, 11, style.FAINT))
        for link in sorted(self.graph.links, key=lambda link: link.weight):
            parts.append(self.link(link))
        parts += self.nodes()
        bottom = TOP + (len(self.rows) - 1) * HIGH + 26
        if self.graph.left_out:
            said = f"{self.graph.left_out:,} weaker edges are not drawn"
            parts.append(words(12, bottom + 14, said, 11, style.FAINT))
        return style.picture(self.left + LONG + 24, bottom + 28, self.title, parts)

    def link(self, link: Link) -> str:
        (x1, y1), (x2, y2) = self.at(link.source), self.at(link.target)
        mine, other = self.graph.module[link.source], self.graph.module[link.target]
        ink = style.FAINT if mine is None or mine != other else _colour(mine)
        said = f"{_named(link.source)} → {_named(link.target)}: {link.edge:.3g}"
        width, opacity = 0.6 + 3.4 * link.weight, 0.2 + 0.6 * link.weight
        place = {"x1": x1, "y1": y1 - RADIUS, "x2": x2, "y2": y2 + RADIUS}
        look: dict[str, style.Attribute] = {"stroke_width": width, "stroke_opacity": opacity}
        ends = {"data_source": _named(link.source), "data_target": _named(link.target)}
        tip = style.tooltip(said)
        return element("line", tip, class_="edge", stroke=ink, **place, **look, **ends)

    def nodes(self) -> Iterator[str]:
        radius = min(RADIUS, 0.45 * LONG / max(len(self.graph.row(n)) for n in self.graph.layers))
        for node, module in self.graph.module.items():
            x, y = self.at(node)
            said = "in no module" if module is None else f"module {letter(module)}"
            also = self.about(node)
            tip = style.tooltip(f"{_named(node)}: {said}{also and ', '}{also}")
            ink = style.FAINT if module is None else _colour(module)
            about = {"class_": "dot", "data_node": _named(node), "fill": ink}
            yield element("circle", tip, **about, cx=x, cy=y, r=radius)
            if module is not None and radius > 5:
                yield words(x, y + 3.6, letter(module), 10, style.PAPER, "middle")


def _named(node: Node) -> str:
    return f"{node[0]} {node[1]}"


def _colour(module: int) -> str:
    return style.SERIES[module % len(style.SERIES)]
