"""What a checked expression is worth: typed values, without torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from interp_dsl.language.source import Span
from interp_dsl.models.shape import ModelFacts
from interp_dsl.plan.algebra import Edges, Expression, FileVector, Finding, Metric, Units
from interp_dsl.plan.dictionaries import Fitted
from interp_dsl.plan.places import Length, Positions, Target


@dataclass(frozen=True, eq=False)
class Model:
    """A declared model. `facts` is None where its config is not at hand before the run."""

    name: str
    spec: dict[str, Any]
    facts: ModelFacts | None
    span: Span

    @property
    def id(self) -> str:
        return f"model:{self.name}"


@dataclass(frozen=True, eq=False)
class Dataset:
    """A declared dataset, or a filtered one (`parent` and `test`).

    `sides` are the names it may have as far as the text tells; the data itself depends on the
    model that tokenises it (check/builds.py builds it). `names` are the names in a filter's test
    and where they stand. `writer` is the model that its text is sampled from."""

    name: str
    spec: dict[str, Any]
    sides: tuple[str, ...]
    span: Span
    parent: Dataset | None = None
    test: Expression | None = None
    names: tuple[tuple[str, Span], ...] = ()
    writer: Model | None = None

    @property
    def first_side(self) -> str:
        return "clean" if "clean" in self.sides else self.sides[0]


@dataclass(frozen=True)
class Side:
    """One side of a dataset, possibly under interventions. `is_default` where the text names the
    dataset alone and its first side is meant."""

    dataset: Dataset
    side: str
    under: tuple[Change, ...] = ()
    is_default: bool = False


@dataclass(frozen=True)
class UnitSet:
    """Places of one model; `model` is None while no prefix has said which. `spans` tell where its
    positions stand in the text; `graphs` how edges are split that come from all of a model's.
    `models` are those of its targets where they are of several, the first of which is `model`."""

    units: Units
    model: Model | None = None
    spans: tuple[tuple[Positions, Span], ...] = field(default=(), compare=False)
    graphs: tuple[Edges, ...] = ()
    models: tuple[Model, ...] = ()


@dataclass(frozen=True)
class SourceTerm:
    """A source before its model is known: `kind` is side, zero, mean, resample, noise, constant,
    vector, times (a feature's largest on `side`), blocked, others (each of `number` other prompts
    of `side`; 0 for all) or moved (along directions by lengths; `side` is whose norm is typical;
    `models` are several whose places are moved, empty for one)."""

    kind: str
    side: Side | None = None
    per: str = "position"
    seed: int = 0
    number: float = 0.0
    vector: VectorTerm | None = None
    directions: tuple[DirectionTerm, ...] = ()
    lengths: tuple[Length, ...] = ()
    models: tuple[Model, ...] = ()


@dataclass(frozen=True)
class DirectionTerm:
    """A direction before its model is known: `kind` is a function of directions.py, vector, or (of
    `interpolate`) line or arc. `of` is whose activations it is drawn from, None for the step's own
    side; `source` what it leads to; `metric` up whose slope it leads. `dictionary` is what rebuilds
    the activation or has the features, `which` how or of them; `sized` the dictionary whose error
    it is as long as. `base` is its name without the dictionary's."""

    name: str
    kind: str
    n: int = 1
    seed: int = 0
    of: Side | None = None
    source: SourceTerm | None = None
    vector: VectorTerm | None = None
    metric: Metric | None = None
    file: FileVector | None = None
    which: str = ""
    dictionary: DictionaryTerm | None = None
    sized: DictionaryTerm | None = None
    base: str = ""


@dataclass(frozen=True)
class CurveTerm:
    """The rows of a step of curves: `paths` and how many directions each has; lengths; the sides
    that it starts from and the models, where these are told apart; whether they go from end to
    end."""

    paths: tuple[tuple[str, int], ...]
    lengths: tuple[Length, ...]
    sides: tuple[str, ...] = ()
    has_ends: bool = False
    models: tuple[str, ...] = ()


@dataclass(frozen=True)
class VectorTerm:
    """A vector before its model is known: a sum of coefficient x mean activation of a side, or
    x a feature's direction, which is of no side. `model` is what a prefix has said."""

    terms: tuple[tuple[float, Target, Side | None], ...]
    model: Model | None = None


@dataclass(frozen=True)
class Change:
    """An intervention before its model is known: what a step without `measure` is. `of_edges`: the
    source stands where edges are out."""

    units: UnitSet
    source: SourceTerm
    along: tuple[VectorTerm, ...]
    of_edges: bool = False


@dataclass(frozen=True)
class Context:
    """One value of an `under` clause: changes that hold together, and its name in the table."""

    name: str
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class EdgeSet:
    """The edges of a model, or `among` them some; `model` is None while no prefix has said
    which."""

    edges: Edges
    model: Model | None = None
    among: Units | None = None


@dataclass(frozen=True)
class RankingTerm:
    """What ranks edges: a column of a step's scores; or of a search the one that it ranks by, of
    one of its circuits where it has several."""

    step: Step
    metric: str = ""
    column: str = ""
    threshold: float | None = None


@dataclass(frozen=True)
class SearchTerm:
    """A method of search with all its options (methods.py), and the ranking that it starts from."""

    method: str
    options: dict[str, Any]
    thresholds: tuple[float, ...]
    by: RankingTerm | None = None


@dataclass(frozen=True)
class EstimateTerm:
    """A method of estimating with all its options (estimates.py), and how many of the largest are
    verified."""

    method: str
    options: dict[str, Any]
    verify: int = 0


@dataclass(frozen=True)
class FactorTerm:
    """A method of factoring layers with all its options (factors.py)."""

    method: str
    options: dict[str, Any]


@dataclass(frozen=True)
class FitTerm:
    """What is to be fitted, and with which options; those that are lists are tuples."""

    architecture: str
    options: dict[str, Any]


@dataclass(frozen=True)
class RelationTerm:
    """A method of relating features with all its options (relations.py)."""

    method: str
    options: dict[str, Any]


@dataclass(frozen=True)
class Keyed:
    """A column of words that tells the rows of some metrics of one unit apart, and its values."""

    column: str
    values: tuple[str, ...]
    metrics: tuple[str, ...]


@dataclass(frozen=True)
class CircuitTerm:
    """The circuits of a step, or of a file: then `step` is None, and the model whichever runs.
    `direct`: whether the file knows direct edges."""

    step: Step | None
    thresholds: tuple[float, ...] = ()
    path: Path | None = None
    sha256: str = ""
    direct: bool = False


@dataclass(frozen=True)
class FindingTerm:
    """What a circuit is measured by; `metric` None is the search's own."""

    name: str
    metric: Metric | None
    function: str | None = None
    arguments: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Searched:
    """Where a circuit is searched for or evaluated, what stands where an edge is out, and over
    which edges the search goes: all of a graph's, or those `among` them; the others stay in."""

    into: Side
    source: SourceTerm
    edges: Edges
    direct: bool
    among: Units | None = None


@dataclass(frozen=True)
class Step:
    """A checked step. `result` is scores, circuit, dictionary, features, recording or intervention.
    `n_rows` counts the rows of each metric and context, None where a result decides. `lacks`:
    columns of its scores that are null; `more`: further ones; `whole`: numbers of the step instead
    of a row. `thresholds`: of circuits, where there are several; metrics in `shared` have one row
    for all of them. `keyed`: columns of words that rows differ in. `dictionaries`: what a fit
    leaves, or what is judged of one; `learned_from` its data, or the side on which nodes are
    searched or evaluated; `beside` the further models whose places dictionaries read."""

    name: str
    verb: str
    result: str
    model: Model | None
    metrics: tuple[Metric, ...] = ()
    units: Units | None = None
    change: Change | None = None
    has_effect: bool = True
    lacks: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()
    thresholds: tuple[float, ...] = ()
    dictionaries: tuple[Fitted, ...] = ()
    learned_from: Side | None = None
    searched: Searched | None = None
    findings: tuple[Finding, ...] = ()
    shared: tuple[str, ...] = ()
    contexts: tuple[str, ...] = ()
    keyed: tuple[Keyed, ...] = ()
    n_rows: int | None = None
    curves: CurveTerm | None = None
    beside: tuple[Model, ...] = ()


@dataclass(frozen=True)
class DictionaryTerm:
    """Dictionaries that a step has fitted."""

    step: Step
    fitted: tuple[Fitted, ...]


@dataclass(frozen=True)
class FeaturesTerm:
    """Features of one dictionary; all of them where `numbers` is None."""

    step: Step
    fitted: Fitted
    numbers: tuple[int, ...] | None = None


@dataclass(frozen=True)
class ReadingTerm:
    """A way to look at features, with all its options."""

    method: str
    options: dict[str, Any]


@dataclass(frozen=True)
class Call:
    """A verb with its evaluated objects and clauses; spans tell where each stood."""

    name: str
    verb: str
    span: Span
    verb_span: Span
    objects: tuple[Any, ...]
    clauses: dict[str, tuple[Any, ...]]
    spans: dict[str, Span] = field(default_factory=dict)

    def one(self, word: str) -> Any:
        """The single value of a clause, None when it is absent."""
        values = self.clauses.get(word)
        return values[0] if values else None
