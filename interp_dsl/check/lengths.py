"""How far one goes along a direction or a path."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

from interp_dsl.check.literals import is_number, literal
from interp_dsl.check.scope import Scope
from interp_dsl.language.tree import Expr, ListOf, Number, Range, Unary
from interp_dsl.plan.places import Length

_SCALES = {"": "l2", "%": "norm", "x": "own"}
_DIGITS = 12


def lengths(expr: Expr, scope: Scope) -> tuple[Length, ...]:
    """Lengths: `4`, `10%` of the median norm, `1x` of the direction's own, ranges of these."""
    scale = _SCALES[_suffix(expr, scope)]
    divisor = 100 if scale == "norm" else 1
    values = _values(expr, scope)
    if min(values) < 0:
        raise scope.reject(
            "E302",
            "a length is 0 or more",
            expr.span,
            help="turn the direction round instead: `along -v` for `along v`, or a - b for b - a",
        )
    return tuple(Length(round(v / divisor, _DIGITS), scale) for v in values)


def shares(expr: Expr, scope: Scope) -> tuple[Length, ...]:
    """Shares of the way: `0..1 every 0.05`."""
    if _suffix(expr, scope) or min(values := _values(expr, scope)) < 0:
        raise scope.reject(
            "E302", "the way from end to end is counted from 0 to 1", expr.span, help="0..1"
        )
    return tuple(Length(round(v, _DIGITS), "own") for v in values)


def _suffix(expr: Expr, scope: Scope) -> str:
    """The one suffix of a number, of a list's items or of a range's ends; 0 is so much of
    anything."""
    found = {n.suffix for n in _numbers(expr) if n.suffix or n.value}
    if len(found) > 1:
        raise scope.reject(
            "E302",
            "lengths are counted in one thing",
            expr.span,
            help="write 0%..100% every 10%, or 0x..2x every 0.25x",
        )
    return found.pop() if found else ""


def _numbers(expr: Expr | None) -> Iterator[Number]:
    """The numbers that are written in an expression."""
    match expr:
        case Number():
            yield expr
        case Unary(value=inner):
            yield from _numbers(inner)
        case ListOf(items=items):
            yield from chain.from_iterable(map(_numbers, items))
        case Range(start=start, stop=stop, every=every):
            yield from chain.from_iterable(map(_numbers, (start, stop, every)))


def _values(expr: Expr, scope: Scope) -> list[float]:
    value = literal(_plain(expr), scope)
    values = value if isinstance(value, list) else [value]
    if not values or not all(map(is_number, values)):
        raise scope.reject("E300", "a length is a number", expr.span)
    return [float(v) for v in values]


def _plain(expr: Expr) -> Expr:
    """The expression without suffixes."""
    match expr:
        case Number():
            return replace(expr, suffix="")
        case Unary(value=inner):
            return replace(expr, value=_plain(inner))
        case ListOf(items=items):
            return replace(expr, items=tuple(map(_plain, items)))
        case Range(start=start, stop=stop, every=every):
            step = _plain(every) if every else None
            return replace(expr, start=_plain(start), stop=_plain(stop), every=step)
    return expr
