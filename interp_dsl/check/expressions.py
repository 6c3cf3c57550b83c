"""Expressions over results: claims, tests of units, tests of examples."""

from __future__ import annotations

from dataclasses import dataclass

from interp_dsl.check.circuits import NODES, file_of
from interp_dsl.check.dictionaries import ERRORS, FEATURES, holds_dictionaries
from interp_dsl.check.groups import GROUPS
from interp_dsl.check.literals import literal
from interp_dsl.check.operators import compared, operated, truth
from interp_dsl.check.places import is_place
from interp_dsl.check.results import Reading, score, step_of, unroll
from interp_dsl.check.scope import Scope
from interp_dsl.language.suggest import suggest
from interp_dsl.language.tree import (
    Attribute,
    Binary,
    Call,
    Expr,
    Hook,
    Index,
    ListOf,
    Name,
    Number,
    Phrase,
    Range,
    SetOf,
    String,
    Unary,
    Within,
)
from interp_dsl.plan.algebra import ColumnOf, Expression, Literal, Operation, SetOfUnits
from interp_dsl.verbs.values import Step

_FUNCTIONS = {"size": 1, "abs": 1, "jaccard": 2}


@dataclass(frozen=True)
class _Reader(Reading):
    """`columns` are names that an example has, before all declared ones; `has_results` is false
    where rows are made, before any step has run."""

    columns: frozenset[str] = frozenset()
    has_results: bool = True


def claim(expr: Expr, scope: Scope) -> Expression:
    """The test of an `expect`."""
    return truth(_read(expr, _Reader("claim", scope)), expr, scope)


def unit_test(expr: Expr, scope: Scope) -> Expression:
    """The test of `heads where who.gap.effect < -0.1`: scores are the unit's own."""
    return truth(unit_value(expr, scope), expr, scope)


def unit_value(expr: Expr, scope: Scope) -> Expression:
    """What `growing(heads by who.gap)` orders units by."""
    return _read(expr, _Reader("unit", scope))


def example_test(expr: Expr, scope: Scope, columns: frozenset[str]) -> Expression:
    """The test of `ioi where index < 128`: columns and scores are the example's own."""
    return truth(_read(expr, _Reader("example", scope, columns)), expr, scope)


def row_test(expr: Expr, scope: Scope, columns: frozenset[str]) -> Expression:
    """The test of a body's `where Z > Y`: rows have no results yet."""
    return truth(_read(expr, _Reader("example", scope, columns, False)), expr, scope)


def _read(expr: Expr, reader: _Reader) -> Expression:
    scope = reader.scope
    match expr:
        case Number(value=value, suffix=suffix) if suffix != "x":
            return Literal(value / 100 if suffix == "%" else value)
        case String(value=value):
            return Literal(value)
        case Binary(op="|" | "&" | "->"):
            return _set(expr, scope)
        case Binary():
            return _binary(expr, reader)
        case Unary(op=op, value=inner):
            return operated("neg" if op == "-" else "not", [(inner, _read(inner, reader))], scope)
        case Within():
            return _within(expr, reader)
        case Call():
            return _call(expr, reader)
        case ListOf(items=items):
            return Operation("set", tuple(_read(item, reader) for item in items))
        case SetOf(items=items) if items and all(isinstance(i, String | Number) for i in items):
            return Operation("set", tuple(_read(item, reader) for item in items))
        case SetOf() | Phrase() | Hook():
            return _set(expr, scope)
        case Name():
            return _name(expr, reader)
        case Index(value=value) if holds_dictionaries(value, scope):
            return _set(expr, scope)
        case Attribute() | Index():
            return _chain(expr, reader)
    raise scope.reject("E300", "a number or a test is wanted here", expr.span)


def _binary(expr: Binary, reader: _Reader) -> Expression:
    op, left, right = expr.op, expr.left, expr.right
    if op in ("in", "not in") and isinstance(right, Range) and right.every is None:
        return _between(expr, right, reader)
    a = _read(left, reader)
    if op in ("in", "not in") and isinstance(right, Range):
        values = literal(right, reader.scope)
        return Operation(op, (a, Operation("set", tuple(map(Literal, values)))))
    b = _read(right, reader)
    if op == "-" and isinstance(a, SetOfUnits) and isinstance(b, SetOfUnits):
        return _set(expr, reader.scope)
    if op in ("+", "-", "*", "/", "and", "or"):
        return operated(op, [(left, a), (right, b)], reader.scope)
    return compared(op, (left, a), (right, b), reader.scope)


def _between(expr: Binary, ends: Range, reader: _Reader) -> Expression:
    """`x in a..b`: both ends in, and everything between."""
    value = _read(expr.left, reader)
    parts = [
        compared(op, (expr.left, value), (end, _read(end, reader)), reader.scope)
        for op, end in ((">=", ends.start), ("<=", ends.stop))
    ]
    inside = Operation("and", tuple(parts))
    return inside if expr.op == "in" else Operation("not", (inside,))


def _within(expr: Within, reader: _Reader) -> Expression:
    """|value − target| at most the tolerance; a percentage is of |target|."""
    target = _read(expr.target, reader)
    tolerance = _read(expr.tolerance, reader)
    if isinstance(expr.tolerance, Number) and expr.tolerance.suffix == "%":
        tolerance = Operation("*", (tolerance, Operation("abs", (target,))))
    value = _read(expr.value, reader)
    parts = [(expr.value, value), (expr.tolerance, tolerance), (expr.target, target)]
    return operated("within", parts, reader.scope)


def _call(expr: Call, reader: _Reader) -> Expression:
    scope = reader.scope
    count = _FUNCTIONS.get(expr.function)
    if count is None:
        if expr.function in (*GROUPS, FEATURES, ERRORS):
            return _set(expr, scope)
        known = [*_FUNCTIONS, *GROUPS]
        raise scope.unknown_function(expr.function, expr.name_span, "a function of results", known)
    if len(expr.arguments) != count or any(a.name for a in expr.arguments):
        raise scope.reject(
            "E304" if len(expr.arguments) > count else "E301",
            f"`{expr.function}` takes {count} argument{'s' * (count > 1)}",
            expr.span,
        )
    values = [a.value for a in expr.arguments]
    if expr.function == "abs":
        return operated("abs", [(values[0], _read(values[0], reader))], scope)
    return Operation(expr.function, tuple(_set(v, scope) for v in values))


def _set(expr: Expr, scope: Scope) -> SetOfUnits:
    from interp_dsl.check.units import units

    return SetOfUnits(units(expr, scope).units)


def _name(expr: Name, reader: _Reader) -> Expression:
    scope = reader.scope
    if expr.id in ("true", "false"):
        return Literal(expr.id == "true")
    if reader.kind == "example" and expr.id in reader.columns:
        return ColumnOf(expr.id)
    declared = scope.find(expr.id)
    match declared.keyword if declared else "":
        case "param":
            return _literal(expr, scope)
        case "let":
            return _let(expr, reader)
        case "units":
            return _set(expr, scope)
        case "step":
            return _score(expr, reader)
    if reader.kind == "example":
        return ColumnOf(expr.id)
    if is_place(expr.id):
        return _set(expr, scope)
    known = scope.declared_as("step", "param", "units", "let")
    if reader.kind == "unit" and declared is None and not suggest(expr.id, known):
        raise scope.reject(
            "E200",
            f"there is no step or value `{expr.id}`",
            expr.span,
            label="a unit has its scores in a step, no columns",
            help="to choose examples write (DATA where …).SIDE",
        )
    raise scope.unknown(expr, "a step or value", known)


def _chain(expr: Attribute | Index, reader: _Reader) -> Expression:
    scope = reader.scope
    root, _, chain = unroll(expr, scope)
    declared = scope.lookup(root)
    if declared is None and isinstance(root, Name) and is_place(root.id):
        return _set(expr, scope)
    if declared is not None and declared.keyword in ("model", "units"):
        return _set(expr, scope)
    if len(chain) == 1 and file_of(root, scope):
        return _set(expr, scope)
    is_step = declared is not None and declared.keyword == "step"
    if is_step and isinstance(expr, Attribute) and _is_part(expr, step_of(root, scope)):
        return _set(expr, scope)
    if declared is not None and declared.keyword in ("let", "param") and not chain:
        return _let(expr, reader) if declared.keyword == "let" else _literal(expr, scope)
    return _score(expr, reader)


def _is_part(expr: Attribute, step: Step) -> bool:
    """Whether this is the edges or nodes of what a step has found."""
    return step.result == "circuit" or (step.verb == "search" and expr.name == NODES)


def _score(expr: Expr, reader: _Reader) -> Expression:
    if not reader.has_results:
        raise reader.scope.reject(
            "E306",
            "no step has results while the data is made",
            expr.span,
            help="filter the finished data: let some = DATA where …",
        )
    return score(expr, reader)


def _literal(expr: Expr, scope: Scope) -> Expression:
    value = literal(expr, scope)
    if isinstance(value, list):
        return Operation("set", tuple(map(Literal, value)))
    return Literal(value)


def _let(expr: Name | Attribute | Index, reader: _Reader) -> Expression:
    from interp_dsl.check.lets import let_as, let_kinds

    declared = reader.scope.lookup(expr, "let")
    assert declared is not None
    if "units" in let_kinds(declared):
        return _set(expr, reader.scope)
    let_as(declared, "literal", "a number or a set of places", expr.span, reader.scope)
    return _literal(expr, reader.scope)
