"""The circuits that a run has found, and which of them is looked at."""

from __future__ import annotations

from dataclasses import dataclass, field

from interp_dsl.language.diagnostics import InterpError
from interp_dsl.runs.circuit import Circuit
from interp_dsl.runs.circuit_file import circuit_paths, circuits_of
from interp_dsl.runs.circuit_table import KEY, POSITION
from interp_dsl.runs.cuts import Curve, Cut, Point, curve, cuts, faithfulness
from interp_dsl.runs.draw.canvas import SCALES, Canvas, Edge, canvas
from interp_dsl.runs.draw.marks import strength_column
from interp_dsl.runs.draw.shelves import shelves
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.turns import Turn, turns

DRAWN = 72
"""The most edges whose lines can be told apart."""


@dataclass
class Found:
    """`step` found `cuts`, of which number `at` is looked at; none, and `fault` says why, where its
    file cannot be read."""

    folder: RunFolder
    steps: list[str] = field(default_factory=list)
    step: str = ""
    cuts: list[Cut] = field(default_factory=list)
    at: int = 0
    curve: Curve | None = None
    turns: list[Turn] = field(default_factory=list)
    fault: str = ""
    _drawn: tuple[int, Circuit, Canvas] | None = None
    _faithful: dict[float | None, Point | None] = field(default_factory=dict)

    def read(self) -> bool:
        """See which steps have found circuits; whether there are new ones."""
        held = [step for step in self.folder.steps if circuit_paths(self.folder.path, step)]
        is_new = held != self.steps
        self.steps = held
        if held and self.step not in held:
            self.choose(held[0])
        return is_new

    def choose(self, step: str) -> None:
        """Look at a step's circuits, at the whole of the first."""
        self.step, self.at = step, 0
        self._drawn, self._faithful = None, {}
        try:
            self.cuts, self.fault = cuts(circuits_of(self.folder.path, step)), ""
        except InterpError as error:
            self.cuts, self.fault = [], error.diagnostics[0].message
        self.curve = curve(self.folder, step, self.cuts)
        self.turns = turns(self.cuts[0].whole.table) if self.cuts else []

    def cut_at(self, at: int) -> None:
        """Look at another of the cuts."""
        self.at = max(0, min(at, len(self.cuts) - 1))
        if self.has_thresholds:
            self.turns = turns(self.circuit.table)

    @property
    def cut(self) -> Cut:
        return self.cuts[self.at]

    @property
    def circuit(self) -> Circuit:
        return self.cut.circuit

    @property
    def has_thresholds(self) -> bool:
        """Whether the search itself left the cuts."""
        return len(self.cuts) > 1 and self.cuts[0].by is None

    @property
    def column(self) -> str:
        return strength_column(self.cuts[0].whole)

    @property
    def strengths(self) -> dict[Edge, float | None]:
        """The strengths of the circuit's edges, of one at several positions the largest."""
        held = self.circuit.edges.select(*KEY, self.column).rows()
        return {(s, t, c): v for s, t, c, v in sorted(held, key=lambda row: abs(row[3] or 0.0))}

    @property
    def positions(self) -> dict[Edge, str]:
        """At which positions each edge of the circuit stands, in words; of one by position."""
        if POSITION not in self.circuit.table.columns:
            return {}
        held = self.circuit.edges.group_by(KEY, maintain_order=True).agg(POSITION)
        return {(s, t, c): f" at {', '.join(places)}" for s, t, c, places in held.iter_rows()}

    @property
    def faithful(self) -> Point | None:
        """How faithful the circuit that is looked at was found to be. A circuit that was cut here,
        by the strength of its edges, has not been measured."""
        if not self.has_thresholds and self.at:
            return None
        threshold = self.cut.threshold if self.has_thresholds else None
        if threshold not in self._faithful:
            self._faithful[threshold] = faithfulness(self.folder, self.step, threshold)
        return self._faithful[threshold]

    @property
    def place_on_curve(self) -> float | None:
        """The x of the circuit on the curve."""
        if self.curve is None or not self.cuts:
            return None
        if self.curve.x == "share of edges":
            return self.circuit.size / max(1, self.circuit.graph.n_edges)
        return self.cut.threshold

    @property
    def course(self) -> Curve:
        """How the search went: of ACDC the metric of the circuit at every turn, which is its score;
        of other methods, whose scores are no measurements, how many edges were left."""
        if self.circuit.method.name == "acdc":
            scores = [(at, turn.judged[0].score) for at, turn in enumerate(self.turns)]
            points = tuple(Point(at, score) for at, score in scores if score is not None)
            return Curve(points, "turn", self.circuit.metric or "score", self.step)
        n = self.circuit.graph.n_edges
        left = tuple(Point(at, n - turn.out) for at, turn in enumerate(self.turns))
        return Curve(left, "turn", "edges left", self.step)

    def canvas(self, width: int) -> Canvas:
        """The circuit drawn: as part of the largest that can be, so that nothing moves while edges
        come and go; on shelves where it is too large."""
        edges = set(self.circuit.edges.select(KEY).iter_rows())
        if self._drawn is not None and self._drawn[0] == width:
            held = set(self._drawn[1].edges.select(KEY).iter_rows())
            if edges <= held:
                return self._drawn[2]
        if self.circuit.size <= DRAWN:
            drawn = canvas(self.circuit, width, (23.0, 17.0, 13.0, *SCALES))
            if drawn is not None:
                self._drawn = width, self.circuit, drawn
                return drawn
        return shelves(self.circuit, width)
