"""What `patch` and `ablate` share: one intervention, one unit at a time, and its measure."""

from __future__ import annotations

from dataclasses import replace

from interp_dsl.plan.places import HEAD_SITES
from interp_dsl.plan.tasks import Sweep, Variant
from interp_dsl.plan.units import depends
from interp_dsl.verbs.lowering import Lowering, place_of, sites
from interp_dsl.verbs.signature import Checks, Clause
from interp_dsl.verbs.values import Call, Change, Context, Side, SourceTerm, Step, UnitSet

NARROWING = {
    "at": Clause("positions", "at which positions; all at once when left out", many=True),
    "layers": Clause("int", "only units of these layers", many=True),
    "where": Clause("units", "only units whose scores pass a test", many=True),
}
MEASURING = {
    "measure": Clause("metric", "the metrics; without it the step is an intervention", many=True),
    "under": Clause("context", "interventions that hold throughout, one run each", many=True),
    "along": Clause("vector", "change only the component in the span of these", many=True),
}


def check(call: Call, checks: Checks, source_word: str, into_word: str) -> Step:
    """The step of a sweep, its parts tested against each other."""
    units: UnitSet = call.objects[0]
    source: SourceTerm = call.one(source_word)
    into: Side | None = call.one(into_word)
    metrics = call.clauses.get("measure", ())
    model = checks.model_of(call)
    change = Change(replace(units, model=model), source, call.clauses.get("along", ()))
    contexts: tuple[Context, ...] = call.clauses.get("under", ())
    result = "scores" if metrics else "intervention"
    step = Step(
        call.name, call.verb, result, model,
        metrics, units.units, change, True, tuple(c.name for c in contexts),
    )
    _check_source(call, checks, source, units, source_word)
    if metrics and into is None:
        checks.error(
            "E303", f"`{step.verb}` with `measure` needs `{into_word}`", call.verb_span,
            label="on which side is it measured?",
            help=f"add {into_word} DATASET.clean",
        )
        return step
    if metrics and into is not None:
        checks.check_metrics(call, step, into)
        checks.check_sweep(call, step, into, source.side)
    return step


def _check_source(
    call: Call, checks: Checks, source: SourceTerm, units: UnitSet, word: str
) -> None:
    kinds = {s.kind for s in sites(units.units, {})} if not depends(units.units) else set()
    if source.kind == "blocked" and kinds - {"pattern"}:
        checks.error(
            "E306", "only attention patterns can be blocked", call.spans[word],
            label="takes entries out before the softmax",
            help="name patterns: ablate patterns at S2 -> END with blocked",
        )
    if "logits" in kinds:
        checks.error("E306", "the logits cannot be changed", call.spans["objects"],
                     label="nothing comes after them")
    if call.clauses.get("along") and kinds & {"pattern", "neuron"}:
        checks.error(
            "E306", "`along` needs places that hold vectors", call.spans["along"],
            help=f"use a residual stream or one of {', '.join(HEAD_SITES[:4])}",
        )


def lower(call: Call, step: Step, lowering: Lowering, into_word: str) -> None:
    """Tasks: the forward passes it needs, then the sweep."""
    if step.result != "scores" or step.model is None or step.change is None:
        return
    into: Side = call.one(into_word)
    contexts: tuple[Context, ...] = call.clauses.get("under", ())
    model, source = step.model, step.change.source
    intervention = lowering.intervention(step.change, model, into)
    other = (
        lowering.run(source.side, model)
        if source.kind == "side" and source.side is not None and source.side != into
        else None
    )
    reference = lowering.reference(into, model)
    variants = []
    for context in contexts or (Context("", ()),):
        run = lowering.variant_run(into, context.changes, model)
        lowering.measured(run, step.metrics, reference)
        columns = (("under", context.name),) if contexts else ()
        variants.append(Variant(run, other, columns))
    if other is not None:
        lowering.measured(other, step.metrics, reference)
    lowering.checks(into, model)
    lowering.add(
        Sweep(
            f"sweep:{step.name}", step.name, tuple(variants), intervention, step.metrics,
            reference, place=place_of(call.verb_span),
        )
    )
