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
            label="which of them?" if len(set(places)) > 1 else "one of another place is wanted",
            help=f"name one a place: {_one_a_place(chain)}"
            if len(set(places)) > 1
            else "features are related with those of the next place: fit a dictionary there",
        )
    elif len(places) < 2:
        checks.error(
            "E306",
            "features are related with those of another layer",
            call.spans["objects"],
            label="this is one dictionary",
            help=_second(terms[0].step, *chain),
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


def _second(step: Step, *chain: tuple[str, Fitted]) -> str:
    """Where a second dictionary is to be had: in the same step, or by another fit."""
    others = [d for d in step.dictionaries if all(d.target != one.target for _, one in chain)]
    if chain and others:
        both = sorted(
            ((step.name, d) for d in (chain[0][1], others[0])), key=lambda d: _height(d[1])
        )
        return f"name two: relate {_one_a_place(both)} on …"
    return f"fit one of another layer, and name both: relate {step.name}, upper on …"


def _one_a_place(chain: list[tuple[str, Fitted]]) -> str:
    """The first dictionary of each place, by name."""
    first = {fitted.target: (name, fitted.label) for name, fitted in reversed(chain)}
    named = [f"{name}[{label}]" if label else name for name, label in first.values()]
    return ", ".join(reversed(named))


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
