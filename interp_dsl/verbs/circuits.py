"""`evaluate CIRCUIT on DATA measure …`: how good a circuit is."""

from __future__ import annotations

from dataclasses import replace

from interp_dsl.plan.algebra import Edges, Finding, Metric, OfCircuit, Units
from interp_dsl.plan.tasks import CircuitFile, CircuitOf, EvaluateCircuit
from interp_dsl.verbs.evidence import FINDINGS, Evidence
from interp_dsl.verbs.judging import MEASURES, warn_of_same
from interp_dsl.verbs.lowering import Lowering, place_of
from interp_dsl.verbs.search import check_edges, edge_counts, graph_of
from interp_dsl.verbs.signature import Checks
from interp_dsl.verbs.values import Call, CircuitTerm, Searched, Side, SourceTerm, Step


def check(call: Call, checks: Checks, circuit: CircuitTerm) -> Step:
    """The checked step of an evaluated circuit."""
    model = checks.only_model(call) if circuit.step is None else circuit.step.model
    assert model is not None
    if "under" in call.clauses:
        checks.error(
            "E306",
            "a circuit is measured without interventions",
            call.spans["under"],
            help="evaluate the model under them instead",
        )
    searched = circuit.step.searched if circuit.step is not None else None
    side, source = _side(call, searched), _source(call, checks, searched)
    findings = _findings(call, checks, circuit)
    told = [FINDINGS[f.function] for f in findings if f.function is not None]
    step = Step(
        call.name,
        "evaluate",
        "scores",
        model,
        tuple(f.metric for f in findings),
        units=_edges(circuit) if any(one.by_edge for one in told) else None,
        has_effect=False,
        lacks=("effect",),
        thresholds=circuit.thresholds if len(circuit.thresholds) > 1 else (),
        findings=findings,
        shared=tuple(one.function.name for one in told if one.is_shared),
        n_rows=1,
    )
    for one in told:
        _check_evidence(call, checks, circuit, one, source)
    if any(dict(f.arguments).get("errors", "found") != "found" for f in findings):
        checks.error(
            "E306",
            "a circuit of edges holds no errors of dictionaries",
            call.spans["measure"],
            help="leave `errors` out",
        )
    if source is not None:
        word = "with" if "with" in call.clauses else "on"
        check_edges(call, checks, model, (source, word), (side, "on"))
        edges = searched or Searched(side, source, Edges(), False)
        step = replace(step, searched=replace(edges, into=side, source=source))
    checks.check_metrics(call, step, side)
    checks.check_tokens(call, step, side)
    if searched is not None:
        warn_of_same(
            call,
            checks,
            (side, searched.into),
            model,
            "the circuit is measured on prompts that it was found on",
            "search",
            "search one part and evaluate on another",
        )
    return step


def _edges(circuit: CircuitTerm) -> Units | None:
    """The edges that have rows of their own."""
    if circuit.step is None:
        return None
    several = circuit.thresholds[0] if circuit.step.thresholds else None
    return OfCircuit(circuit.step.name, "edges", several)


def _check_evidence(
    call: Call, checks: Checks, circuit: CircuitTerm, one: Evidence, source: SourceTerm | None
) -> None:
    """What a finding asks of the circuit and of its source."""
    name = one.function.name
    searched = circuit.step.searched if circuit.step is not None else None
    if one.refuses_direct and (circuit.direct or (searched is not None and searched.direct)):
        checks.error(
            "E306",
            f"`{name}` is not told of a graph with direct edges",
            call.spans["measure"],
            help="search with direct=false",
        )
    if one.needs_side and source is not None and source.kind != "side":
        checks.error(
            "E306",
            f"`{name}` shuffles what examples of another side had",
            call.spans["measure"],
            label="an edge that is out carries no side here",
            help="evaluate with DATASET.corrupt",
        )


def _findings(call: Call, checks: Checks, circuit: CircuitTerm) -> tuple[Finding, ...]:
    """What is measured, each of a metric: its own, or the one that drove the search."""
    found = []
    for term in call.clauses["measure"]:
        if term.function in MEASURES:
            checks.error(
                "E306",
                f"`{term.name}` is measured of a dictionary, and this is a circuit",
                call.spans["measure"],
            )
            continue
        if circuit.step is None and term.function and FINDINGS[term.function].is_shared:
            checks.error(
                "E306",
                f"`{term.name}` is told of a search's circuits",
                call.spans["measure"],
                label="this circuit is a file's",
                help="evaluate the step of a search, which may have several thresholds",
            )
            continue
        driver = circuit.step.metrics[0] if circuit.step is not None else None
        metric: Metric | None = term.metric or driver
        if metric is None:
            checks.error(
                "E301",
                f"`{term.name}` needs a metric here",
                call.spans["measure"],
                label="the circuit is a file's, and no search of this text",
                help=f"write {term.name}(kl())",
            )
            continue
        named = replace(metric, name=term.name)
        found.append(Finding(term.name, named, term.function, term.arguments))
    return tuple(found)


def _side(call: Call, searched: Searched | None) -> Side:
    """The side that is evaluated: of a pair's bare name, the one that was searched."""
    side: Side = call.one("on")
    if not side.is_default or searched is None or searched.into.side not in side.dataset.sides:
        return side
    return Side(side.dataset, searched.into.side)


def _source(call: Call, checks: Checks, searched: Searched | None) -> SourceTerm | None:
    """What stands where an edge is out: what `with` says, else what the search had there; of a
    side, that of the data evaluated. None where there is none, which has been reported."""
    given: SourceTerm | None = call.one("with")
    if given is not None:
        return given
    if searched is None:
        checks.error(
            "E303",
            "a circuit of a file needs `with`",
            call.verb_span,
            label="what stands where an edge is out?",
            help="add with DATASET.corrupt, or with zero",
        )
        return None
    source, data = searched.source, call.one("on").dataset
    if source.kind != "side" or source.side is None or source.side.dataset is data:
        return source
    if source.side.side not in data.sides:
        checks.error(
            "E303",
            f"`{call.verb}` needs `with` here",
            call.verb_span,
            label=f"the circuit was found with `{source.side.side}` where an edge is out, and "
            f"`{data.name}` has no such side",
            help="say what stands there: with zero, with mean(SIDE)",
        )
        return None
    return replace(source, side=Side(data, source.side.side))


def _measures(step: Step, n_edges: int) -> int:
    """How many circuits the findings measure beside the one in question, at most."""
    held = [(FINDINGS[f.function], dict(f.arguments)) for f in step.findings if f.function]
    return sum(one.circuits(given, n_edges) for one, given in held)


def lower(call: Call, step: Step, lowering: Lowering, circuit: CircuitTerm) -> None:
    """Tasks: what the search left, the reference, the evaluation."""
    model, found = step.model, step.searched
    assert model is not None and found is not None
    origin: CircuitOf | CircuitFile = CircuitFile(str(circuit.path), circuit.sha256)
    counts = None
    if circuit.step is not None:
        lowering.require([circuit.step.name])
        origin = CircuitOf(circuit.step.name, circuit.thresholds)
        counts = edge_counts(graph_of(model, found))
    run, reference = lowering.run(found.into, model), lowering.reference(found.into, model)
    source = lowering.source(found.source, model, None)
    lowering.referred(step.metrics, reference)
    lowering.checks(found.into, model)
    lowering.add(
        EvaluateCircuit(
            f"evaluate:{step.name}",
            step.name,
            origin,
            run,
            source,
            step.findings,
            reference,
            None if counts is None else sum(counts),
            0 if counts is None else _measures(step, sum(counts)),
            place=place_of(call.verb_span),
        )
    )
