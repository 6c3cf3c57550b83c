"""Relations: features of one place between their nearest in the place below and the one above, with
what they fire on and their communities; or the graph of all places."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Static

from interp_dsl.runs.bases import Node, letter
from interp_dsl.runs.events import Event
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.relations import Neighbour, told
from interp_dsl.runs.text import count, number, printable
from interp_dsl.tui.base import RunScreen, is_news
from interp_dsl.tui.place import Place
from interp_dsl.tui.related import Related
from interp_dsl.tui.widgets.bands import ink
from interp_dsl.tui.widgets.flow import flow
from interp_dsl.tui.widgets.listing import Heading, Item, Listing
from interp_dsl.tui.widgets.modules import ModuleChart
from interp_dsl.tui.widgets.scale import scale
from interp_dsl.tui.widgets.settings import Setting, Settings, turned
from interp_dsl.tui.widgets.tokens import visible

LISTS = ("below", "here", "above")
HEADINGS = [Heading("", 1, toned=True), Heading("feature", 7, True), Heading("value", 6, True)]


class RelationsScreen(RunScreen):
    """A walk through the features of a step of `relate`."""

    HELP: ClassVar[str] = (
        "In the middle the features of a place, the best related first; to the left the nearest "
        "of the place below, to the right those of the place above. A letter is a community, A "
        "the largest. Enter on a neighbour goes to it, left and right go from list to list; v "
        "shows the graph of all places, in which Enter opens the feature."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right_square_bracket", "step(1)", "Step", key_display="[ ]"),
        Binding("left_square_bracket", "step(-1)", "Step before", show=False, key_display="["),
        Binding("full_stop", "measure(1)", "Measure", key_display=", ."),
        Binding("comma", "measure(-1)", "Measure before", show=False, key_display=","),
        Binding("right_curly_bracket", "layer(1)", "Place", key_display="{ }"),
        Binding("left_curly_bracket", "layer(-1)", "Place before", show=False, key_display="{"),
        Binding("v", "graph", "Graph", tooltip="all places as a graph, or one feature"),
        Binding("backspace", "back", "Whence", tooltip="the feature that one came from"),
        Binding("enter", "open", "Go there", show=False),
        Binding("left", "list(-1)", "List before", show=False),
        Binding("right", "list(1)", "Next list", show=False),
    ]
    DEFAULT_CSS = """
    RelationsScreen #walk { height: 1fr; }
    RelationsScreen .column { width: 1fr; height: 1fr; padding: 0 1; }
    RelationsScreen .column Static { height: 1; }
    RelationsScreen #readout { height: 3; padding: 0 1; }
    RelationsScreen #nothing { height: 1fr; content-align: center middle; display: none; }
    RelationsScreen.empty #nothing { display: block; }
    RelationsScreen.empty #walk, RelationsScreen.empty #readout { display: none; }
    RelationsScreen ModuleChart { display: none; padding: 0 1; }
    RelationsScreen.graph ModuleChart { display: block; }
    RelationsScreen.graph #walk { display: none; }
    """

    def __init__(self, folder: RunFolder) -> None:
        super().__init__(folder)
        self.held = Related(folder)

    def body(self) -> ComposeResult:
        yield Settings(id="settings")
        yield Static("no step has related features yet", id="nothing", markup=False)
        with Horizontal(id="walk"):
            for name in LISTS:
                with Vertical(classes="column"):
                    yield Static(id=f"of-{name}", markup=False)
                    yield Listing(id_=name, empty="none")
        yield ModuleChart(id="graph")
        yield Static(id="readout", markup=False)

    def listing(self, name: str) -> Listing:
        return self.query_one(f"#{name}", Listing)

    @property
    def graph(self) -> ModuleChart:
        return self.query_one("#graph", ModuleChart)

    @property
    def _is_graph(self) -> bool:
        return self.has_class("graph")

    # ---- what is shown

    def on_run_events(self, events: list[Event]) -> None:
        if not is_news(events):
            return
        first, is_new = self.take_in(self.held, events)
        if self.held.step and is_new:
            self._show()
        if first:
            self.listing("here").focus()

    def _show(self) -> None:
        held = self.held
        lists = [
            ("[ ]", "step", held.steps, held.step, "step(1)"),
            (", .", "by", held.relations.measures, held.measure, "measure(1)"),
            ("{ }", "of", [*held.relations.layers], held.node[0], "layer(1)"),
        ]
        self.query_one(Settings).settings = tuple(
            Setting(key, name, now, values.index(now), len(values), action)
            for key, name, values, now, action in lists
        )
        if self._is_graph:
            self.graph.show(held.relations.graph(held.measure))
        features = held.features
        at = next((i for i, (k, _) in enumerate(features) if k == held.node[1]), 0)
        self._list("here", [((held.node[0], k), value) for k, value in features], at)
        self._show_neighbours()
        self.place = Place(held.step)

    def _show_neighbours(self) -> None:
        for name, found in (("below", self.held.below), ("above", self.held.above)):
            self._list(name, [(one.node, one.value) for one in found], 0)
        self._say()

    def _list(self, name: str, rows: list[tuple[Node, float]], at: int) -> None:
        colours, held = scale(self.app), self.held

        def item(row: int) -> Item:
            node, value = rows[row]
            community = held.relations.community.get(node)
            tokens = "  ".join(map(visible, held.meanings(node)))
            texts = (letter(community), str(node[1]), number(value, 3, signed=False), tokens)
            return Item(texts, ink=None if community is None else ink(community, colours))

        place = held.place(name)
        self.query_one(f"#of-{name}", Static).update(
            Text(
                f"{printable(place)}, {count(len(rows), 'feature')}" if place else "", colours.muted
            )
        )
        self.listing(name).show([*HEADINGS, Heading("fires on", 0)], len(rows), item, at)

    # ---- in words

    def _say(self) -> None:
        """The feature, and the neighbour that is looked at by every measure."""
        held, colours = self.held, scale(self.app)
        node = self._looked_at()
        parts = [Text(f"{node[0]} {node[1]}", colours.strong)]
        community = held.relations.community.get(node)
        size = None if community is None else held.relations.members(community)
        inside = "alone" if size is None else f"community {letter(community)} of {size:,}"
        parts.append(Text(inside))
        tokens = held.meanings(node)
        said = "  ".join(map(visible, tokens)) if tokens else "no step of inspect has read it"
        parts.append(Text(f"fires on {said}" if tokens else said, colours.muted))
        beside = self._neighbour()
        if beside is not None:
            parts.append(Text(f"with {beside.node[0]} {beside.node[1]}:", colours.muted))
            parts += [
                Text(f"{m} {number(beside.row[m], 3, signed=False)}")
                for m in held.relations.measures
            ]
            parts.append(Text(f"support {beside.row['support']:,}"))
        self.query_one("#readout", Static).update(flow(parts, self.size.width - 2))

    def _looked_at(self) -> Node:
        return self.graph.node or self.held.node if self._is_graph else self.held.node

    def _neighbour(self) -> Neighbour | None:
        """The neighbour under the cursor of the list that has the focus, else the nearest above,
        else below."""
        name = self.focused.id if self.focused is not None else None
        lists = {"below": self.held.below, "above": self.held.above}
        if self._is_graph:
            return None
        if found := lists.get(name or ""):
            return found[min(self.listing(name or "").cursor, len(found) - 1)]
        return next((found[0] for found in (self.held.above, self.held.below) if found), None)

    @on(Listing.Moved)
    def _list_moved(self, message: Listing.Moved) -> None:
        if message.listing.id == "here":
            self.held.node = (self.held.node[0], self.held.features[message.row][0])
            self._show_neighbours()
        else:
            self._say()

    @on(ModuleChart.Moved)
    def _graph_moved(self) -> None:
        self._say()

    def on_descendant_focus(self) -> None:
        if self.held.step:
            self._say()

    def on_resize(self) -> None:
        if self.held.step:
            self.call_after_refresh(self._say)

    # ---- walking

    @on(Listing.Chosen)
    def _chosen(self, message: Listing.Chosen) -> None:
        found = {"below": self.held.below, "above": self.held.above}.get(message.listing.id or "")
        if found:
            self._go(found[message.row].node)

    def _go(self, node: Node) -> None:
        self.held.walk(node)
        self.set_class(False, "graph")
        self._show()
        self.listing("here").focus()

    def action_open(self) -> None:
        if self.held.step and self._is_graph and self.graph.node is not None:
            self._go(self.graph.node)

    def action_back(self) -> None:
        if self.held.step and self.held.back():
            self._show()

    def action_list(self, by: int) -> None:
        if not self._is_graph and self.held.step:
            now = self.focused.id if self.focused is not None else "here"
            at = LISTS.index(now) if now in LISTS else 1
            self.listing(LISTS[max(0, min(at + by, 2))]).focus()

    def action_graph(self) -> None:
        if self.held.step:
            self.toggle_class("graph")
            self._show()
            if self._is_graph:
                if self.held.node in self.held.relations.graph(self.held.measure).x:
                    self.graph.node = self.held.node
                self.graph.focus()
            else:
                self.listing("here").focus()
            self._say()

    def action_step(self, by: int) -> None:
        if self.held.step:
            self.held.choose(step=turned(self.held.steps, self.held.step, by))
            self._show()

    def action_measure(self, by: int) -> None:
        if self.held.step:
            self.held.measure = turned(self.held.relations.measures, self.held.measure, by)
            self._show()

    def action_layer(self, by: int) -> None:
        if self.held.step:
            self.held.go_to_layer(turned([*self.held.relations.layers], self.held.node[0], by))
            self._show()

    def export(self) -> Path | None:
        """The neighbours of the feature, as CSV."""
        import polars as pl

        if not self.held.step:
            return None
        rows = told([*self.held.below, *self.held.above], self.held.relations.measures)
        path = self.export_path(f"-{self.held.node[0]}-{self.held.node[1]}.csv")
        pl.DataFrame(rows).write_csv(path)
        return path
