"""Circuit: the edges that a search kept, laid out by layer, cut by threshold; the search again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.timer import Timer
from textual.widgets import Static

from interp_dsl.plan.names import edge_name
from interp_dsl.runs.circuit_table import KEY
from interp_dsl.runs.draw.canvas import Edge
from interp_dsl.runs.draw.marks import title
from interp_dsl.runs.events import Event
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.nodes import parse_node
from interp_dsl.runs.text import MISSING, count, decimals, exact, number, printable
from interp_dsl.runs.turns import Judged, undecided
from interp_dsl.tui.base import RunScreen, is_news
from interp_dsl.tui.found import Found
from interp_dsl.tui.widgets.cells import bar
from interp_dsl.tui.widgets.chart import Chart
from interp_dsl.tui.widgets.graph import Graph
from interp_dsl.tui.widgets.listing import Heading, Item, Listing
from interp_dsl.tui.widgets.scale import scale
from interp_dsl.tui.widgets.settings import Setting, Settings, turned
from interp_dsl.tui.widgets.slider import Slider

BAR, WIDE, PACE = 9, 40, 0.15
"""Characters of a bar, how wide the list must be to hold one, seconds between turns at play."""

STEPS = "the next of the steps that found a circuit"
CUTS = "a higher threshold, fewer edges; in a replay the next turn"
LEGEND = "edges run upwards   ━ half of the strongest or more   ─ weaker   ┄ below zero"


class CircuitScreen(RunScreen):
    """A circuit and its cuts, or the search that found it."""

    HELP = (
        "Edges run upwards; heavy lines are at least half as strong as the strongest, dashed ones "
        "below zero. Arrows walk between nodes; the list has the edges of the one looked at."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right_square_bracket", "step(1)", "Step", key_display="[ ]", tooltip=STEPS),
        Binding("left_square_bracket", "step(-1)", "Step before", show=False, key_display="["),
        Binding("full_stop,greater_than_sign", "slide(1)", "Cut", key_display=", .", tooltip=CUTS),
        Binding("comma,less_than_sign", "slide(-1)", "Cut back", show=False, key_display=","),
        Binding("t", "replay", "Replay", tooltip="the search, turn by turn, and back"),
        Binding("space", "play", "Play", tooltip="let the turns go by"),
        Binding("tab", "app.focus_next", "Graph, list", show=False),
    ]
    DEFAULT_CSS = """
    CircuitScreen #graph { padding: 0 1; }
    CircuitScreen #main { height: 1fr; }
    CircuitScreen #side { width: 34; border-left: solid $surface; padding: 0 1; }
    CircuitScreen.wide #side { width: 52; }
    CircuitScreen #edges { height: 2fr; }
    CircuitScreen #chart { height: 1fr; min-height: 6; }
    CircuitScreen #said { height: 1; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    CircuitScreen #nothing { height: 1fr; content-align: center middle; display: none; }
    CircuitScreen.empty #nothing { display: block; }
    CircuitScreen.empty #main, CircuitScreen.empty #said { display: none; }
    CircuitScreen.empty Slider { display: none; }
    """

    def __init__(self, folder: RunFolder) -> None:
        super().__init__(folder)
        self.found = Found(folder)
        self.turn: int | None = None
        """The number of the turn that is replayed; None where the circuit itself is shown."""
        self._rows: list[Edge] = []
        self._log: list[tuple[int, Judged]] = []
        self._player: Timer | None = None

    def body(self) -> ComposeResult:
        yield Settings(id="settings")
        yield Static("no search has found a circuit yet", id="nothing", markup=False)
        with Horizontal(id="main"):
            yield Graph(id_="graph")
            with Vertical(id="side"):
                yield Listing(id_="edges", empty="no edges here")
                yield Chart(id="chart")
        yield Static(id="said", markup=False)
        yield Slider(id="slider")

    # ---- reading

    def on_run_events(self, events: list[Event]) -> None:
        if not is_news(events):
            return
        first = not self.found.step
        is_new = self.found.read()
        self.set_class(not self.found.step, "empty")
        if not self.found.step:
            return
        if self.place.step in self.found.steps and self.place.step != self.found.step:
            self.found.choose(self.place.step)
        if first or is_new or not events:
            self._show()
        if first:
            self.query_one(Graph).focus()

    def on_resize(self) -> None:
        self.set_class(self.size.width >= 110, "wide")
        if self.found.step:
            self.call_after_refresh(self._show)

    # ---- showing

    def _show(self) -> None:
        self._show_settings()
        self.set_class(not self.found.cuts, "empty")
        if not self.found.cuts:
            self.query_one("#nothing", Static).update(Text(printable(self.found.fault)))
            return
        self._show_graph()
        self._show_slider()
        if self.turn is None:
            self._show_edges()
        else:
            self._show_log()

    def _show_settings(self) -> None:
        held = self.found
        steps = Setting(
            "[ ]", "step", held.step, held.steps.index(held.step), len(held.steps), "step(1)"
        )
        what = "replay" if self.turn is not None else "circuit"
        shown = Setting("t", "show", what, self.turn is not None, 2 if held.turns else 1, "replay")
        about = (Setting("", "", title(held.circuit)),) if held.cuts else ()
        self.query_one(Settings).settings = (steps, shown, *about)

    def shown(self) -> frozenset[Edge]:
        """The edges that are there now: of the cut, in a replay those that are judged."""
        edges = frozenset(self.found.circuit.edges.select(KEY).iter_rows())
        if self.turn is None:
            return edges
        return edges - undecided(self.found.turns, self.turn)

    def _show_graph(self) -> None:
        graph = self.query_one(Graph)
        width = max(20, graph.size.width - 2)
        graph.show(self.found.canvas(width), self.found.strengths, self.shown())

    def _show_slider(self) -> None:
        slider, chart, held = self.query_one(Slider), self.query_one(Chart), self.found
        if self.turn is None:
            slider.title, slider.count, slider.at = "cut", len(held.cuts), held.at
            slider.words = self._cut_words()
        else:
            turn = held.turns[self.turn]
            slider.title, slider.count, slider.at = "turn", len(held.turns), self.turn
            slider.words = (
                f"{self.turn + 1} of {len(held.turns)} · {turn.kept:,} kept, {turn.out:,} out"
            )
        is_replay = self.turn is not None
        chart.curve = held.course if is_replay else held.curve
        chart.at = self.turn if is_replay else held.place_on_curve

    def _cut_words(self) -> str:
        held = self.found
        circuit, words = held.circuit, []
        if held.cut.threshold is not None:
            name = "threshold" if held.has_thresholds else f"|{held.column}| ≥"
            words.append(f"{name} {held.cut.threshold:.3g}")
        words.append(f"{circuit.size:,} of {count(circuit.graph.n_edges, 'edge')}")
        if held.faithful is not None:
            words.append(f"faithfulness {held.faithful.y:.3f}")
        return " · ".join(words)

    def _show_edges(self) -> None:
        """The edges of the node that is looked at, those that it reads first."""
        node, strengths = self.query_one(Graph).node, self.found.strengths
        where = self.found.positions
        mine = [edge for edge in self.shown() if node in edge[:2]]
        self._rows = sorted(mine, key=lambda e: (e[1] != node, -abs(strengths[e] or 0.0), e))
        values = [v for v in strengths.values() if v is not None]
        places, limit = decimals(values), max(map(abs, values), default=0.0)
        wide = self.has_class("wide")
        width = max(len(number(-limit, places)), len(self.found.column))
        headings = [Heading(f"edges of {node}", 0), Heading(self.found.column, width, True, True)]
        headings += [Heading("", BAR, toned=True)] if wide else []

        def item(row: int) -> Item:
            edge = self._rows[row]
            value = strengths[edge]
            said = [printable(_said(edge, node) + where.get(edge, "")), number(value, places)]
            return Item((*said, bar(value, limit, BAR // 2)) if wide else tuple(said), value)

        self.query_one("#edges", Listing).show(headings, len(self._rows), item)
        n_in = sum(edge[1] == node for edge in self._rows)
        words = f"{node}: reads {count(n_in, 'edge')}, is read by {len(self._rows) - n_in:,}"
        text = Text(words)
        if wide:
            text.append(f"     {LEGEND}", scale(self.app).muted)
        self.query_one("#said", Static).update(text)

    def _show_log(self) -> None:
        """The judgements, turn after turn, the cursor on the one that is replayed."""
        turns = self.found.turns
        self._log = [(at, one) for at, turn in enumerate(turns) for one in turn.judged]
        sizes = [abs(one.effect) for _, one in self._log if one.effect is not None]
        places = decimals(sizes)
        width = max(6, len(number(-max(sizes, default=0.0), places)))
        wide = self.has_class("wide")
        headings = [Heading("turn", 5), Heading("edge", 0)]
        headings += [Heading("effect", width, True, True), Heading("", 6 if wide else 1)]

        def item(row: int) -> Item:
            at, one = self._log[row]
            name, word = edge_name(*one.edge, one.position), _judged(one)
            if not wide:
                name, word = name.replace(" -> ", "→"), word[0]
            said = f"{at + 1}", name, number(one.effect, places), word
            tone = None if said[2] == MISSING else float(said[2])
            return Item(said, tone, dim=at > (self.turn or 0))

        here = next(row for row, (at, _) in enumerate(self._log) if at == self.turn)
        self.query_one("#edges", Listing).show(headings, len(self._log), item, here)
        self.query_one("#said", Static).update(Text(self._turn_words()))

    def _turn_words(self) -> str:
        turn = self.found.turns[self.turn or 0]
        if len(turn.judged) > 1:
            kept = sum(one.kept for one in turn.judged)
            return f"{count(len(turn.judged), 'edge')} judged at once: {kept:,} kept"
        one = turn.judged[0]
        words = [
            edge_name(*one.edge, one.position),
            "kept" if one.kept else "out" if one.evaluated else "gone, nothing reads it",
        ]
        for name in ("effect", "score", "margin"):
            value = getattr(one, name)
            if value is not None:
                words.append(f"{name} {exact(value)}")
        return "   ".join(words)

    # ---- moving

    @on(Graph.Moved)
    def _node_moved(self, message: Graph.Moved) -> None:
        if self.turn is None:
            self._show_edges()
        node = parse_node(message.node)
        if node is not None and node.layer is not None:
            self.place = replace(self.place, unit=node.name, position=None)

    @on(Listing.Chosen, "#edges")
    def _edge_chosen(self, message: Listing.Chosen) -> None:
        """Go along an edge to its other end."""
        if self.turn is not None or not self._rows:
            return
        graph = self.query_one(Graph)
        source, target, _ = self._rows[message.row]
        graph.look_at(source if target == graph.node else target)
        self._show_edges()

    @on(Listing.Moved, "#edges")
    def _log_moved(self, message: Listing.Moved) -> None:
        if self.turn is not None:
            self.turn = self._log[message.row][0]
            self._show_turn()

    @on(Slider.Moved)
    def _slid(self, message: Slider.Moved) -> None:
        self._go(message.at)

    def action_slide(self, by: int) -> None:
        if self.found.cuts:
            self._go((self.found.at if self.turn is None else self.turn) + by)

    def _go(self, at: int) -> None:
        """To another cut, or in a replay to another turn."""
        if self.turn is None:
            self.found.cut_at(at)
            self._show()
        else:
            self.turn = max(0, min(at, len(self.found.turns) - 1))
            self._show_turn()

    def _show_turn(self) -> None:
        """Show the turn; the list keeps its rows."""
        listing = self.query_one("#edges", Listing)
        listing.forget()
        listing.go(next(row for row, (at, _) in enumerate(self._log) if at == self.turn))
        self._show_graph()
        self._show_slider()
        self.query_one("#said", Static).update(Text(self._turn_words()))

    def action_step(self, by: int) -> None:
        if self.found.step:
            self._stop()
            self.turn = None
            self.found.choose(turned(self.found.steps, self.found.step, by))
            self._show()

    # ---- the replay

    def action_replay(self) -> None:
        """From the circuit to the search that found it, and back."""
        if not self.found.cuts:
            return
        if not self.found.turns:
            method = self.found.circuit.method.name
            self.notify(f"{method} judged no edge before another", title="Replay", markup=False)
            return
        self._stop()
        self.turn = 0 if self.turn is None else None
        self._show()

    def action_play(self) -> None:
        """Let the turns go by, or stop."""
        if self._player is not None:
            self._stop()
            return
        if self.turn is None:
            self.action_replay()
        if self.turn is not None:
            if self.turn == len(self.found.turns) - 1:
                self._go(0)
            self._player = self.set_interval(PACE, self._next_turn)

    def _next_turn(self) -> None:
        if self.turn is None or self.turn >= len(self.found.turns) - 1:
            self._stop()
        else:
            self._go(self.turn + 1)

    def _stop(self) -> None:
        if self._player is not None:
            self._player.stop()
            self._player = None

    def export(self) -> Path | None:
        """The circuit as SVG."""
        if not self.found.cuts:
            return None
        path = self.export_path(".svg")
        path.write_text(self.found.circuit.to_svg(), encoding="utf-8")
        return path


def _judged(one: Judged) -> str:
    """What became of an edge: kept, out, or gone with a node that nothing reads."""
    return "✓ kept" if one.kept else "✗ out" if one.evaluated else "– gone"


def _said(edge: Edge, node: str) -> str:
    """An edge as its reader or its sender sees it."""
    source, target, channel = edge
    if source == target:
        return f"its own whole {channel}"
    into = f" {channel}" if channel in ("q", "k", "v", "attn") else ""
    return f"← {source}{into}" if target == node else f"→ {target}{into}"
