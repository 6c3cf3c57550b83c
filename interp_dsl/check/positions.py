"""Positions: `END`, `S2.first`, `3`, `each`, `all - first`, `together(END, S2)`, `S2 -> END`."""

from __future__ import annotations

from interp_dsl.check.literals import describe, is_whole, literal, numbers
from interp_dsl.check.scope import Scope
from interp_dsl.language.source import Span
from interp_dsl.language.tree import (
    Attribute,
    Binary,
    Call,
    Expr,
    Name,
    Number,
    Range,
    SetOf,
    Unary,
)
from interp_dsl.plan.places import Positions

Spans = list[tuple[Positions, Span]]
"""Positions and where they stand in the text."""

_WORDS = ("all", "each", "first", "last")


def positions(expr: Expr, scope: Scope, spans: Spans) -> list[Positions]:
    """One entry for every unit that the expression makes: a range or a set makes several."""
    match expr:
        case SetOf(items=items) if items:
            return [p for item in items for p in positions(item, scope, spans)]
        case Range():
            found = [_index(value, expr, scope) for value in numbers(expr, scope)]
            spans.extend((p, expr.span) for p in found)
            return found
        case Binary(op="->", left=Range() | SetOf() as keys, right=query):
            ends = positions(keys, scope, spans)
            other = position(query, scope, spans)
            found = [Positions("entry", parts=(key, other)) for key in ends]
            spans.extend((p, expr.span) for p in found)
            return found
    return [position(expr, scope, spans)]


def position(expr: Expr, scope: Scope, spans: Spans) -> Positions:
    """A single place in a prompt."""
    found = _position(expr, scope, spans)
    spans.append((found, expr.span))
    return found


def _position(expr: Expr, scope: Scope, spans: Spans) -> Positions:
    match expr:
        case Name(id=word) if word in _WORDS:
            return Positions(word)
        case Name(id=name):
            declared = scope.find(name, ("param", "let"))
            if declared is not None:
                return _index(literal(expr, scope), expr, scope)
            return Positions("label", label=name)
        case Number() | Unary(op="-", value=Number()):
            return _index(literal(expr, scope), expr, scope)
        case Attribute(value=Name(id=label), name=pick) if pick in ("first", "last"):
            return Positions("label", label=label, pick=pick)
        case Binary(op="-" | "->" as op, left=left, right=right):
            kind = "minus" if op == "-" else "entry"
            parts = (position(left, scope, spans), position(right, scope, spans))
            return _joined(kind, parts, expr, scope)
        case Call(function="together", arguments=items) if items:
            inner = [p for a in items for p in positions(a.value, scope, spans)]
            return _joined("union", tuple(inner), expr, scope)
    raise scope.reject(
        "E300",
        "a position is wanted here",
        expr.span,
        help="write a label of the prompts, all, each, first, last, a number, or "
        "together(…) of them",
    )


def _joined(kind: str, parts: tuple[Positions, ...], expr: Expr, scope: Scope) -> Positions:
    """An end, a difference or a union is of tokens: an entry in it has no meaning."""
    if any(part.kind == "entry" for part in parts):
        raise scope.reject(
            "E300",
            "an entry has two ends, key and query",
            expr.span,
            help="write several entries with commas: at S2 -> END, S1 -> END",
        )
    if kind == "union" and any(part.kind == "each" for part in parts):
        raise scope.reject(
            "E300", "`each` makes a unit of every position, `together` one of several", expr.span
        )
    return Positions(kind, parts=parts)


def _index(value: object, expr: Expr, scope: Scope) -> Positions:
    if not is_whole(value):
        raise scope.reject(
            "E300",
            "a position is a whole number or a label",
            expr.span,
            label=f"this is {describe(value)}",
        )
    assert isinstance(value, int)
    if not 0 <= value < 1_000_000:
        raise scope.reject(
            "E302",
            "positions count from 0",
            expr.span,
            help="`last` is the last token of each prompt",
        )
    return Positions("index", index=value)


def leaves(found: Positions) -> list[Positions]:
    """The simple positions inside a position."""
    if not found.parts:
        return [found]
    return [inner for part in found.parts for inner in leaves(part)]
