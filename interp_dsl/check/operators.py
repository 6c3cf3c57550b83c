"""The types of expressions over results: what an operator takes and gives."""

from __future__ import annotations

from interp_dsl.check.scope import Rejected, Scope
from interp_dsl.language.tree import Expr
from interp_dsl.plan.algebra import (
    ColumnOf,
    Expression,
    Literal,
    Operation,
    ScoreOf,
    SetOfUnits,
)

Part = tuple[Expr, Expression]
"""An operand as it is written, and as it is read."""

_NOUNS = {
    "number": "a number",
    "text": "a string",
    "truth": "a test",
    "places": "a set of places",
    "list": "a list",
    "nothing": "none",
}


def type_of(value: Expression) -> str | None:
    """number, text, truth, places or list; None where only the run tells."""
    match value:
        case Literal(value=bool()):
            return "truth"
        case Literal(value=str()):
            return "text"
        case Literal(value=None):
            return "nothing"
        case Literal() | ScoreOf():
            return "number"
        case SetOfUnits():
            return "places"
        case ColumnOf():
            return None
        case Operation(op="set"):
            return "list"
        case Operation(op="+" | "-" | "*" | "/" | "neg" | "abs" | "size" | "jaccard"):
            return "number"
        case Operation():
            return "truth"


def truth(value: Expression, expr: Expr, scope: Scope) -> Expression:
    """The same expression, which must be a test."""
    found = type_of(value)
    if found in ("truth", None):
        return value
    raise scope.reject(
        "E300",
        f"a test is wanted here, and this is {_NOUNS[str(found)]}",
        expr.span,
        help=f"compare it: {expr.span.text} > 0.5" if found == "number" else None,
    )


def operated(op: str, parts: list[Part], scope: Scope) -> Operation:
    """Arithmetic of numbers, `and`, `or` and `not` of tests."""
    wanted = "truth" if op in ("and", "or", "not") else "number"
    for expr, value in parts:
        if type_of(value) not in (wanted, None):
            raise _wrong({"neg": "-"}.get(op, op), expr, value, wanted, scope)
    return Operation(op, tuple(value for _, value in parts))


def compared(op: str, left: Part, right: Part, scope: Scope) -> Operation:
    """Comparisons, and `in`."""
    kinds = [type_of(value) for _, value in (left, right)]
    if op in ("in", "not in"):
        _member(op, left, right, scope)
    elif op not in ("==", "!="):
        if "text" in kinds and set(kinds) <= {"text", None}:
            return Operation(op, (left[1], right[1]))
        for expr, value in (left, right):
            if type_of(value) not in ("number", None):
                raise _wrong(op, expr, value, "number", scope)
    elif None not in kinds and kinds[0] != kinds[1]:
        raise scope.reject(
            "E300",
            f"`{op}` compares {_NOUNS[str(kinds[0])]} with {_NOUNS[str(kinds[1])]}",
            left[0].span.to(right[0].span),
            label="these are never equal",
        )
    return Operation(op, (left[1], right[1]))


def _member(op: str, left: Part, right: Part, scope: Scope) -> None:
    one, many = type_of(left[1]), type_of(right[1])
    if many not in ("places", "list"):
        raise scope.reject(
            "E300",
            f"`{op}` looks into a set of places, a list or a range",
            right[0].span,
            label="this is none of them",
        )
    if one is not None and (one == "places") != (many == "places"):
        raise scope.reject(
            "E300",
            f"{_NOUNS[one]} is never in {_NOUNS[many]}",
            left[0].span,
        )


def _wrong(op: str, expr: Expr, value: Expression, wanted: str, scope: Scope) -> Rejected:
    found = type_of(value)
    helps = {
        "places": f"its size is a number: size({expr.span.text})",
        "number": f"compare it: {expr.span.text} > 0.5",
    }
    return scope.reject(
        "E300",
        f"`{op}` takes {'tests' if wanted == 'truth' else 'numbers'}, "
        f"and this is {_NOUNS[str(found)]}",
        expr.span,
        help=helps.get(str(found)),
    )
