"""Checks of places against the prompts: sides and labels are there, places correspond."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interp_dsl.check.builds import build_data
from interp_dsl.check.models import carry
from interp_dsl.check.positions import leaves
from interp_dsl.check.scope import Scope
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.language.source import Span
from interp_dsl.language.suggest import suggest
from interp_dsl.models.shape import ModelFacts
from interp_dsl.plan.algebra import Combined, Explicit, Filtered, Grouped, Placed, Units
from interp_dsl.plan.places import ALL, Positions
from interp_dsl.verbs.values import Change, Dataset, Model, Side, UnitSet

if TYPE_CHECKING:
    from interp_dsl.data.types import Data
    from interp_dsl.data.types import Side as Prompts


@dataclass(frozen=True)
class Spans:
    """Where an intervention's places, its source and the side that it is made in stand."""

    places: Span
    source: Span
    into: Span


def names_of(found: Dataset, model: Model, scope: Scope) -> Data | None:
    """The data, or that of which it is a part: labels and answers of both are the same."""
    data = build_data(found, model, scope)
    while data is None and found.parent is not None:
        found = found.parent
        data = build_data(found, model, scope)
    return data


def side_of(data: Data, side: Side) -> Prompts:
    """The prompts of a side; of data named without one, the first."""
    return data.sides[data.first_side if side.is_default else side.side]


def check_side(side: Side, model: Model, span: Span, scope: Scope) -> Data | None:
    """The data of a side that it has; None where it waits for the run."""
    data = names_of(side.dataset, model, scope)
    if data is not None and side.side not in data.sides and not side.is_default:
        known = list(data.sides)
        raise scope.reject(
            "E206",
            f"`{side.dataset.name}` has no side `{side.side}`"
            if side.side in ("clean", "corrupt")
            else f"`{side.dataset.name}` has two sides",
            span,
            label=f"its sides: {', '.join(known)}",
            help=f"write {side.dataset.name}.clean or {side.dataset.name}.corrupt"
            if len(known) > 1
            else f"write {side.dataset.name} alone",
        )
    return data


def check_change(change: Change, into: Side, spans: Spans, scope: Scope) -> None:
    """An intervention's places are in the prompts of a side, and correspond to its source's."""
    model, span = change.units.model, spans.places
    assert model is not None
    data = check_side(into, model, spans.into, scope)
    where = list(dict.fromkeys(_positions(change.units.units)))
    for position in where:
        _entry_fits(position, change.units, span, scope)
        if data is not None:
            for leaf in leaves(position):
                place = _span_of(leaf, change.units, span)
                _label_exists(leaf, side_of(data, into).labels, into, place, scope)
    for _, target, side in change.source.vector.terms if change.source.vector else ():
        if side is not None:
            _source_at(target.positions, side, model, spans.source, scope)
    if change.source.kind == "moved":
        return
    if change.source.side is not None:
        _from_side(change, into, data, where, spans, scope)


def _source_at(position: Positions, side: Side, model: Model, span: Span, scope: Scope) -> None:
    data = check_side(side, model, span, scope)
    if data is not None:
        for leaf in leaves(position):
            _label_exists(leaf, side_of(data, side).labels, side, span, scope)


def _positions(units: Units) -> Iterable[Positions]:
    match units:
        case Explicit(units=items):
            return [t.positions for u in items for t in u.targets]
        case Placed(units=inner, positions=where):
            return where
        case Combined(left=left, right=right):
            return [*_positions(left), *_positions(right)]
        case Filtered(units=inner) | Grouped(units=inner):
            return _positions(inner)
        case _:
            return []


def _span_of(position: Positions, units: UnitSet, span: Span) -> Span:
    """Where a position stands in the text, else the step."""
    return next((s for p, s in units.spans if p == position), span)


def _entry_fits(position: Positions, units: UnitSet, span: Span, scope: Scope) -> None:
    if position.kind != "entry" or not isinstance(units.units, Explicit):
        return
    targets = [t for u in units.units.units for t in u.targets if t.positions == position]
    wrong = next((t for t in targets if t.site.kind != "pattern"), None)
    if wrong is not None:
        raise scope.reject(
            "E306",
            f"{wrong.place} has one end, and `{position}` names two",
            _span_of(position, units, span),
            help="`key -> query` positions belong to patterns: patterns at S2 -> END",
        )


def _label_exists(
    leaf: Positions, known: Iterable[str], side: Side, span: Span, scope: Scope
) -> None:
    labels = list(known)
    if leaf.kind != "label" or leaf.label in labels:
        return
    near = suggest(str(leaf.label), labels)
    braces = "{word@" + str(leaf.label) + "}"
    raise scope.reject(
        "E207",
        f"the prompts of `{side.dataset.name}` have no label `{leaf.label}`",
        span,
        label=f"their labels: {', '.join(labels) or 'none'}",
        help=f"did you mean `{near}`?" if near else f"label the place: {braces}",
    )


# ---- from one side into another


def _from_side(
    change: Change,
    into: Side,
    data: Data | None,
    where: list[Positions],
    spans: Spans,
    scope: Scope,
) -> None:
    """The source has these places too, and the two sides correspond there."""
    model, source = change.units.model, change.source
    assert model is not None and source.side is not None
    other = check_side(source.side, model, spans.source, scope)
    whole = build_data(source.side.dataset, model, scope)
    if other is None or whole is None or data is None:
        return
    if source.kind == "mean":
        others = ("all",) if change.of_edges else ("template", "label", "token", "all")
        _mean_aligns(source.per, others, source.side, whole, spans.source, scope)
    if source.kind != "side" or build_data(into.dataset, model, scope) is None:
        return
    if other.n != data.n:
        raise scope.reject(
            "E312",
            f"`{source.side.dataset.name}` has {other.n} prompts and `{into.dataset.name}` "
            f"has {data.n}",
            spans.source,
            help="prompts pair by index: patch between sides of as many prompts",
        )
    _correspond(change, into, (other, data), where, spans.places, scope)


def _mean_aligns(
    per: str, others: Sequence[str], side: Side, data: Data, span: Span, scope: Scope
) -> None:
    """Prompts can be averaged so; if not, the other ways are named."""
    import numpy as np

    found = side_of(data, side)
    if per == "template" and data.template is None:
        raise scope.reject(
            "E635", f"`{side.dataset.name}` has no templates", span, help="say per=all"
        )
    ways = [f"mean({side.dataset.name}.{side.side}, per={others[0]})"]
    ways += [f"per={other}" for other in others[1:]]
    if per == "position" and np.ptp(found.lengths):
        raise scope.reject(
            "E634",
            "a mean per position needs prompts that align",
            span,
            label=f"prompts have {found.lengths.min()} to {found.lengths.max()} tokens",
            help=f"write {' or '.join(filter(None, (', '.join(ways[:-1]), ways[-1])))}",
        )


def _correspond(
    change: Change,
    into: Side,
    pair: tuple[Data, Data],
    where: list[Positions],
    span: Span,
    scope: Scope,
) -> None:
    from interp_dsl.data.positions import check_aligned

    model, source = change.units.model, change.source.side
    assert source is not None and model is not None and model.facts is not None
    read = _token_text(model.facts)
    for position in where:
        sides = side_of(pair[0], source), side_of(pair[1], into)
        try:
            for part in position.parts if position.kind == "entry" else (position,):
                check_aligned(ALL if _has_each(part) else part, *sides, read)
        except InterpError as problem:
            raise carry(problem, _span_of(position, change.units, span), scope) from None


def _has_each(position: Positions) -> bool:
    """`each` stands for every position, so that whole prompts must correspond."""
    return any(leaf.kind == "each" for leaf in leaves(position))


def _token_text(facts: ModelFacts) -> Callable[[int], str]:
    """How a message shows a token: as text where the model has a tokenizer."""
    from interp_dsl.data.tokenizer import load_tokenizer

    return load_tokenizer(facts).token_text if facts.tokenizer else str
