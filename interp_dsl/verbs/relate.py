"""`relate DICTIONARIES on DATA by METHOD`: how features of one layer become those of the next."""

from __future__ import annotations

from interp_dsl.plan.algebra import Explicit, Literal, Metric
from interp_dsl.plan.dictionaries import DictionaryOf, Fitted, Relate
from interp_dsl.plan.places import RESIDUAL_SITES, Unit
from interp_dsl.plan.relating import rows_of
from interp_dsl.verbs.lowering import Lowering, place_of
from interp_dsl.verbs.relations import FINDINGS
from interp_dsl.verbs.signature import Checks, Clause, Verb
from interp_dsl.verbs.values import Call, DictionaryTerm, Model, RelationTerm, Side, Step


def _check(call: Call, checks: Checks) -> Step:
    terms: tuple[DictionaryTerm, ...] = call.objects
    model = terms[0].step.model
    side: Side = call.one("on")
    assert model is not None
    for term in terms:
        if term.step.model is not model:
            checks.error(
                "E307",
                f"`{term.step.name}` has dictionaries of another model than `{terms[0].step.name}`",
                call.spans["objects"],
                help="relate those of one model",
            )
            return Step(call.name, "relate", "scores", model)
    chain = _chain(terms)
    places = [fitted.target for _, fitted in chain]
    twice = next((p for p in places if places.count(p) > 1), None)
    if twice is not None:
        checks.error(
            "E306",
            f"two dictionaries of {twice.place} stand here",
            call.spans["objects"],
            label="which of them?",
            help="name one a place: sae[L0, k=32], sae[L1, k=32]",
        )
    elif len(places) < 2:
        checks.error(
            "E306",
            "features are related with those of another layer",
            call.spans["objects"],
            label="this is one dictionary",
            help="name two: relate sae[L0], sae[L1] on …",
        )
    checks.check_side(call, side, model, "on")
    checks.check_contexts(call, model, side, "on")
    return Step(
        call.name,
        "relate",
        "scores",
        model,
        tuple(Metric(name, Literal(None)) for name in FINDINGS),
        units=Explicit(tuple(Unit((place,)) for place in places)),
        has_effect=False,
        lacks=("base", "effect", "normalized", "low", "high"),
    )


def _chain(terms: tuple[DictionaryTerm, ...]) -> list[tuple[str, Fitted]]:
    """The dictionaries with their steps, from the lowest place to the highest."""
    found = [(term.step.name, fitted) for term in terms for fitted in term.fitted]
    return sorted(found, key=lambda one: _height(one[1]))


def _height(fitted: Fitted) -> tuple[int, int]:
    site = fitted.target.site
    order = RESIDUAL_SITES.index(site.kind) if site.kind in RESIDUAL_SITES else -1
    rank = {"resid_pre": 0, "resid_mid": 2, "resid_post": 4}.get(site.kind, 1 if order < 0 else 3)
    return (-1 if site.layer is None else site.layer, rank)


def _lower(call: Call, step: Step, lowering: Lowering) -> None:
    term: RelationTerm = call.one("by")
    model: Model | None = step.model
    assert model is not None
    chain = _chain(call.objects)
    lowering.require(dict.fromkeys(name for name, _ in chain))
    lowering.add(
        Relate(
            f"relate:{step.name}",
            step.name,
            lowering.run(call.one("on"), model),
            tuple(DictionaryOf(name, (fitted,)) for name, fitted in chain),
            term.method,
            tuple(sorted(term.options.items())),
            rows_of([fitted for _, fitted in chain]),
            lowering.width(call.one("on"), model),
            place=place_of(call.verb_span),
        )
    )


VERB = Verb(
    "relate",
    "Tell how features of one layer go with those of the next.",
    Clause("dictionary", "the dictionaries", required=True, many=True),
    {
        "on": Clause("data", "the data", required=True),
        "by": Clause("relation", "the method", required=True),
    },
    _check,
    _lower,
    "step graph = relate low, high on text by similarity()",
)
