"""Directions, paths and how far one goes along them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from interp_dsl.check.arguments import arguments
from interp_dsl.check.literals import is_number, literal
from interp_dsl.check.scope import Scope
from interp_dsl.check.vectors import vector
from interp_dsl.language.tree import Call, Expr, Name, Number, Range
from interp_dsl.plan.places import Length
from interp_dsl.verbs.directions import DIRECTIONS, PATHS
from interp_dsl.verbs.signature import Function
from interp_dsl.verbs.values import DirectionTerm

_SCALES = {"": "l2", "%": "norm", "x": "own"}
_DIGITS = 12


def direction(expr: Expr, scope: Scope) -> DirectionTerm:
    """A direction: `covariance(n=8)`, or a vector."""
    if not isinstance(expr, Call) or expr.function == "mean":
        _no_brackets(expr, DIRECTIONS, scope)
        return DirectionTerm(_name(expr), "vector", vector=vector(expr, scope))
    if expr.function not in DIRECTIONS:
        known = list(DIRECTIONS)
        raise scope.unknown_function(expr.function, expr.name_span, "a direction", known)
    given = arguments(expr, DIRECTIONS[expr.function], scope)
    return DirectionTerm(
        expr.function,
        expr.function,
        given.get("n", 1),
        given.get("seed", 0),
        given.get("of"),
        given.get("source"),
    )


def path(expr: Expr, scope: Scope) -> DirectionTerm:
    """A path between two ends: `line()`, `arc()`."""
    _no_brackets(expr, PATHS, scope)
    known = ", ".join(f"{name}()" for name in PATHS)
    if not isinstance(expr, Call):
        raise scope.reject("E300", "a path is wanted here", expr.span, help=known)
    if expr.function not in PATHS:
        raise scope.unknown_function(expr.function, expr.name_span, "a path", list(PATHS))
    arguments(expr, PATHS[expr.function], scope)
    return DirectionTerm(expr.function, expr.function)


def _no_brackets(expr: Expr, known: Mapping[str, Function], scope: Scope) -> None:
    if isinstance(expr, Name) and expr.id in known and scope.find(expr.id) is None:
        raise scope.reject(
            "E300", f"`{expr.id}` is a function", expr.span, help=f"write {expr.id}()"
        )


def _name(expr: Expr) -> str:
    return expr.id if isinstance(expr, Name) else " ".join(expr.span.text.split())


def lengths(expr: Expr, scope: Scope) -> tuple[Length, ...]:
    """Lengths: `4`, `10%` of the median norm, `1x` of the direction's own, ranges of these."""
    scale = _SCALES[_suffix(expr, scope)]
    divisor = 100 if scale == "norm" else 1
    return tuple(Length(round(v / divisor, _DIGITS), scale) for v in _values(expr, scope))


def shares(expr: Expr, scope: Scope) -> tuple[Length, ...]:
    """Shares of the way: `0..1 every 0.05`."""
    if _suffix(expr, scope):
        raise scope.reject(
            "E302", "the way from end to end is counted from 0 to 1", expr.span, help="0..1"
        )
    return tuple(Length(round(v, _DIGITS), "own") for v in _values(expr, scope))


def _suffix(expr: Expr, scope: Scope) -> str:
    """The one suffix of a number or of a range's ends; 0 is so much of anything."""
    parts = [expr.start, expr.stop, expr.every] if isinstance(expr, Range) else [expr]
    found = {p.suffix for p in parts if isinstance(p, Number) and (p.suffix or p.value)}
    if len(found) > 1:
        raise scope.reject(
            "E302",
            "a range is counted in one thing",
            expr.span,
            help="write 0%..100% every 10%, or 0x..2x every 0.25x",
        )
    return found.pop() if found else ""


def _values(expr: Expr, scope: Scope) -> list[float]:
    value = literal(_plain(expr), scope)
    values = value if isinstance(value, list) else [value]
    if not values or not all(map(is_number, values)):
        raise scope.reject("E300", "a length is a number", expr.span)
    if min(values) < 0:
        raise scope.reject(
            "E302", "a length is 0 or more", expr.span, help="turn the direction round instead"
        )
    return [float(v) for v in values]


def _plain(expr: Expr) -> Expr:
    """The expression without suffixes."""
    match expr:
        case Number():
            return replace(expr, suffix="")
        case Range(start=start, stop=stop, every=every):
            step = _plain(every) if every else None
            return replace(expr, start=_plain(start), stop=_plain(stop), every=step)
    return expr
