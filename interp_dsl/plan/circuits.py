"""Tasks about circuits: searching them, estimating what edges do, judging what was found."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from interp_dsl.plan.algebra import (
    Edges,
    Finding,
    Intervention,
    Metric,
    Run,
    ScoreOf,
    Source,
    Units,
    Vector,
)
from interp_dsl.plan.origin import Json, Place


@dataclass(frozen=True, slots=True)
class Variant:
    """A step under one context: `into` is measured with and without the step's own change.
    `other` is the run that effects are normalised by; `columns` are added to the table's rows."""

    into: Run
    other: Run | None
    columns: tuple[tuple[str, float | str], ...] = ()


@dataclass(frozen=True, slots=True)
class CircuitOf:
    """The circuits of a step, at these thresholds where it finds one for each."""

    step: str
    thresholds: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Search:
    """Find the edges of a model's graph that matter on `into`: the result is an edge table named
    `step`, and a circuit for each of the thresholds. `source` stands where an edge is out. The
    first metric drives the search, the others are measured of what it finds.

    `options` are all of the method's, none left open. `among`: the edges that are searched, all
    where it is None; the others stay in. `counts`: how many of them enter each layer, and the final
    residual at last, where that is known beforehand. `is_stepwise`: a
    pass an edge at most, from the logits down; of other methods `passes` of all examples at most.
    `by` ranks the edges, where the method starts from a ranking. `reads_answers`: only the tokens
    that answers begin with are unembedded."""

    id: str
    step: str
    into: Run
    source: Source
    edges: Edges
    method: str
    options: tuple[tuple[str, Json], ...]
    metrics: tuple[Metric, ...]
    reference: Run
    thresholds: tuple[float, ...] = ()
    counts: tuple[int, ...] | None = None
    is_stepwise: bool = False
    passes: int | None = None
    by: ScoreOf | CircuitOf | None = None
    among: Units | None = None
    reads_answers: bool = False
    key: str | None = None
    place: Place | None = None


FEWEST_PATCHES = 3
"""Real patches from which estimates are compared with them."""


@dataclass(frozen=True, slots=True)
class Estimated:
    """Estimate what changes would do: the result is a score table named `step`. `more`: the same
    under further interventions.

    `options` are all of the method's, none left open. `verify`: how many of the largest estimates
    of the first metric are also measured by real patches."""

    id: str
    step: str
    variant: Variant
    method: str
    options: tuple[tuple[str, Json], ...]
    metrics: tuple[Metric, ...]
    reference: Run
    _: KW_ONLY
    verify: int = 0
    more: tuple[Variant, ...] = ()
    key: str | None = None
    place: Place | None = None

    @property
    def variants(self) -> tuple[Variant, ...]:
        return (self.variant, *self.more)


@dataclass(frozen=True, slots=True)
class Attribute(Estimated):
    """Of changing each unit. A method that looks at one run alone has Zero for its source."""

    intervention: Intervention


@dataclass(frozen=True, slots=True)
class AttributeEdges(Estimated):
    """Of the edges of the model's graph, or those `among` them, each taken out with `source` in
    its place, or what of it lies in the span of `along`. `reads_answers`: only the tokens that
    answers begin with are unembedded."""

    source: Source
    edges: Edges
    n_edges: int | None = None
    among: Units | None = None
    along: tuple[Vector, ...] = ()
    reads_answers: bool = False


Attribution = Attribute | AttributeEdges


@dataclass(frozen=True, slots=True)
class CircuitFile:
    """The circuit of a file that held the bytes of this sha256."""

    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class EvaluateCircuit:
    """How good circuits are on `into`, with `source` where an edge is out: a score table named
    `step`, a row a circuit and finding. `measures`: how many circuits findings measure, at most,
    beside each of these. `reads_answers`: only the tokens that answers begin with are unembedded.
    """

    id: str
    step: str
    circuit: CircuitOf | CircuitFile
    into: Run
    source: Source
    findings: tuple[Finding, ...]
    reference: Run
    n_edges: int | None = None
    measures: int = 0
    reads_answers: bool = False
    key: str | None = None
    place: Place | None = None

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics that the findings are made of."""
        return tuple(dict.fromkeys(f.metric for f in self.findings))

    @property
    def n_circuits(self) -> int:
        return len(self.circuit.thresholds) or 1 if isinstance(self.circuit, CircuitOf) else 1
