"""Positions: `END`, `S2.first`, `3`, `each`, `all - first`, `together(END, S2)`, `S2 -> END`."""

from __future__ import annotations

from interp_dsl.check.literals import literal, numbers
from interp_dsl.check.scope import Scope
from interp_dsl.language.tree import Attribute, Binary, Call, Expr, Name, Number, Range, SetOf
from interp_dsl.plan.places import Positions

_WORDS = ("all", "each", "first", "last")


def positions(expr: Expr, scope: Scope) -> list[Positions]:
    """One entry for every unit that the expression makes: a range or a set makes several."""
    match expr:
        case SetOf(items=items):
            return [p for item in items for p in positions(item, scope)]
        case Range():
            return [_index(value, expr, scope) for value in numbers(expr, scope)]
    return [position(expr, scope)]


def position(expr: Expr, scope: Scope) -> Positions:
    """A single place in a prompt."""
    found = _position(expr, scope)
    scope.session.position_spans[found] = expr.span
    return found


def _position(expr: Expr, scope: Scope) -> Positions:
    match expr:
        case Name(id=word) if word in _WORDS:
            return Positions(word)
        case Name(id=name) if scope.find(name, ("param",)):
            return _index(literal(expr, scope), expr, scope)
        case Name(id=name):
            return Positions("label", label=name)
        case Number():
            return _index(literal(expr, scope), expr, scope)
        case Attribute(value=Name(id=label), name=pick) if pick in ("first", "last"):
            return Positions("label", label=label, pick=pick)
        case Binary(op="-", left=left, right=right):
            return Positions("minus", parts=(position(left, scope), position(right, scope)))
        case Binary(op="->", left=left, right=right):
            return Positions("entry", parts=(position(left, scope), position(right, scope)))
        case Call(function="together", arguments=items) if items:
            parts = tuple(p for a in items for p in positions(a.value, scope))
            return Positions("union", parts=parts)
    raise scope.reject(
        "E300",
        "a position is wanted here",
        expr.span,
        help="write a label of the prompts, all, each, first, last, a number, or "
        "together(…) of them",
    )


def _index(value: object, expr: Expr, scope: Scope) -> Positions:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise scope.reject(
            "E302",
            "a position is a whole number from 0 on",
            expr.span,
            help="`last` is the last token of each prompt",
        )
    return Positions("index", index=value)


def labels_in(found: Positions) -> list[Positions]:
    """The label positions inside a position."""
    if found.kind == "label":
        return [found]
    return [inner for part in found.parts for inner in labels_in(part)]
