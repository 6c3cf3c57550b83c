"""`search edges by METHOD from SOURCE into SIDE measure …`: circuit discovery.

An edge that is out carries what its source was in another run, or its mean, or zero (Conmy et al.
2023, arXiv 2304.14997)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interp_dsl.models.sites import family
from interp_dsl.plan.algebra import Explicit, ScoreOf
from interp_dsl.plan.metrics import METRICS, calls, good
from interp_dsl.plan.names import edge_name
from interp_dsl.plan.places import Site, Target, Unit
from interp_dsl.plan.tasks import CircuitOf, Search
from interp_dsl.verbs.lowering import Lowering, place_of
from interp_dsl.verbs.methods import SEARCHES
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
    from interp_dsl.models.graph import Graph

SOURCES = ("side", "zero", "constant", "mean", "resample")
AVERAGES = ("position", "all")


def _check(call: Call, checks: Checks) -> Step:
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
        searched=Searched(into, source, edges.edges, bool(method.options.get("direct", False))),
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
    _check_driver(call, checks, step)
    if method.by is not None:
        _check_ranking(call, checks, step, method.by)
    return step


def check_edges(
    call: Call,
    checks: Checks,
    model: Model,
    source: tuple[SourceTerm, str],
    into: tuple[Side, str],
) -> None:
    """What stands where an edge is out suits the side it is put in. Each with its clause's word."""
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
    for side, at in ((into[0], into[1]), (term.side, word)):
        if side is not None and side.under:
            checks.error(
                "E306",
                "edges are taken out of a run without interventions",
                call.spans[at],
                help="name the side alone",
            )
            return
    nodes = family("nodes", model.facts.shape) if model.facts else ()
    places = UnitSet(Explicit(tuple(Unit((node,)) for node in nodes or ())), model)
    checks.check_side(call, into[0], model, into[1])
    checks.check_at(call, Change(places, term, ()), into[0], (word, into[1]))


def _check_driver(call: Call, checks: Checks, step: Step) -> None:
    """The first metric says what is worse."""
    first = step.metrics[0]
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
    method: SearchTerm = call.one("by")
    model, found, into = step.model, step.searched, call.one("into")
    assert model is not None and found is not None
    run, reference = lowering.run(into, model), lowering.reference(into, model)
    source = lowering.source(found.source, model, None)
    lowering.referred(step.metrics, reference)
    lowering.checks(into, model)
    by, counts = method.by, edge_counts(graph_of(model, found))
    if by is not None:
        lowering.require([by.step.name])
    facts = SEARCHES[method.method]
    lowering.add(
        Search(
            f"search:{step.name}",
            step.name,
            run,
            source,
            found.edges,
            method.method,
            tuple(sorted(method.options.items())),
            step.metrics,
            reference,
            method.thresholds,
            counts,
            facts.is_stepwise,
            None if counts is None else facts.passes(method.options, sum(counts)),
            None if by is None else _ranking(by),
            place=place_of(call.verb_span),
        )
    )


def _ranking(by: RankingTerm) -> ScoreOf | CircuitOf:
    if by.step.result == "circuit":
        return CircuitOf(by.step.name, () if by.threshold is None else (by.threshold,))
    return ScoreOf(by.step.name, by.metric, by.column)


def graph_of(model: Model, found: Searched) -> Graph | None:
    """The graph of a search, where the model's configuration is at hand."""
    from interp_dsl.models.graph import Graph

    if model.facts is None:
        return None
    return Graph(model.facts.shape, found.edges.split_qkv, found.edges.split_embed, found.direct)


def edge_units(graph: Graph) -> Explicit:
    """All edges of a graph, as units that the language writes."""
    names = (edge_name(*edge) for edge in graph.edges)
    return Explicit(tuple(Unit((Target(Site("edge", edge=name)),)) for name in names))


def edge_counts(graph: Graph | None) -> tuple[int, ...] | None:
    """How many edges enter each layer, and the final residual at last."""
    if graph is None:
        return None
    layers = graph.shape.n_layers
    counts = [0] * (layers + 1)
    for group in graph.groups:
        direct = graph.direct_edges(group)
        layer = layers if group.layer is None else group.layer
        counts[layer] += group.members * group.senders + (group.members if direct else 0)
    return tuple(counts)


VERB = Verb(
    "search",
    "Find the edges of the model's graph that a task needs: its circuit.",
    Clause("edges", "the edges: edges", required=True),
    {
        "by": Clause("search", "the method of the search", required=True),
        "from": Clause("source", "what stands where an edge is out", required=True),
        "into": Clause("side", "the side whose run is searched", required=True),
        "measure": Clause(
            "metric", "the metrics; the first drives the search", required=True, many=True
        ),
    },
    _check,
    _lower,
    "step circuit = search edges by acdc(threshold=0.02) from ioi.corrupt into ioi.clean "
    "measure kl()",
)
