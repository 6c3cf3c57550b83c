"""`evaluate MODEL on DATA measure …`: the plain baseline, values only;
`evaluate CIRCUIT on DATA measure …`: how good a circuit is; and
`evaluate DICTIONARY on DATA measure …`: how well a dictionary does."""

from __future__ import annotations

from interp_dsl.plan.tasks import Evaluate, Variant
from interp_dsl.verbs import circuits, judging, node_circuits
from interp_dsl.verbs.lowering import Lowering, place_of
from interp_dsl.verbs.signature import Checks, Clause, Verb
from interp_dsl.verbs.sweeps import MEASURING
from interp_dsl.verbs.values import (
    Call,
    CircuitTerm,
    Context,
    DictionaryTerm,
    FindingTerm,
    Model,
    Side,
    Step,
)


def _check(call: Call, checks: Checks) -> Step:
    if isinstance(call.objects[0], CircuitTerm):
        found = call.objects[0].step
        if found is not None and found.result == "scores":
            return node_circuits.check_evaluated(call, checks, found)
        return circuits.check(call, checks, call.objects[0])
    if isinstance(call.objects[0], DictionaryTerm):
        return judging.check(call, checks, call.objects[0])
    side: Side = call.one("on")
    model: Model = call.objects[0]
    findings: tuple[FindingTerm, ...] = call.clauses["measure"]
    contexts: tuple[Context, ...] = call.clauses.get("under", ())
    for finding in findings:
        if finding.function is not None:
            checks.error(
                "E306",
                f"`{finding.name}` is measured of a "
                f"{'dictionary' if finding.function in judging.MEASURES else 'circuit'}, and "
                f"`{model.name}` is a model",
                call.spans["measure"],
                help="fit one first: step sae = fit topk(…) …"
                if finding.function in judging.MEASURES
                else "search one first: step circuit = search edges by acdc(…) …",
            )
    if "with" in call.clauses:
        checks.error(
            "E306",
            "in a whole model no edge is out",
            call.spans["with"],
            label="there is nothing to set",
            help="ablate units instead: step out = ablate heads with …",
        )
    step = Step(
        call.name,
        "evaluate",
        "scores",
        model,
        tuple(f.metric for f in findings if f.metric is not None),
        has_effect=False,
        lacks=("base", "effect", "normalized"),
        contexts=tuple(c.name for c in contexts),
        n_rows=1,
    )
    checks.check_side(call, side, model, "on")
    checks.check_contexts(call, model, side, "on")
    checks.check_metrics(call, step, side)
    return step


def _lower(call: Call, step: Step, lowering: Lowering) -> None:
    if isinstance(call.objects[0], CircuitTerm):
        found = call.objects[0].step
        if found is not None and found.result == "scores":
            node_circuits.lower_evaluated(call, step, lowering, found)
        else:
            circuits.lower(call, step, lowering, call.objects[0])
        return
    if isinstance(call.objects[0], DictionaryTerm):
        judging.lower(call, step, lowering, call.objects[0])
        return
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
    "Measure a model on data, plain or under interventions; a circuit; or dictionaries.",
    Clause("subject", "the model, the circuit or the dictionary", required=True),
    {
        "on": Clause("data", "the data: a side, or the clean side of a pair", required=True),
        "where": Clause("data", "only the examples that pass a test"),
        "with": Clause("source", "of a circuit: what stands where an edge is out"),
        "measure": Clause("finding", "the metrics", required=True, many=True),
        "under": MEASURING["under"],
    },
    _check,
    _lower,
    "step base = evaluate m on ioi measure accuracy(), logit_diff()",
    examples={
        "dictionary": "step judged = evaluate {} on held measure l0(), fvu(), ce_loss_score()",
        "circuit": "step checked = evaluate {} on held measure faithfulness()",
    },
)
