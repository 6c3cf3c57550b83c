"""Directions that a dictionary gives: one for each dictionary that a place has, and lengths that
count in a dictionary's error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from interp_dsl.language.source import Span
from interp_dsl.plan.algebra import Explicit, Run
from interp_dsl.plan.dictionaries import DictionaryOf, Fitted
from interp_dsl.plan.paths import Decoders, Path, Rebuilt
from interp_dsl.plan.places import Target
from interp_dsl.verbs.lowering import Lowering
from interp_dsl.verbs.signature import Checks
from interp_dsl.verbs.values import Call, DictionaryTerm, DirectionTerm, Model, UnitSet


def each_dictionary(
    terms: Sequence[DirectionTerm], scale: DictionaryTerm | None
) -> Iterator[DirectionTerm]:
    """The directions, once for each dictionary of a place where there are several, under a name
    that says which: `error[k=8]`. Of one and the same step those of one dictionary go together."""
    for term in terms:
        own, sized = _alike(term.dictionary), _alike(scale)
        is_same = term.dictionary is not None and scale is not None
        is_same = is_same and term.dictionary.step is scale.step  # type: ignore[union-attr]
        for label, dictionary in own.items():
            for other, size in sized.items():
                if is_same and label != other:
                    continue
                told = dict.fromkeys(filter(None, (label, other)))
                name = f"{term.name}[{'; '.join(told)}]" if told else term.name
                yield replace(
                    term,
                    name=name,
                    base=term.name,
                    dictionary=dictionary,
                    sized=None if term.kind == "rebuilt" and is_same else size,
                )


def _alike(term: DictionaryTerm | None) -> dict[str, DictionaryTerm | None]:
    """Dictionaries by what tells those of one place apart."""
    if term is None:
        return {"": None}
    found: dict[str, list[Fitted]] = {}
    for fitted in term.fitted:
        found.setdefault(_label(fitted, term), []).append(fitted)
    if len(found) == 1:
        return {"": term}
    return {label: DictionaryTerm(term.step, tuple(held)) for label, held in found.items()}


def _label(fitted: Fitted, term: DictionaryTerm) -> str:
    """A dictionary's label without its place."""
    places = {d.target for d in term.step.dictionaries}
    return fitted.label.partition(", ")[2] if len(places) > 1 else fitted.label


def check_dictionaries(
    call: Call, checks: Checks, directions: Sequence[DirectionTerm], model: Model
) -> None:
    """Dictionaries are of this model, and each place has one."""
    units: UnitSet = call.objects[0]
    explicit = units.units.units if isinstance(units.units, Explicit) else ()
    places = {Target(t.site, t.index): t.place for unit in explicit for t in unit.targets}
    asked = [(t.dictionary, call.spans["along"]) for t in directions]
    asked += [(t.sized, call.spans.get("using", call.spans["along"])) for t in directions]
    told: set[tuple[str, str]] = set()
    for term, span in asked:
        if term is None:
            continue
        if term.step.model is not model:
            checks.error(
                "E307",
                f"`{term.step.name}` has dictionaries of another model",
                span,
                help="name one that was fitted to this model",
            )
            return
        if not all(f.is_plain for f in term.fitted):
            checks.error(
                "E306",
                f"`{term.step.name}` rebuilds other places than the one that it reads",
                span,
                label=f"it is of {term.fitted[0].place}",
                help="name a dictionary of one place",
            )
            return
        for target, place in places.items():
            if all(f.target != target for f in term.fitted) and (term.step.name, place) not in told:
                told.add((term.step.name, place))
                _missing(checks, term, place, span)


def _missing(checks: Checks, term: DictionaryTerm, place: str, span: Span) -> None:
    held = ", ".join(dict.fromkeys(f.target.place for f in term.fitted))
    checks.error(
        "E306",
        f"`{term.step.name}` has no dictionary of {place}",
        span,
        label=f"it has {held}",
        help=f"move {held} alone, or fit one to {place}",
    )


def dictionary_path(term: DirectionTerm, run: Run, lowering: Lowering) -> Path:
    """The path of a direction that a dictionary gives; features are told dead by `run`."""
    assert term.dictionary is not None
    of = dictionaries_of(term.dictionary, lowering)
    if term.kind == "decoder":
        return Decoders(term.name, of, run, term.which, term.n, term.seed)
    return Rebuilt(term.name, of, term.which, term.n, term.seed)


def dictionaries_of(term: DictionaryTerm, lowering: Lowering) -> tuple[DictionaryOf, ...]:
    """Dictionaries one by one, their step asked for."""
    lowering.require([term.step.name])
    return tuple(DictionaryOf(term.step.name, (fitted,)) for fitted in term.fitted)
