"""`search NODES by METHOD from SOURCE into SIDE measure …`, and `evaluate` of what it finds:
circuits of nodes, of which all that are out are changed at once (Marks et al. 2024, arXiv
2403.19647)."""

from __future__ import annotations

from dataclasses import replace

from interp_dsl.plan.algebra import (
    Filtered,
    Finding,
    Intervention,
    Literal,
    Metric,
    Operation,
    ScoreOf,
    Units,
)
from interp_dsl.plan.node_circuits import EvaluateNodes, SearchNodes
from interp_dsl.plan.places import telling
from interp_dsl.plan.tasks import Variant
from interp_dsl.verbs import sweeps
from interp_dsl.verbs.evidence import FINDINGS
from interp_dsl.verbs.judging import warn_of_same
from interp_dsl.verbs.lowering import Lowering, place_of, sites
from interp_dsl.verbs.methods import SEARCHES
from interp_dsl.verbs.signature import Checks
from interp_dsl.verbs.values import (
    Call,
    Change,
    FindingTerm,
    Model,
    SearchTerm,
    Side,
    SourceTerm,
    Step,
    UnitSet,
)

KEPT = "kept"
OF_EDGES = {"direct": False, "dead": True, "start": "measured"}
"""What ACDC over edges may be told, and what of it holds of nodes, which have none."""


def check(call: Call, checks: Checks, units: UnitSet) -> Step:
    """The checked step of a search of nodes."""
    method: SearchTerm = call.one("by")
    source: SourceTerm = call.one("from")
    into: Side = call.one("into")
    model = checks.model_of(call)
    if source.kind == "times":
        source = replace(source, side=into)
    change = Change(replace(units, model=model), source, ())
    sweeps.check_places(call, checks, change, "from")
    checks.check_joined(call, units.units)
    checks.check_change(call, change, "from", "into")
    step = Step(
        call.name,
        "search",
        "scores",
        model,
        call.clauses["measure"][:1],
        units=units.units,
        change=change,
        learned_from=into,
        lacks=("normalized",),
        n_rows=checks.count(units.units, model, into),
    )
    _check_context(call, checks, model, into, "into")
    checks.check_metrics(call, replace(step, metrics=call.clauses["measure"]), into)
    _check_method(call, checks, method)
    if method.by is not None and method.by.step.model is not model:
        checks.error(
            "E307",
            f"`{method.by.step.name}` ranks nodes of another model",
            call.spans["by"],
            help="rank by a step of this model",
        )
    return step


def _check_context(call: Call, checks: Checks, model: Model, side: Side, word: str) -> None:
    """What holds throughout is one thing, and of this model."""
    if len(call.clauses.get("under", ())) > 1:
        checks.error(
            "E306",
            "a circuit of nodes is of one run",
            call.spans["under"],
            label="these are several",
            help="write a step for each, or under together(A, B)",
        )
    checks.check_contexts(call, model, side, word)


def _check_method(call: Call, checks: Checks, method: SearchTerm) -> None:
    name = method.method
    if "nodes" not in SEARCHES[name].of:
        others = [n for n, m in SEARCHES.items() if "nodes" in m.of]
        checks.error(
            "E306",
            f"`{name}` goes over edges, and these are places",
            call.spans["by"],
            help=f"for places take one of {', '.join(others)}",
        )
    if any(method.options.get(word, given) != given for word, given in OF_EDGES.items()):
        checks.error(
            "E306",
            f"this is for `{name}` over edges",
            call.spans["by"],
            label="`preset`, `direct`, `dead` and `start` are",
            help="leave it out",
        )
    if len(method.thresholds) > 1:
        checks.error(
            "E306",
            "a search of nodes takes one threshold",
            call.spans["by"],
            help="write a step for each",
        )


def lower(call: Call, step: Step, lowering: Lowering) -> None:
    """Tasks: what runs before, the search."""
    method: SearchTerm = call.one("by")
    metrics, by = call.clauses["measure"], method.by
    assert step.change is not None and step.model is not None
    into: Side = call.one("into")
    variant, intervention = _prepared(call, step, into, metrics, lowering)
    if by is not None:
        lowering.require([by.step.name])
    n, trials = step.n_rows, SEARCHES[method.method].trials
    lowering.add(
        SearchNodes(
            f"search:{step.name}",
            step.name,
            variant,
            method.method,
            tuple(sorted((k, v) for k, v in method.options.items() if k not in OF_EDGES)),
            metrics,
            lowering.reference(into, step.model),
            intervention,
            by=None if by is None else ScoreOf(by.step.name, by.metric, by.column),
            circuits=None if n is None else 2 + trials(method.options, n),
            place=place_of(call.verb_span),
        )
    )


def _prepared(
    call: Call, step: Step, into: Side, metrics: tuple[Metric, ...], lowering: Lowering
) -> tuple[Variant, Intervention]:
    """The run that is searched or evaluated and what is changed in it, their passes asked for."""
    model, change = step.model, step.change
    assert model is not None and change is not None
    intervention = lowering.intervention(change, model, into)
    holds = tuple(c for context in call.clauses.get("under", ()) for c in context.changes)
    run, reference = lowering.variant_run(into, holds, model), lowering.reference(into, model)
    own = telling(sites(change.units.units, lowering.steps))
    if own:
        lowering.forward(run, own)
    lowering.measured(run, metrics, reference)
    lowering.checks(into, model)
    return Variant(run, None), intervention


def kept(step: Step) -> Units:
    """The units that a search of nodes leaves in."""
    assert step.units is not None
    test = Operation("==", (ScoreOf(step.name, step.metrics[0].name, KEPT), Literal(True)))
    return Filtered(step.units, test)


# ---- evaluate


def check_evaluated(call: Call, checks: Checks, search: Step) -> Step:
    """The checked step of an evaluated circuit of nodes."""
    model, change, found = search.model, search.change, search.learned_from
    assert model is not None and change is not None and found is not None
    side: Side = call.one("on")
    if side.is_default and found.side in side.dataset.sides:
        side = Side(side.dataset, found.side)
    source = _source(call, checks, change.source, side)
    change = replace(change, source=source)
    findings = tuple(
        finding
        for term in call.clauses["measure"]
        if (finding := _finding(call, checks, term, search)) is not None
    )
    word = "with" if "with" in call.clauses else "on"
    sweeps.check_places(call, checks, change, word)
    checks.check_at(call, change, side, (word, "on"))
    by_node = any(f.function == "minimality" for f in findings)
    step = Step(
        call.name,
        "evaluate",
        "scores",
        model,
        tuple(f.metric for f in findings),
        units=kept(search) if by_node else None,
        change=change,
        learned_from=side,
        has_effect=False,
        lacks=("effect",),
        findings=findings,
        n_rows=1,
    )
    _check_context(call, checks, model, side, "on")
    checks.check_metrics(call, step, side)
    warn_of_same(
        call,
        checks,
        (side, found),
        model,
        "the circuit is measured on prompts that it was found on",
        "search",
        "search one part and evaluate on another",
    )
    return step


def _source(call: Call, checks: Checks, source: SourceTerm, side: Side) -> SourceTerm:
    """What nodes that are out are set to: what `with` says, else what the search had; of a side,
    that of the data evaluated."""
    given: SourceTerm | None = call.one("with")
    if given is not None:
        return replace(given, side=side) if given.kind == "times" else given
    if source.kind != "side" or source.side is None or source.side.dataset is side.dataset:
        return source
    if source.side.side not in side.dataset.sides:
        checks.error(
            "E303",
            f"`{call.verb}` needs `with` here",
            call.verb_span,
            label=f"the circuit was found with `{source.side.side}` where a node is out, and "
            f"`{side.dataset.name}` has no such side",
            help="say what stands there: with zero",
        )
        return SourceTerm("zero")
    return replace(source, side=Side(side.dataset, source.side.side))


def _finding(call: Call, checks: Checks, term: FindingTerm, search: Step) -> Finding | None:
    found = None if term.function is None else FINDINGS.get(term.function)
    if term.function is not None and (found is None or not found.of_nodes):
        known = [name for name, one in FINDINGS.items() if one.of_nodes]
        checks.error(
            "E306",
            f"`{term.name}` is not measured of a circuit of nodes",
            call.spans["measure"],
            help=f"measure {', '.join(known)}, or metrics",
        )
        return None
    metric = term.metric or search.metrics[0]
    named = replace(metric, name=term.name)
    return Finding(term.name, named, term.function, term.arguments)


def lower_evaluated(call: Call, step: Step, lowering: Lowering, search: Step) -> None:
    """Tasks: the search, what runs before, the evaluation."""
    side = step.learned_from
    assert step.change is not None and step.model is not None and side is not None
    lowering.require([search.name])
    variant, intervention = _prepared(call, step, side, step.metrics, lowering)
    n = search.n_rows
    held = [(FINDINGS[f.function], dict(f.arguments)) for f in step.findings if f.function]
    lowering.add(
        EvaluateNodes(
            f"evaluate:{step.name}",
            step.name,
            variant,
            step.findings,
            lowering.reference(side, step.model),
            intervention,
            kept(search),
            circuits=None if n is None else 2 + sum(one.circuits(given, n) for one, given in held),
            place=place_of(call.verb_span),
        )
    )
