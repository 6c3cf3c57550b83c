"""Conditions on the examples of a dataset: `where Z > Y`, `ioi where base.accuracy.value == 1`."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interp_dsl.data.faults import closest, fault, listed
from interp_dsl.data.types import Data
from interp_dsl.plan.algebra import ColumnOf, Expression, Literal, Operation, ScoreOf

_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "in": lambda a, b: a in b,
    "not in": lambda a, b: a not in b,
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}


def evaluate(
    test: Expression,
    column: Callable[[str], object],
    score: Callable[[ScoreOf], object] | None = None,
) -> Any:
    """The value of an expression for one example. E424 when it can't be had: an operation that
    makes no sense for one example, or values that don't compare."""
    match test:
        case Literal(value):
            return value
        case ColumnOf(name):
            return column(name)
        case ScoreOf() if score is not None:
            return score(test)
        case Operation(op, operands):
            return _operate(op, operands, lambda e: evaluate(e, column, score))
        case _:
            raise _meaningless("results of steps" if isinstance(test, ScoreOf) else "sets of units")


def _operate(op: str, operands: tuple[Expression, ...], value: Callable[[Expression], Any]) -> Any:
    match op, operands:
        case "and", _:
            return all(value(e) for e in operands)
        case "or", _:
            return any(value(e) for e in operands)
        case "not", (inner,):
            return not value(inner)
        case "neg", (inner,):
            return -value(inner)
        case "abs", (inner,):
            return abs(value(inner))
        case "set", _:
            return {value(e) for e in operands}
        case _, (left, right) if op in _BINARY:
            return _compare(op, value(left), value(right))
        case _:
            raise _meaningless(f"`{op}`")


def _compare(op: str, left: Any, right: Any) -> Any:
    try:
        return _BINARY[op](left, right)
    except (TypeError, ZeroDivisionError):
        raise fault(
            "E424",
            f"`{left!r} {op} {right!r}` has no value",
            help="compare numbers with numbers and text with text",
        ) from None


def _meaningless(what: str) -> Exception:
    return fault(
        "E424",
        f"{what} can't stand in a condition on single examples here",
        help="compare the dataset's columns and numbers with each other",
    )


def names_in(test: Expression) -> set[str]:
    """The columns that an expression reads."""
    return {e.name for e in _walk(test) if isinstance(e, ColumnOf)}


def _walk(test: Expression) -> Iterator[Expression]:
    yield test
    if isinstance(test, Operation):
        for operand in test.operands:
            yield from _walk(operand)


def matches(
    data: Data,
    test: Expression,
    scores: Callable[[ScoreOf], NDArray[np.float64]] | None = None,
) -> NDArray[np.bool_]:
    """Which of the n examples satisfy a test: bool [n]. `scores` gives a step's value for every
    example, [n]; `index` is the example's number."""
    held = {e: scores(e) for e in _walk(test) if isinstance(e, ScoreOf)} if scores else {}
    for name in names_in(test) - {"index"} - data.columns.keys():
        raise _no_column(name, data)

    def passes(row: int) -> bool:
        def column(name: str) -> object:
            return row if name == "index" else data.columns[name][row]

        return bool(evaluate(test, column, (lambda e: held[e][row]) if scores else None))

    return np.array([passes(row) for row in range(data.n)], dtype=np.bool_)


def _no_column(name: str, data: Data) -> Exception:
    known = [*data.columns, "index"]
    return fault(
        "E424",
        f"{data.name} has no column {name}",
        f"it has {listed(known)}",
        help=closest(name, known),
    )
