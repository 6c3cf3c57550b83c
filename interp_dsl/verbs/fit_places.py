"""What dictionaries are fitted to: places one by one, places onto places, several side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from interp_dsl.models.sites import n_indices
from interp_dsl.plan.algebra import Explicit
from interp_dsl.plan.places import ALL, Target
from interp_dsl.verbs.dictionaries import WITHOUT
from interp_dsl.verbs.signature import Checks
from interp_dsl.verbs.values import Call, Model, UnitSet


class Between(NamedTuple):
    """The ends of one dictionary: what it reads, side by side; what a transcoder rebuilds."""

    read: tuple[Target, ...]
    onto: Target | None = None


def between(call: Call, checks: Checks, model: Model) -> tuple[Between, ...]:
    """The ends of each dictionary: of each place of `on`, onto that of `to` at the same number."""
    read = _places(call, checks, "on", model)
    if "to" not in call.clauses or not read:
        return tuple(Between(places) for places in read)
    onto = _places(call, checks, "to", model)
    if not onto:
        return ()
    if any(len(places) > 1 for places in (*read, *onto)):
        checks.error(
            "E306",
            "a transcoder is of one place onto one other",
            call.spans["on"],
            help="leave out `to`: what reads several places together rebuilds them all",
        )
        return ()
    if len(read) != len(onto):
        checks.error(
            "E302",
            f"`on` has {len(read)} and `to` {len(onto)} places",
            call.spans["to"],
            label="a transcoder is of one onto one",
            help="name as many, in the same order",
        )
        return ()
    return tuple(Between(a, b[0]) for a, b in zip(read, onto, strict=True))


def _places(call: Call, checks: Checks, word: str, model: Model) -> tuple[tuple[Target, ...], ...]:
    """The activations that a clause names: whole sites, heads one by one, the neurons of a layer
    together; of a crosscoder several at once."""
    span, places = call.spans[word], call.clauses[word]
    known = [u.units for u in places if isinstance(u.units, Explicit)]
    if len(known) < len(places):
        checks.error("E306", "`fit` takes places that are known before the run", span)
        return ()
    if any(u.model not in (None, model) for u in places):
        checks.error(
            "E307",
            "these are places of two models",
            span,
            help="one dictionary of both is a crosscoder: on together(base.L3.resid_post, "
            "chat.L3.resid_post)"
            if word == "on"
            else None,
        )
        return ()
    models = {m.id: m for u in places for m in u.models}
    found: dict[tuple[Target, ...], None] = {}
    members: dict[Target, set[int | None]] = {}
    for unit in (unit for units in known for unit in units.units):
        for target in unit.targets:
            if not _is_possible(target, call, checks, word):
                return ()
            members.setdefault(_whole(target), set()).add(target.index)
        found[tuple(dict.fromkeys(map(_whole, unit.targets)))] = None
    if len(found) > 1 and any(len(read) > 1 for read in found):
        checks.error(
            "E306",
            "a crosscoder stands alone in its step",
            span,
            help="fit each place, or several together, in a step of its own",
        )
        return ()
    _check_neurons(call, checks, word, members, models or {None: model})
    return tuple(found)


def _whole(target: Target) -> Target:
    """The activation that a target is of: of a neuron, that of all neurons of its layer."""
    return replace(target, index=None if target.site.kind == "neuron" else target.index)


def _is_possible(target: Target, call: Call, checks: Checks, word: str) -> bool:
    if target.site.kind in WITHOUT:
        checks.error("E306", f"no dictionary is fitted to {target.place}", call.spans[word])
        return False
    if target.positions != ALL:
        checks.error(
            "E306",
            "dictionaries are fitted to all positions",
            call.spans[word],
            help="leave out `at`; BOS and padding are left out anyway",
        )
        return False
    return True


def _check_neurons(
    call: Call,
    checks: Checks,
    word: str,
    members: dict[Target, set[int | None]],
    models: Mapping[str | None, Model],
) -> None:
    for target, held in members.items():
        facts = models[target.model].facts
        whole = n_indices(target.site, facts.shape) if facts else None
        if target.site.kind == "neuron" and whole is not None and len(held) < whole:
            checks.error(
                "E306",
                "a dictionary is of all neurons of a layer",
                call.spans[word],
                label=f"these are {len(held):,} of {whole:,}",
                help=f"write {target.place}",
            )


def model_of(units: tuple[UnitSet, ...]) -> Model | None:
    """The model that places are written with, the first of several."""
    return next((u.model for u in units if u.model), None)


def models_of(units: tuple[UnitSet, ...], model: Model) -> tuple[Model, ...]:
    """All of them."""
    return tuple(dict.fromkeys((model, *(m for u in units for m in u.models))))
