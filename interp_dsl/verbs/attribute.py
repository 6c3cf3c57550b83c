"""`attribute UNITS by METHOD from SOURCE into SIDE measure …`: what changes would do, estimated for
all of them at once from slopes instead of measured one at a time."""

from __future__ import annotations

from dataclasses import replace

from interp_dsl.plan.algebra import Explicit, Metric, MetricCall
from interp_dsl.plan.circuits import FEWEST_PATCHES
from interp_dsl.plan.expressions import CORRELATIONS
from interp_dsl.plan.metrics import METRICS, calls, needs
from interp_dsl.plan.places import ALL, Site, Target, Unit, telling
from interp_dsl.plan.tasks import Attribute, AttributeEdges, Variant
from interp_dsl.plan.units import depends
from interp_dsl.verbs import sweeps
from interp_dsl.verbs.estimates import ESTIMATES, Estimate
from interp_dsl.verbs.lowering import Lowering, place_of, sites
from interp_dsl.verbs.search import check_among, check_edges, edge_units, graph_of
from interp_dsl.verbs.signature import Checks, Clause, Verb
from interp_dsl.verbs.values import (
    Call,
    Change,
    Context,
    EdgeSet,
    EstimateTerm,
    Model,
    Searched,
    Side,
    SourceTerm,
    Step,
    UnitSet,
)

NODES = ("embed", "pos_embed", "head", "mlp_out")
EMBEDDED = Explicit((Unit((Target(Site("embed")),)),))
AN_EDGE = Explicit((Unit((Target(Site("edge", edge="embed -> logits")),)),))
NOTHING = SourceTerm("zero")


def _check(call: Call, checks: Checks) -> Step:
    places: EdgeSet | UnitSet = call.objects[0]
    term: EstimateTerm = call.one("by")
    method = ESTIMATES[term.method]
    model = checks.model_of(call)
    contexts: tuple[Context, ...] = call.clauses.get("under", ())
    step = Step(
        call.name,
        "attribute",
        "scores",
        model,
        call.clauses["measure"],
        lacks=("value",),
        more=("verified",) if term.verify else (),
        contexts=tuple(c.name for c in contexts),
        whole=CORRELATIONS if term.verify >= FEWEST_PATCHES and len(contexts) < 2 else (),
    )
    if not _suits(call, checks, method, places) or not _says_where(call, checks, method):
        return step
    word = "into" if method.has_source else "on"
    into: Side = call.one(word)
    _check_under(call, checks, method, places, word)
    _check_along(call, checks, method, term)
    if isinstance(places, EdgeSet):
        step = _with_edges(call, checks, step, places)
    else:
        step = _with_units(call, checks, step, method, places)
    checks.check_metrics(call, step, into)
    checks.check_tokens(call, step, into)
    for metric in step.metrics:
        _check_slope(call, checks, metric, method.at_clean(term.options), into)
    return step


def _suits(call: Call, checks: Checks, method: Estimate, places: EdgeSet | UnitSet) -> bool:
    """Whether the method is one for these places."""
    name = method.function.name
    if (method.of == "edges") == isinstance(places, EdgeSet):
        return True
    others = [n for n, e in ESTIMATES.items() if (e.of == "edges") != (method.of == "edges")]
    checks.error(
        "E306",
        f"`{name}` estimates {'edges' if method.of == 'edges' else 'places, not edges'}",
        call.spans["objects"],
        help=f"write attribute edges by {name}(…), or for places {', '.join(others)}"
        if method.of == "edges"
        else f"for edges take one of {', '.join(others)}",
    )
    return False


def _says_where(call: Call, checks: Checks, method: Estimate) -> bool:
    """Whether the clauses that the method asks for stand, and no others."""
    wanted = ("from", "into") if method.has_source else ("on",)
    missing = [word for word in wanted if word not in call.clauses]
    extra = [w for w in ("from", "into", "on") if w in call.clauses and w not in wanted]
    name = method.function.name
    for word in missing:
        checks.error(
            "E303",
            f"`{name}` needs `{word}`",
            call.spans["by"],
            help="write from DATASET.corrupt into DATASET.clean"
            if method.has_source
            else "write on DATASET.clean: it looks at one run alone",
        )
    for word in extra:
        checks.error("E304", f"`{name}` takes no `{word}`", call.spans[word])
    return not missing and not extra


def _check_under(
    call: Call, checks: Checks, method: Estimate, places: EdgeSet | UnitSet, word: str
) -> None:
    """What holds throughout is known to slopes of places alone."""
    into: Side = call.one(word)
    at = word if into.under else "under"
    if at not in call.clauses or (at == word and not into.under):
        return
    if method.first_order and not isinstance(places, EdgeSet):
        checks.check_contexts(call, checks.model_of(call), into, word)
        return
    checks.error(
        "E306",
        f"`{method.function.name}` estimates in a run without interventions",
        call.spans[at],
        help="estimate places by atp() or ig(), or measure the units under it: patch … under cut",
    )


def _check_along(call: Call, checks: Checks, method: Estimate, term: EstimateTerm) -> None:
    """A direction is one of the change itself, not of a path."""
    if "along" not in call.clauses:
        return
    if not method.has_source:
        checks.error(
            "E306",
            f"`{term.method}` looks at one run, and changes nothing in any direction",
            call.spans["along"],
            help="leave `along` out",
        )
    elif term.options.get("at") in ("inputs", "activations") or term.method == "clean_corrupt":
        checks.error(
            "E306",
            f"`{term.method}` takes slopes on a path that is no part of the change, which `along` "
            "is told of",
            call.spans["along"],
            help="take atp() or ig(at=site), or of edges eap()",
        )


def _with_edges(call: Call, checks: Checks, step: Step, edges: EdgeSet) -> Step:
    source, into, model = call.one("from"), call.one("into"), step.model
    assert model is not None
    if model.spec["kind"] == "python":
        checks.error(
            "E306",
            "a model made by Python code has no edges to attribute to",
            call.spans["objects"],
            label="its inner workings are not known",
            help="name a model by its weights: checkpoint(…), weights(…)",
        )
    check_edges(call, checks, model, (source, "from"), (into, "into"))
    along = call.clauses.get("along", ())
    if along:
        change = Change(UnitSet(AN_EDGE, model), source, along, of_edges=True)
        checks.check_change(call, change, "from", "into")
    step = replace(step, searched=Searched(into, source, edges.edges, False, edges.among))
    check_among(call, checks, step)
    graph = graph_of(model, step.searched)
    if graph is None:
        return replace(step, units=edges.among)
    units = edge_units(graph, edges.among, model.name)
    n_rows = checks.count(units, model, into)
    return replace(step, units=units, n_rows=n_rows)


def _with_units(call: Call, checks: Checks, step: Step, method: Estimate, units: UnitSet) -> Step:
    source: SourceTerm = call.one("from") or NOTHING
    into: Side = call.one("into") or call.one("on")
    model = step.model
    assert model is not None
    change = Change(replace(units, model=model), source, call.clauses.get("along", ()))
    found = checks.sites(units.units)
    if any(site.others for site in found):
        checks.error(
            "E306",
            "what features of a crosscoder would do is not estimated",
            call.spans["objects"],
            label="they write at several places",
            help="change them: ablate … with zero",
        )
    has_features = any(site.feature for site in found)
    if has_features and not method.first_order:
        checks.error(
            "E306",
            f"`{call.one('by').method}` looks at places of the model itself, not at features",
            call.spans["objects"],
            help="take atp() or ig()",
        )
    if method.has_source:
        _check_change(call, checks, change, model)
    else:
        checks.check_side(call, into, model, "on")
    if method.of == "nodes":
        _check_nodes(call, checks, change)
    n_rows = checks.count(units.units, model, into)
    return replace(step, units=units.units, change=change, n_rows=n_rows)


def _check_change(call: Call, checks: Checks, change: Change, model: Model) -> None:
    term: EstimateTerm = call.one("by")
    sweeps.check_places(call, checks, change, "from")
    if change.source.kind == "blocked":
        checks.error(
            "E306",
            "what blocking does is not estimated",
            call.spans["from"],
            label="it acts before the softmax, where no value is changed",
            help="patch or ablate the patterns",
        )
    checks.check_change(call, change, "from", "into")
    if term.options.get("at") == "inputs":
        embedded = Change(UnitSet(EMBEDDED, model), change.source, ())
        checks.check_at(call, embedded, call.one("into"), ("from", "into"))


def _check_nodes(call: Call, checks: Checks, change: Change) -> None:
    """The places are whole writers to the residual stream."""
    name, units = call.one("by").method, change.units.units
    kinds = {site.kind for site in checks.sites(units)}
    explicit = units.units if isinstance(units, Explicit) else ()
    somewhere = any(t.positions != ALL for unit in explicit for t in unit.targets)
    if kinds <= {*NODES} and not somewhere:
        return
    checks.error(
        "E306",
        f"`{name}` looks at whole heads, MLPs and embeddings",
        call.spans["objects"],
        help=f"write attribute nodes by {name}(…), without `at`",
    )


def _check_slope(call: Call, checks: Checks, metric: Metric, at_clean: bool, into: Side) -> None:
    """A metric has a slope, and one that is not 0 for all."""
    flat = [c.function for c in calls(metric.term) if not METRICS[c.function].smooth]
    if flat:
        checks.error(
            "E306",
            f"`{flat[0]}` has no slope to estimate from",
            call.spans["measure"],
            help="measure logit_diff(), logprob() or kl()",
        )
    is_distance = isinstance(metric.term, MetricCall) and "reference" in needs(metric.term)
    is_reference = into.is_default or into.side == into.dataset.first_side
    if is_distance and is_reference and at_clean:
        checks.error(
            "E306",
            f"the slope of `{metric.name}` is 0 where it is measured from",
            call.spans["measure"],
            label="every estimate would be 0",
            help="take a method with a path, eap_ig() or ig(), or measure logit_diff()",
        )


def _lower(call: Call, step: Step, lowering: Lowering) -> None:
    term: EstimateTerm = call.one("by")
    model = step.model
    assert model is not None
    into: Side = call.one("into") or call.one("on")
    source: SourceTerm = call.one("from") or NOTHING
    contexts: tuple[Context, ...] = call.clauses.get("under", ()) or (Context("", ()),)
    reference = lowering.reference(into, model)
    runs = [lowering.variant_run(into, context.changes, model) for context in contexts]
    other = None
    if source.kind == "side" and source.side is not None and source.side != into:
        other = lowering.run(source.side, model)
    options = tuple(sorted(term.options.items()))
    variant, *more = (
        Variant(run, other, (("under", context.name),) if context.name else ())
        for run, context in zip(runs, contexts, strict=True)
    )
    what = (f"attribute:{step.name}", step.name, variant)
    about = (*what, term.method, options, step.metrics, reference)
    task: Attribute | AttributeEdges
    if step.change is not None:
        intervention = lowering.intervention(step.change, model, into)
        own = telling(sites(step.change.units.units, lowering.steps))
        for run in runs if own else ():
            lowering.forward(run, own)
        if term.options.get("at") == "inputs":
            lowering.source(source, model, (Site("embed"),))
        task = Attribute(*about, intervention)
    else:
        assert step.searched is not None
        found = lowering.source(source, model, None)
        edges, among = step.searched.edges, step.searched.among
        lowering.require(() if among is None else depends(among))
        along = tuple(lowering.vector(v, model) for v in call.clauses.get("along", ()))
        task = AttributeEdges(*about, found, edges, step.n_rows, among, along)
    for one in (*runs, other):
        if one is not None:
            lowering.measured(one, step.metrics, reference)
    lowering.checks(into, model)
    place = place_of(call.verb_span)
    lowering.add(replace(task, verify=term.verify, more=tuple(more), place=place))


VERB = Verb(
    "attribute",
    "Estimate what changing each unit would do, from slopes, for all of them at once.",
    Clause("places", "the units, or edges", required=True, many=True),
    {
        "by": Clause("estimate", "the method", required=True),
        "from": Clause("source", "what a unit would be changed to"),
        "into": Clause("side", "the side that would be changed and measured"),
        "on": Clause("side", "the side that is looked at, by a method without a source"),
        "measure": Clause("metric", "the metrics", required=True, many=True),
        "along": Clause("vector", "only the component in the span of these", many=True),
        "under": sweeps.MEASURING["under"],
        **sweeps.NARROWING,
    },
    _check,
    _lower,
    "step quick = attribute heads by atp() from ioi.corrupt into ioi.clean measure logit_diff()",
)
