"""`evaluate MODEL on DATA measure …`: the plain baseline, values only."""

from __future__ import annotations

from interp_dsl.plan.tasks import Evaluate, Variant
from interp_dsl.verbs.lowering import Lowering, place_of
from interp_dsl.verbs.signature import Checks, Clause, Verb
from interp_dsl.verbs.sweeps import MEASURING
from interp_dsl.verbs.values import Call, Context, Model, Side, Step


def _check(call: Call, checks: Checks) -> Step:
    side: Side = call.one("on")
    model: Model = call.objects[0]
    contexts: tuple[Context, ...] = call.clauses.get("under", ())
    step = Step(
        call.name,
        "evaluate",
        "scores",
        model,
        call.clauses["measure"],
        has_effect=False,
        contexts=tuple(c.name for c in contexts),
        n_rows=1,
    )
    checks.check_side(call, side, model, "on")
    checks.check_contexts(call, model, side, "on")
    checks.check_metrics(call, step, side)
    return step


def _lower(call: Call, step: Step, lowering: Lowering) -> None:
    side: Side = call.one("on")
    assert step.model is not None
    reference = lowering.reference(side, step.model)
    variants = []
    for context in call.clauses.get("under", ()) or (Context("", ()),):
        run = lowering.variant_run(side, context.changes, step.model)
        lowering.measured(run, step.metrics, reference)
        columns = (("under", context.name),) if context.name else ()
        variants.append(Variant(run, None, columns))
    lowering.checks(side, step.model)
    lowering.add(
        Evaluate(
            f"evaluate:{step.name}",
            step.name,
            tuple(variants),
            step.metrics,
            reference,
            place=place_of(call.verb_span),
        )
    )


VERB = Verb(
    "evaluate",
    "Measure a model on data, plain or under interventions.",
    Clause("model", "the model", required=True),
    {
        "on": Clause("data", "the data: a side, or the clean side of a pair", required=True),
        "where": Clause("data", "only the examples that pass a test"),
        "measure": Clause("metric", "the metrics", required=True, many=True),
        "under": MEASURING["under"],
    },
    _check,
    _lower,
    "step base = evaluate m on ioi measure accuracy(), logit_diff()",
)
