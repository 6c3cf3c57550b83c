"""`search edges by METHOD from SOURCE into SIDE measure …`: circuit discovery.

An edge that is out carries what its source was in another run, or its mean, or zero (Conmy et al.
2023, arXiv 2304.14997)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models.sites import family
from interp_dsl.plan.algebra import Explicit, Metric, ScoreOf, Units
from interp_dsl.plan.metrics import METRICS, calls, good
from interp_dsl.plan.names import edge_name, unit_of
from interp_dsl.plan.places import Unit
from interp_dsl.plan.tasks import CircuitOf, Search
from interp_dsl.plan.units import depends, expand
from interp_dsl.verbs import node_circuits
from interp_dsl.verbs.lowering import Lowering, data_size, place_of
from interp_dsl.verbs.methods import DIRECT, SEARCHES
from interp_dsl.verbs.signature import Checks, Clause, Verb
from interp_dsl.verbs.values import (
    Call,
    Change,
    EdgeSet,
    Model,
    RankingTerm,
    Searched,
    SearchTerm,
    Side,
    SourceTerm,
    Step,
    UnitSet,
)

if TYPE_CHECKING:
    from interp_dsl.models.graph import Bools, Graph

SOURCES = ("side", "zero", "constant", "mean", "resample")
AVERAGES = ("position", "all")


def _check(call: Call, checks: Checks) -> Step:
    if isinstance(call.objects[0], UnitSet):
        found = node_circuits.check(call, checks, call.objects[0])
        check_driver(call, checks, found.metrics[0])
        return found
    if "under" in call.clauses:
        checks.error(
            "E306",
            "a search takes edges out of a run without interventions",
            call.spans["under"],
            help="measure edges under it: patch … under cut",
        )
    edges: EdgeSet = call.objects[0]
    method: SearchTerm = call.one("by")
    source: SourceTerm = call.one("from")
    into: Side = call.one("into")
    model = checks.model_of(call)
    step = Step(
        call.name,
        "search",
        "circuit",
        model,
        call.clauses["measure"],
        thresholds=method.thresholds if len(method.thresholds) > 1 else (),
        searched=Searched(
            into,
            source,
            edges.edges,
            edges.direct or bool(method.options.get("direct", False)),
            edges.among,
        ),
    )
    if model.spec["kind"] == "python":
        checks.error(
            "E306",
            "a model made by Python code has no edges to search",
            call.spans["objects"],
            label="its inner workings are not known",
            help="name a model by its weights: checkpoint(…), weights(…)",
        )
    check_edges(call, checks, model, (source, "from"), (into, "into"))
    checks.check_metrics(call, step, into)
    checks.check_tokens(call, step, into)
    check_driver(call, checks, step.metrics[0])
    check_among(call, checks, step)
    if "edges" not in SEARCHES[method.method].of:
        checks.error(
            "E306",
            f"`{method.method}` goes over places, and these are edges",
            call.spans["by"],
            help="for edges take one of "
            + ", ".join(n for n, m in SEARCHES.items() if "edges" in m.of),
        )
    if edges.direct and "direct" not in method.options:
        refuse_direct(call, checks)
    if edges.among is not None and not SEARCHES[method.method].takes_some:
        checks.error(
            "E306",
            f"`{method.method}` goes over all edges",
            call.spans["objects"],
            label="it learns of nodes, all of whose edges go together",
            help="search edges, or by another method",
        )
    if method.by is not None:
        _check_ranking(call, checks, step, method.by)
    return step


def refuse_direct(call: Call, checks: Checks) -> None:
    checks.error(
        "E306",
        DIRECT,
        call.spans["objects"],
        label='count="conmy" has them too',
        help="leave out count",
    )


def check_edges(
    call: Call,
    checks: Checks,
    model: Model,
    source: tuple[SourceTerm, str],
    into: tuple[Side, str],
) -> None:
    """What stands where an edge is out suits the side it is put in, and neither is under
    interventions. Each with its clause's word."""
    for side, at in (into, (source[0].side, source[1])):
        if side is not None and side.under:
            checks.error(
                "E306",
                "edges are taken out of a run without interventions",
                call.spans[at],
                help="name the side alone",
            )
            return
    check_source(call, checks, model, source, into)


def check_source(
    call: Call,
    checks: Checks,
    model: Model,
    source: tuple[SourceTerm, str],
    into: tuple[Side, str],
) -> None:
    """What stands where an edge is out suits the side it is put in."""
    term, word = source
    if term.kind not in SOURCES or (term.kind == "mean" and term.per not in AVERAGES):
        checks.error(
            "E306",
            "an edge that is out has no such source",
            call.spans[word],
            label="it is set to a side, zero, a number, mean(SIDE), mean(SIDE, per=all) or "
            "resample(SIDE)",
        )
        return
    nodes = family("nodes", model.facts.shape) if model.facts else ()
    places = UnitSet(Explicit(tuple(Unit((node,)) for node in nodes or ())), model)
    checks.check_side(call, into[0], model, into[1])
    checks.check_at(call, Change(places, term, (), of_edges=True), into[0], (word, into[1]))


def check_among(call: Call, checks: Checks, step: Step) -> None:
    """The edges that are named are edges of the graph, and one that direct edges do not split, at
    positions that both sides have."""
    searched, model = step.searched, step.model
    if searched is None or searched.among is None or model is None:
        return
    placed = Change(UnitSet(searched.among, model), searched.source, (), of_edges=True)
    checks.check_at(call, placed, searched.into, ("from", "into"))
    named = [checks.step(name).searched for name in depends(searched.among)]
    if searched.direct or any(s is not None and s.direct for s in named):
        checks.error(
            "E306",
            "some of the edges cannot be chosen where there are direct ones",
            call.spans["objects"],
            label="an edge of a receiver that is cut off as a whole goes with it",
            help="search with direct=false",
        )
    graph = graph_of(model, searched)
    if graph is None or not isinstance(searched.among, Explicit):
        return
    from interp_dsl.models.routes import Routes  # numpy

    routes = Routes(graph, model.name)
    for unit in searched.among.units:
        try:
            routes.of(unit)
        except InterpError as problem:
            first = problem.diagnostics[0]
            checks.error(first.code, first.message, call.spans["objects"], help=first.help)
            return


def check_driver(call: Call, checks: Checks, first: Metric) -> None:
    """The first metric says what is worse."""
    if good(first.term) == 0:
        checks.error(
            "E306",
            f"`{first.name}` cannot drive a search",
            call.spans["measure"],
            label="is a large one better, or a small one?",
            help="put another metric first, such as kl() or logit_diff()",
        )
    method = call.one("by").method
    flat = [c.function for c in calls(first.term) if not METRICS[c.function].smooth]
    if flat and SEARCHES[method].learns:
        checks.error(
            "E306",
            f"`{flat[0]}` has no slope for `{method}` to learn from",
            call.spans["measure"],
            help="put a smooth metric first, such as kl() or logit_diff()",
        )
    _warn_of_denoising(call, checks, first)


def _warn_of_denoising(call: Call, checks: Checks, first: Metric) -> None:
    """What is taken out of the corrupt run brings the clean one's behaviour back, which no metric
    calls worse."""
    source, into, method = call.one("from"), call.one("into"), call.one("by")
    other: Side | None = source.side if source.kind == "side" else None
    if other is None or other.dataset is not into.dataset:
        return
    if (other.side, into.side) != ("clean", "corrupt"):
        return
    if method.by is not None or method.options.get("absolute"):
        return
    name = into.dataset.name
    counts = ", or count any change: absolute=true" if "absolute" in method.options else ""
    checks.warn(
        "W47",
        "this search keeps nothing that the behaviour needs",
        call.spans["from"],
        label=f"what is set to the clean side makes `{first.name}` better, and is not missed",
        help=f"search from {name}.corrupt into {name}.clean{counts}",
    )


def _check_ranking(call: Call, checks: Checks, step: Step, by: RankingTerm) -> None:
    """A ranking is of the very edges that are searched."""
    other = by.step
    if other.model is not step.model:
        checks.error(
            "E307",
            f"`{other.name}` ranks edges of another model",
            call.spans["by"],
            help="rank by a step of this model",
        )
    ranked, own = other.searched, step.searched
    if ranked is None or own is None:
        return
    if ranked.edges != own.edges or ranked.direct:
        checks.error(
            "E306",
            f"`{other.name}` ranks the edges of another graph",
            call.spans["by"],
            label="it has direct edges" if ranked.direct else "its edges are split otherwise",
            help="search the edges that were ranked, none of them direct",
        )


def _lower(call: Call, step: Step, lowering: Lowering) -> None:
    if step.result == "scores":
        return node_circuits.lower(call, step, lowering)
    method: SearchTerm = call.one("by")
    model, found, into = step.model, step.searched, call.one("into")
    assert model is not None and found is not None
    run, reference = lowering.run(into, model), lowering.reference(into, model)
    source = lowering.source(found.source, model, None)
    lowering.referred(step.metrics, reference)
    lowering.checks(into, model)
    graph, by = graph_of(model, found), method.by
    size = data_size(lowering.data.get((id(into.dataset), model.name)))
    counts = edge_counts(graph, found.among, model.name, size.width if size else None)
    if by is not None:
        lowering.require([by.step.name])
    if found.among is not None:
        lowering.require(depends(found.among))
    facts = SEARCHES[method.method]
    lowering.add(
        Search(
            f"search:{step.name}",
            step.name,
            run,
            source,
            found.edges,
            method.method,
            tuple(sorted((method.options | ({"direct": True} if found.direct else {})).items())),
            step.metrics,
            reference,
            method.thresholds,
            counts,
            facts.is_stepwise,
            None if counts is None else facts.passes(method.options, sum(counts)),
            None if by is None else _ranking(by),
            found.among,
            place=place_of(call.verb_span),
        )
    )


def _ranking(by: RankingTerm) -> ScoreOf | CircuitOf:
    if by.step.result == "circuit":
        return CircuitOf(by.step.name, () if by.threshold is None else (by.threshold,))
    return ScoreOf(by.step.name, by.metric, by.column)


def graph_of(model: Model, found: Searched | None) -> Graph | None:
    """The graph of a search, where the model's configuration is at hand."""
    from interp_dsl.models.graph import Graph

    if model.facts is None or found is None:
        return None
    return Graph(model.facts.shape, found.edges.split_qkv, found.edges.split_embed, found.direct)


def edge_units(graph: Graph, among: Units | None, name: str) -> Units:
    """The edges of a graph, or those among them that are known beforehand, as units that the
    language writes; else what chooses them."""
    if among is not None and not isinstance(among, Explicit):
        return among
    found, marked = _marked(graph, among.units if among else None, name)
    edges = (found.edges[number] for number in marked.nonzero()[0])
    return Explicit(tuple(unit_of(edge_name(*edge[:3]), edge.position) for edge in edges))


def edge_counts(
    graph: Graph | None, among: Units | None = None, name: str = "", width: int | None = None
) -> tuple[int, ...] | None:
    """How many edges, or of those among them, enter each layer, and the final residual at last;
    None where that is not known beforehand. `width`: of the prompts, for edges at each position."""
    if graph is None or not isinstance(among, Explicit | None):
        return None
    units = None if among is None else expand(among, lambda _: [], width)
    if units and any("each" in str(t.positions) for unit in units for t in unit.targets):
        return None
    found, marked = _marked(graph, units, name)
    entered = Counter(found.receiver_of[marked].tolist())
    counts = [0] * (graph.shape.n_layers + 1)
    for receiver, count in entered.items():
        layer = graph.group_of[receiver].layer
        counts[-1 if layer is None else layer] += count
    return tuple(counts)


def _marked(graph: Graph, among: Sequence[Unit] | None, name: str) -> tuple[Graph, Bools]:
    """Which edges of a graph [E] are among some, and that graph, at their positions where they have
    some; all where they are not named."""
    import numpy as np

    from interp_dsl.models.routes import Routes, by_position

    if among is None:
        return graph, np.ones(graph.n_edges, dtype=bool)
    found = by_position(graph, among)
    return found, Routes(found, name).marked(among)


VERB = Verb(
    "search",
    "Find the edges of the model's graph, or the places, that a task needs: its circuit.",
    Clause(
        "places",
        "the edges or places that are searched; all others stay in",
        required=True,
        many=True,
    ),
    {
        "by": Clause("search", "the method of the search", required=True),
        "from": Clause("source", "what stands where an edge or a place is out", required=True),
        "into": Clause("side", "the side whose run is searched", required=True),
        "measure": Clause(
            "metric", "the metrics; the first drives the search", required=True, many=True
        ),
        "under": Clause("context", "of places: what holds throughout", many=True),
        "at": Clause("positions", "at which positions; all at once when left out", many=True),
        "layers": Clause("int", "only edges between these layers, places of them", many=True),
        "where": Clause("units", "only those whose scores pass a test", many=True),
    },
    _check,
    _lower,
    "step circuit = search edges by acdc(threshold=0.02) from ioi.corrupt into ioi.clean "
    "measure kl()",
    refused={
        "along": (
            "an edge is in a circuit as a whole, or out of it",
            "measure edges along a direction: patch … along it",
        ),
        "using": (
            "an edge that is out changes all that lies behind it, through whatever edges are left",
            "measure edges with it: patch … using through=mlps",
        ),
    },
)
