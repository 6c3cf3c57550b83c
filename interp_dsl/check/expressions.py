"""Expressions over results: claims, tests of units, tests of examples."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from interp_dsl.check.literals import literal
from interp_dsl.check.scope import Declared, Scope
from interp_dsl.language.source import Span
from interp_dsl.language.suggest import suggest
from interp_dsl.language.tree import (
    Argument,
    Attribute,
    Binary,
    Call,
    Expr,
    Index,
    ListOf,
    Name,
    Number,
    Phrase,
    SetOf,
    String,
    Unary,
    Within,
)
from interp_dsl.plan.algebra import (
    ColumnOf,
    Explicit,
    Expression,
    Literal,
    Operation,
    ScoreOf,
    SetOfUnits,
)
from interp_dsl.plan.places import Unit
from interp_dsl.plan.units import steps_of
from interp_dsl.verbs.values import Dataset, Step

COLUMNS = ("base", "value", "effect", "normalized", "low", "high", "n")
_PLACE = re.compile(r"L\d+(H\d+)?$")


@dataclass(frozen=True)
class _Reader:
    """What a bare score means here: `kind` is claim, unit or example."""

    scope: Scope
    kind: str
    dataset: Dataset | None = None


def claim(expr: Expr, scope: Scope) -> Expression:
    """The test of an `expect`."""
    return _read(expr, _Reader(scope, "claim"))


def unit_test(expr: Expr, scope: Scope) -> Expression:
    """The test of `heads where who.gap.effect < -0.1`: scores are the unit's own."""
    return _read(expr, _Reader(scope, "unit"))


unit_value = unit_test


def example_test(expr: Expr, scope: Scope, dataset: Dataset | None) -> Expression:
    """The test of `ioi where index < 128`: columns and scores are the example's own."""
    return _read(expr, _Reader(scope, "example", dataset))


def depends(test: Expression) -> set[str]:
    """The steps that an expression reads."""
    return steps_of(test)


def _read(expr: Expr, reader: _Reader) -> Expression:
    scope = reader.scope
    match expr:
        case Number(value=value, suffix=suffix):
            return Literal(value / 100 if suffix == "%" else value)
        case String(value=value):
            return Literal(value)
        case Binary(op=op, left=left, right=right) if op in ("|", "&"):
            return _set(expr, scope)
        case Binary(op="->"):
            raise scope.reject("E306", "an arrow has no value", expr.span)
        case Binary(op=op, left=left, right=right):
            return _binary(op, left, right, reader)
        case Unary(op=op, value=inner):
            return Operation("neg" if op == "-" else "not", (_read(inner, reader),))
        case Within():
            return _within(expr, reader)
        case Call():
            return _call(expr, reader)
        case SetOf() | Phrase():
            return _set(expr, scope)
        case ListOf(items=items):
            return Operation("set", tuple(_read(item, reader) for item in items))
        case Name():
            return _name(expr, reader)
        case Attribute() | Index():
            return _score(expr, reader)
    raise scope.reject("E300", "a number or a test is wanted here", expr.span)


def _binary(op: str, left: Expr, right: Expr, reader: _Reader) -> Expression:
    a, b = _read(left, reader), _read(right, reader)
    if op in ("in", "not in") and isinstance(a, SetOfUnits) and not isinstance(b, SetOfUnits):
        raise reader.scope.reject("E300", "a place lies in a set of places", right.span)
    if op in ("in", "not in") and isinstance(a, SetOfUnits):
        a = _one_unit(a, left, reader.scope)
    sets = [isinstance(x, SetOfUnits) for x in (a, b)]
    if op in ("<", "<=", ">", ">=", "+", "*", "/") and any(sets):
        culprit = left if sets[0] else right
        raise reader.scope.reject(
            "E300", f"`{op}` compares numbers, and this is a set of places", culprit.span,
            help=f"its size is a number: size({culprit.span.text})",
        )
    return Operation(op, (a, b))


def _one_unit(found: SetOfUnits, expr: Expr, scope: Scope) -> Literal:
    """The one place that `in` looks for."""
    units = found.units.units if isinstance(found.units, Explicit) else ()
    if len(units) != 1:
        raise scope.reject(
            "E300", "`in` asks for one place", expr.span, help="compare sets with == or jaccard"
        )
    return Literal(str(units[0]))


def _within(expr: Within, reader: _Reader) -> Expression:
    """|value − target| at most the tolerance; a percentage is of |target|."""
    target = _read(expr.target, reader)
    tolerance = _read(expr.tolerance, reader)
    if isinstance(expr.tolerance, Number) and expr.tolerance.suffix == "%":
        tolerance = Operation("*", (tolerance, Operation("abs", (target,))))
    return Operation("within", (_read(expr.value, reader), tolerance, target))


def _call(expr: Call, reader: _Reader) -> Expression:
    from interp_dsl.check.units import GROUPS

    scope = reader.scope
    count = {"size": 1, "abs": 1, "jaccard": 2}.get(expr.function)
    if count is None:
        if expr.function in GROUPS:
            return _set(expr, scope)
        known = ["size", "jaccard", "abs", *GROUPS]
        raise scope.unknown(expr.function, expr.name_span, "a function of results", known, "E203")
    if len(expr.arguments) != count:
        raise scope.reject(
            "E304", f"`{expr.function}` takes {count} argument{'s' * (count > 1)}", expr.span
        )
    values = [a.value for a in expr.arguments]
    if expr.function == "abs":
        return Operation("abs", (_read(values[0], reader),))
    return Operation(expr.function, tuple(_set(v, scope) for v in values))


def _set(expr: Expr, scope: Scope) -> SetOfUnits:
    from interp_dsl.check.units import units

    return SetOfUnits(units(expr, scope).units)


def _name(expr: Name, reader: _Reader) -> Expression:
    scope = reader.scope
    if expr.id in ("true", "false"):
        return Literal(expr.id == "true")
    declared = scope.find(expr.id)
    if declared and declared.keyword == "param":
        return Literal(literal(expr, scope))
    if declared and declared.keyword == "let":
        return _read(declared.node.value, replace(reader, scope=declared.scope))  # type: ignore[union-attr]
    if declared and declared.keyword == "units":
        return _set(expr, scope)
    if declared and declared.keyword == "step":
        return _score(expr, reader)
    if reader.kind == "example":
        return ColumnOf(expr.id)
    if _PLACE.match(expr.id):
        return _set(expr, scope)
    raise scope.unknown(expr.id, expr.span, "a step or a value", scope.declared_as("step", "param"))


# ---- scores: step[unit at position, k=64].metric.column


def _score(expr: Expr, reader: _Reader) -> Expression:
    scope = reader.scope
    chain: list[tuple[str, Span]] = []
    node = expr
    while isinstance(node, Attribute):
        if isinstance(node.value, Name) and node.value.id in scope.aliases:
            break
        chain.insert(0, (node.name, node.name_span))
        node = node.value
    index = node if isinstance(node, Index) else None
    root = index.value if index else node
    if isinstance(root, Attribute | Name) and _is_place(root, scope):
        return _set(expr, scope)
    step = step_of(root, scope)
    if step.result != "scores":
        raise scope.reject(
            "E300", f"`{step.name}` has no scores", root.span, label=f"a step of `{step.verb}`"
        )
    if len(chain) > 2:
        raise scope.reject(
            "E208", "a score is written step[unit].metric.column", chain[2][1], label="too much"
        )
    metric, column = _metric_and_column(step, chain, root.span, scope)
    unit, position, where = _row(index, step, reader, expr.span)
    return ScoreOf(step.name, metric, column, unit, position, where)


def _is_place(root: Expr, scope: Scope) -> bool:
    name = root.id if isinstance(root, Name) else root.span.text.partition(".")[0]
    return bool(_PLACE.match(name)) and scope.find(name) is None


def step_of(expr: Expr, scope: Scope, what: str = "a step") -> Step:
    """The checked step that a name stands for."""
    declared: Declared | None = None
    match expr:
        case Name(id=name):
            declared = scope.find(name, ("step",))
        case Attribute(value=Name(id=alias), name=name) if alias in scope.aliases:
            declared = scope.aliases[alias].find(name, ("step",))
    if declared is None:
        name = expr.id if isinstance(expr, Name) else expr.span.text
        raise scope.unknown(name, expr.span, what, scope.declared_as("step"))
    from interp_dsl.check.steps import declared_step

    return declared_step(declared)


def metric_column(step: Step, by: Expr | None, span: Span, scope: Scope) -> tuple[str, str]:
    """The metric and column of `by=gap.effect`; the step's first metric where nothing is said."""
    chain: list[tuple[str, Span]] = []
    node = by
    while isinstance(node, Attribute):
        chain.insert(0, (node.name, node.name_span))
        node = node.value
    if isinstance(node, Name):
        if node.id != step.name:
            chain.insert(0, (node.id, node.span))
    elif by is not None:
        raise scope.reject("E300", "`by` names a metric and a column", by.span)
    if by is None and step.metrics:
        return step.metrics[0].name, "effect" if step.has_effect else "value"
    return _metric_and_column(step, chain, span, scope)


def _metric_and_column(
    step: Step, chain: list[tuple[str, Span]], span: Span, scope: Scope
) -> tuple[str, str]:
    names = [m.name for m in step.metrics]
    bare = "effect" if step.has_effect else "value"
    if not chain or (chain[0][0] in COLUMNS and chain[0][0] not in names):
        if len(names) != 1:
            raise scope.reject(
                "E208", f"`{step.name}` has {len(names)} metrics", span,
                label="which of them?", help=f"write {step.name}.{names[0]}" if names else None,
            )
        chain = [(names[0], span), *chain]
    metric, metric_span = chain[0]
    if metric not in names:
        near = suggest(metric, names)
        raise scope.reject(
            "E208", f"`{step.name}` measures no `{metric}`", metric_span,
            label=f"it measures {', '.join(names) or 'nothing'}",
            help=f"did you mean `{near}`?" if near else None,
        )
    column, column_span = chain[1] if len(chain) > 1 else (bare, span)
    if column not in COLUMNS:
        near = suggest(column, list(COLUMNS))
        raise scope.reject(
            "E208", f"a score has no column `{column}`", column_span,
            label=f"its columns: {', '.join(COLUMNS)}",
            help=f"did you mean `{near}`?" if near else None,
        )
    if not step.has_effect and column in ("effect", "normalized", "base"):
        raise scope.reject(
            "E208", f"`{step.verb}` gives values, no `{column}`", column_span,
            help=f"write {step.name}.{metric}.value",
        )
    return metric, column


def _row(
    index: Index | None, step: Step, reader: _Reader, span: Span
) -> tuple[str | None, str | None, tuple[tuple[str, float | str], ...]]:
    """The unit, position and further columns that the brackets fix."""
    if index is None:
        if reader.kind == "claim" and step.n_rows is not None and step.n_rows > 1:
            raise reader.scope.reject(
                "E310", f"`{step.name}` has {step.n_rows} rows for each metric", span,
                label="which of them?",
                help=f"name the unit, as {step.name}[{_example_unit(step)}]",
            )
        return None, None, ()
    unit: str | None = None
    position: str | None = None
    where: list[tuple[str, float | str]] = []
    for argument in index.arguments:
        if argument.name:
            where.append((argument.name, _where_value(argument, reader.scope)))
        else:
            unit, position = _unit(argument, step, reader.scope)
    return unit, position, tuple(where)


def _where_value(argument: Argument, scope: Scope) -> Any:
    value = argument.value
    if isinstance(value, Name | Call) and argument.name == "under":
        return value.span.text
    return literal(value, scope)


def _example_unit(step: Step) -> str:
    if isinstance(step.units, Explicit):
        return str(step.units.units[0])
    return "L0H0"


def _unit(argument: Argument, step: Step, scope: Scope) -> tuple[str, str | None]:
    """The unit's text and position; it must be one that the step measures."""
    from interp_dsl.check.units import units

    value = argument.value
    found = units(value, scope).units
    if not isinstance(found, Explicit) or len(found.units) != 1:
        raise scope.reject("E300", "the brackets name one unit", argument.span)
    unit = found.units[0]
    placed = isinstance(value, Phrase)
    measured = _matching(unit, placed, step)
    if measured == []:
        names = [str(u) for u in step.units.units] if isinstance(step.units, Explicit) else []
        near = suggest(str(unit), names)
        raise scope.reject(
            "E311", f"`{step.name}` does not measure {unit}", argument.span,
            label=f"it measures {', '.join(names[:6])}{' …' if len(names) > 6 else ''}",
            help=f"did you mean {near}?" if near else None,
        )
    if measured is not None and len(measured) == 1:
        return measured[0].place, measured[0].position
    return unit.place, unit.position if placed else None


def _matching(unit: Unit, placed: bool, step: Step) -> list[Unit] | None:
    """The step's units that a reference means; None when they are known only at run time."""
    if not isinstance(step.units, Explicit):
        return None
    items = step.units.units
    if any("each" in str(t.positions) for u in items for t in u.targets):
        return None
    if placed:
        return [u for u in items if u.place == unit.place and u.position == unit.position]
    return [u for u in items if u.place == unit.place]
