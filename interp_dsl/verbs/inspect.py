"""`inspect features(DICTIONARY) by METHOD on DATA`: what features mean."""

from __future__ import annotations

from interp_dsl.plan.dictionaries import DictionaryOf, Inspect
from interp_dsl.verbs.lowering import Lowering, place_of
from interp_dsl.verbs.signature import Checks, Clause, Verb
from interp_dsl.verbs.values import Call, FeaturesTerm, ReadingTerm, Side, Step


def _check(call: Call, checks: Checks) -> Step:
    term: FeaturesTerm = call.objects[0]
    side: Side = call.one("on")
    model = term.step.model
    assert model is not None
    checks.check_side(call, side, model, "on")
    checks.check_contexts(call, model, side, "on")
    return Step(call.name, "inspect", "features", model)


def _lower(call: Call, step: Step, lowering: Lowering) -> None:
    term: FeaturesTerm = call.objects[0]
    how: ReadingTerm = call.one("by")
    assert step.model is not None
    lowering.require([term.step.name])
    lowering.add(
        Inspect(
            f"inspect:{step.name}",
            step.name,
            lowering.run(call.one("on"), step.model),
            DictionaryOf(term.step.name, (term.fitted,)),
            term.numbers,
            how.method,
            tuple(sorted(how.options.items())),
            lowering.width(call.one("on"), step.model),
            place=place_of(call.verb_span),
        )
    )


VERB = Verb(
    "inspect",
    "Show on what features of a dictionary fire.",
    Clause("features", "the features: features(sae), sae[12]", required=True),
    {
        "by": Clause("reading", "how to look at them", required=True),
        "on": Clause("data", "the data", required=True),
    },
    _check,
    _lower,
    "step seen = inspect features(sae) by examples() on text",
)
