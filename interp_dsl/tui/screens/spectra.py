"""Spectra: what a factoring found of the places of a model: how fast its bases fall, what is left
of the metric with their first directions, the graph of modules."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.widgets import Static

from interp_dsl.runs.bands import Band
from interp_dsl.runs.bases import Link, Modules, Node, figure, letter
from interp_dsl.runs.events import Event
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.text import count, printable
from interp_dsl.tui.base import WIDTHS, RunScreen, is_news
from interp_dsl.tui.place import Place
from interp_dsl.tui.spectral import Spectral
from interp_dsl.tui.widgets.bands import BandChart, mark
from interp_dsl.tui.widgets.flow import flow
from interp_dsl.tui.widgets.listing import Heading, Item, Listing
from interp_dsl.tui.widgets.modules import ModuleChart
from interp_dsl.tui.widgets.scale import scale
from interp_dsl.tui.widgets.settings import Setting, Settings, turned

NEAR = 6
"""Edges of a direction that are named."""


class SpectraScreen(RunScreen):
    """Spectra, ablations and modules of a step of `factor`."""

    HELP: ClassVar[str] = (
        "Spectra are shares of each basis' own greatest eigenvalue. The table has what was found "
        "of the place and of the whole, a column a basis. In the graph of modules a letter is a "
        "direction, A of the largest module; edges run upwards, the denser the larger they are."
    )
    HORIZONTAL_BREAKPOINTS = WIDTHS
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right_square_bracket", "step(1)", "Step", key_display="[ ]"),
        Binding("left_square_bracket", "step(-1)", "Step before", show=False, key_display="["),
        Binding("v", "picture(1)", "Picture", tooltip="spectra, ablation, modules"),
        Binding("right_curly_bracket", "turn(1)", "Place, basis", key_display="{ }"),
        Binding("left_curly_bracket", "turn(-1)", "Place before", show=False, key_display="{"),
        Binding("tab", "app.focus_next", "Chart, table", show=False),
    ]
    DEFAULT_CSS = """
    SpectraScreen #main { height: 1fr; layout: vertical; }
    SpectraScreen.-wide #main { layout: horizontal; }
    SpectraScreen BandChart, SpectraScreen ModuleChart { padding: 0 1; }
    SpectraScreen #side { height: auto; max-height: 9; padding: 0 1; }
    SpectraScreen.graph #side { max-height: 5; }
    SpectraScreen.-wide #side { width: 64; height: 1fr; max-height: 100%;
                                border-left: solid $surface; }
    SpectraScreen #found { height: auto; max-height: 100%; }
    SpectraScreen #readout { height: 2; padding: 0 1; }
    SpectraScreen #nothing { height: 1fr; content-align: center middle; display: none; }
    SpectraScreen.empty #nothing { display: block; }
    SpectraScreen.empty #main, SpectraScreen.empty #readout { display: none; }
    SpectraScreen ModuleChart { display: none; }
    SpectraScreen.graph ModuleChart { display: block; }
    SpectraScreen.graph BandChart { display: none; }
    """

    def __init__(self, folder: RunFolder) -> None:
        super().__init__(folder)
        self.held = Spectral(folder)
        self._graph: Modules | None = None

    def body(self) -> ComposeResult:
        yield Settings(id="settings")
        yield Static("no step has factored anything yet", id="nothing", markup=False)
        with Container(id="main"):
            yield BandChart(id="chart")
            yield ModuleChart(id="graph")
            with Vertical(id="side"):
                yield Listing(id_="found", empty="no findings here")
        yield Static(id="readout", markup=False)

    @property
    def chart(self) -> BandChart:
        return self.query_one("#chart", BandChart)

    @property
    def graph(self) -> ModuleChart:
        return self.query_one("#graph", ModuleChart)

    @property
    def _is_graph(self) -> bool:
        return self.held.picture == "modules"

    # ---- what is shown

    def on_run_events(self, events: list[Event]) -> None:
        if not is_news(events):
            return
        first, is_new = self.take_in(self.held, events)
        if self.held.step and is_new:
            self._show()
        if first:
            self.chart.focus()

    def _show(self) -> None:
        held = self.held
        self.set_class(self._is_graph, "graph")
        if self._is_graph:
            self._graph = held.graphs[held.at]
            self.graph.show(self._graph)
        else:
            bands = held.lines[held.at]
            self.chart.bands = bands
            self.chart.chosen = max(0, min(self.chart.chosen, len(bands.lines) - 1))
            self.chart.at = max(0, min(self.chart.at, len(bands.xs) - 1))
        self._show_settings()
        self._show_found()
        self._say()
        self.place = Place(held.step)

    def _show_settings(self) -> None:
        held = self.held
        names = held.names
        what = "basis" if self._is_graph else "of"
        lists = [
            ("[ ]", "step", held.steps, held.steps.index(held.step), "step(1)"),
            ("v", "", held.pictures, held.pictures.index(held.picture), "picture(1)"),
            ("{ }", what, names, held.at, "turn(1)"),
        ]
        self.query_one(Settings).settings = tuple(
            Setting(key, name, values[at], at, len(values), action)
            for key, name, values, at, action in lists
            if values
        )

    def _show_found(self) -> None:
        """What was found of the place, and of all places together."""
        table = self.held.findings
        if table is None:
            self.query_one("#found", Listing).show([], 0, lambda row: Item(()))
            return
        place = None if self._is_graph else self.held.names[self.held.at]
        rows = [r for r in table.rows() if place is None or r[1] in (place, "model")]
        with_place = place is None
        texts = [(r[0], *([r[1]] if with_place else []), *map(figure, r[2:])) for r in rows]
        names = ["finding", *(["of"] if with_place else []), *table.columns[2:]]
        widths = [max(len(n), *(len(t[i]) for t in texts)) for i, n in enumerate(names)]
        words = 2 if with_place else 1
        titled = enumerate(zip(names, widths, strict=True))
        headings = [Heading(name, width, i >= words) for i, (name, width) in titled]
        self.query_one("#found", Listing).show(
            headings, len(texts), lambda row: Item(tuple(map(str, texts[row])))
        )

    # ---- in words

    def _say(self) -> None:
        parts = self._said_of_node() if self._is_graph else self._said_at_x()
        self.query_one("#readout", Static).update(flow(parts, self.size.width - 2))

    def _said_at_x(self) -> list[Text]:
        """Every line's value at the x that is looked at."""
        bands, x, colours = self.chart.bands, self.chart.x, scale(self.app)
        if bands is None or x is None:
            return []
        parts = [Text().append(f"{bands.x} {x:g}", colours.strong)]
        for i, line in enumerate(bands.lines):
            part = Text().append(f"{mark(i)} {printable(line.name)} ", colours.muted)
            parts.append(part.append(_value(line, x)))
        return parts

    def _said_of_node(self) -> list[Text]:
        """The direction that is looked at, its module, its largest edges."""
        graph, node, colours = self._graph, self.graph.node, scale(self.app)
        if graph is None or node is None or node not in graph.x:
            return [Text("no edges here")]
        module = graph.module[node]
        said = "in no module" if module is None else f"module {letter(module)}"
        parts = [Text().append(_named(node), colours.strong), Text(said)]
        near = [link for link in graph.links if node in (link.source, link.target)]
        near.sort(key=lambda link: -link.edge)
        parts.append(Text().append(count(len(near), "edge"), colours.muted))
        parts += [Text(_said(link, node)) for link in near[:NEAR]]
        if graph.left_out:
            parts.append(Text(f"{graph.left_out:,} weaker edges not drawn"))
        return parts

    @on(BandChart.Moved)
    @on(ModuleChart.Moved)
    def _moved(self) -> None:
        self._say()

    def on_resize(self) -> None:
        if self.held.step:
            self.call_after_refresh(self._say)

    # ---- choosing

    def action_step(self, by: int) -> None:
        if self.held.step:
            self.held.choose(step=turned(self.held.steps, self.held.step, by))
            self._show()

    def action_picture(self, by: int) -> None:
        if self.held.step:
            self.held.choose(picture=turned(self.held.pictures, self.held.picture, by))
            self._show()
            (self.graph if self._is_graph else self.chart).focus()

    def action_turn(self, by: int) -> None:
        if self.held.step:
            self.held.choose(at=self.held.at + by)
            self._show()

    def export(self) -> Path | None:
        """The findings, as CSV."""
        table = self.held.findings
        if table is None:
            return None
        path = self.export_path(f"-{self.held.step}.csv")
        table.write_csv(path)
        return path


def _value(line: Band, x: float) -> str:
    found = next((p.y for p in line.points if p.x == x), None)
    return "·" if found is None else f"{found:.4g}"


def _named(node: Node) -> str:
    return f"{printable(node[0])} {node[1]}"


def _said(link: Link, node: Node) -> str:
    """An edge as seen from a direction."""
    is_up = link.source == node
    sign, other = ("↑", link.target) if is_up else ("↓", link.source)
    return f"{sign} {_named(other)}: {link.edge:.3g}"
