"""`inspect features(DICTIONARY) by METHOD`, most of it `on DATA`: what features mean."""

from __future__ import annotations

from interp_dsl.plan.dictionaries import DictionaryOf, Inspect, InspectWeights
from interp_dsl.verbs.beside import check_beside
from interp_dsl.verbs.dictionaries import OF_WEIGHTS, WRITTEN
from interp_dsl.verbs.lowering import Lowering, place_of
from interp_dsl.verbs.signature import Checks, Clause, Verb
from interp_dsl.verbs.values import Call, FeaturesTerm, ReadingTerm, Side, Step


def _check(call: Call, checks: Checks) -> Step:
    term: FeaturesTerm = call.objects[0]
    how: ReadingTerm = call.one("by")
    side: Side | None = call.one("on")
    model = term.step.model
    assert model is not None
    if how.method in OF_WEIGHTS:
        _check_weights(call, checks, term, how)
    elif side is None:
        checks.error(
            "E301",
            f"`{how.method}()` looks at features on data",
            call.spans["by"],
            help=f"say which: inspect … by {how.method}() on DATA",
        )
    else:
        _check_data(call, checks, term, how, side)
    return Step(call.name, "inspect", "features", model)


def _check_data(
    call: Call, checks: Checks, term: FeaturesTerm, how: ReadingTerm, side: Side
) -> None:
    """Each model that a dictionary is of reads the data; a feature is taken out of one."""
    assert term.step.model is not None
    models = (term.step.model, *term.step.beside)
    for model in models:
        checks.check_side(call, side, model, "on")
    if len(models) == 1:
        checks.check_contexts(call, models[0], side, "on")
        return
    check_beside(call, checks, side, models, "on")
    if how.method == "ablation":
        checks.error(
            "E306",
            "a feature of a crosscoder of several models is taken out of none of them",
            call.spans["by"],
            label=f"`{term.step.name}` is of {', '.join(model.name for model in models)}",
            help="look at how much it writes in each: inspect … by norms()",
        )


def _check_weights(call: Call, checks: Checks, term: FeaturesTerm, how: ReadingTerm) -> None:
    """What the weights say is the same on all data; to the logits go only places that write to the
    stream."""
    if "on" in call.clauses:
        checks.error(
            "E306",
            f"`{how.method}()` is of the weights alone",
            call.spans["on"],
            label="no data are read",
            help="leave `on` away",
        )
    if how.method == "norms" and not term.fitted.others:
        checks.error(
            "E306",
            "`norms()` compares the places of a crosscoder",
            call.spans["by"],
            label=f"`{term.step.name}` is of {term.fitted.place}",
            help="fit one: on together(L0.resid_pre, L0.resid_post)",
        )
    target = term.fitted.onto or term.fitted.target
    is_written = target.site.kind in WRITTEN and not term.fitted.others
    if how.method == "logits" and not is_written:
        checks.error(
            "E306",
            f"features of {term.fitted.place} do not write to the residual stream",
            call.spans["by"],
            label="no linear map leads from there to the logits",
            help="measure what they do: inspect … by ablation() on DATA",
        )


def _lower(call: Call, step: Step, lowering: Lowering) -> None:
    term: FeaturesTerm = call.objects[0]
    how: ReadingTerm = call.one("by")
    assert step.model is not None
    lowering.require([term.step.name])
    name, of = step.name, DictionaryOf(term.step.name, (term.fitted,))
    numbers, method = term.numbers, how.method
    options = tuple(sorted(how.options.items()))
    place, side = place_of(call.verb_span), call.one("on")
    if side is None:
        model = lowering.model(step.model)
        lowering.add(
            InspectWeights(
                f"inspect:{name}", name, model, of, numbers, method, options, place=place
            )
        )
        return
    run, width = lowering.run(side, step.model), lowering.width(side, step.model)
    beside = tuple(lowering.run(side, model) for model in term.step.beside)
    lowering.add(
        Inspect(
            f"inspect:{name}",
            name,
            run,
            of,
            numbers,
            method,
            options,
            width,
            place=place,
            beside=beside,
        )
    )


VERB = Verb(
    "inspect",
    "Show what features of a dictionary mean: on what they fire, what they write, what they are "
    "near to, what the model loses without them.",
    Clause("features", "the features: features(sae), sae[12]", required=True),
    {
        "by": Clause("reading", "how to look at them", required=True),
        "on": Clause("data", "the data; none for logits(), nearest() and norms()"),
    },
    _check,
    _lower,
    "step seen = inspect features(sae) by examples() on text",
)
