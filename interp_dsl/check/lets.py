"""`let`: a name for any value. What it may be read as is found by trying; its user takes the kind
that it wants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from interp_dsl.check.circuits import from_file, no_file
from interp_dsl.check.groups import GROUPS
from interp_dsl.check.literals import literal
from interp_dsl.check.loaded import loaded
from interp_dsl.check.scope import Declared, Rejected, Scope
from interp_dsl.check.sides import side
from interp_dsl.check.sources import context, source
from interp_dsl.check.trial import attempt
from interp_dsl.check.units import units
from interp_dsl.check.vectors import vector
from interp_dsl.language.source import Span
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
)
from interp_dsl.models.sites import FAMILIES
from interp_dsl.verbs.evidence import CIRCUIT
from interp_dsl.verbs.functions import SOURCES
from interp_dsl.verbs.load import LOAD

_NOUNS = {
    "literal": "a plain value",
    "units": "a set of places",
    "dataset": "a dataset",
    "side": "a side of a dataset",
    "source": "a source",
    "vector": "a vector",
    "context": "an intervention",
    "circuit": "a circuit",
    "dictionary": "a dictionary",
}


def check_let(declared: Declared) -> None:
    """Report a `let` that is no value of any kind."""
    let_kinds(declared)


def let_as(declared: Declared, kind: str, what: str, span: Span, scope: Scope) -> Any:
    """The value of a `let` as one kind; reported at `span` when it is none."""
    kinds = let_kinds(declared)
    if kind not in kinds:
        raise scope.reject(
            "E300",
            f"`{span.text}` is {_NOUNS[next(iter(kinds))]}, and {what} is wanted here",
            span,
            label=declared.line(span),
        )
    return kinds[kind]


def let_kinds(declared: Declared) -> dict[str, Any]:
    """The value of a `let` as every kind that it can be read as."""
    kinds: dict[str, Any] = declared.evaluate(lambda: _kinds(declared))
    return kinds


def _kinds(declared: Declared) -> dict[str, Any]:
    scope, expr = declared.scope, declared.expr
    other = scope.lookup(expr, "let")
    if other is not None:
        return let_kinds(other)
    likely = _likely(expr, scope)
    readers = _readers(declared)
    found: dict[str, Any] = {}
    nearest, depth = likely[0], -1
    for kind in likely:
        tried = attempt(lambda kind=kind: readers[kind](expr, scope), scope)  # type: ignore[misc]
        if tried.succeeded:
            found[kind] = tried.value
        elif not tried.wrong:
            raise Rejected
        elif (inner := max(len(expr.span.text) - len(_text(d)) for d in tried.wrong)) > depth:
            nearest, depth = kind, inner
    if not found:
        readers[nearest](expr, scope)
        raise Rejected
    return found


def _text(diagnostic: Any) -> str:
    return diagnostic.span.text if diagnostic.span else ""


def _readers(declared: Declared) -> dict[str, Callable[[Expr, Scope], Any]]:
    from interp_dsl.check.datasets import named_dataset

    return {
        "literal": literal,
        "units": units,
        "dataset": lambda expr, scope: named_dataset(expr, scope, declared.id),
        "side": side,
        "source": source,
        "vector": vector,
        "context": context,
        "circuit": from_file,
        "dictionary": lambda expr, scope: loaded(expr, scope, declared.id),
    }


def _likely(expr: Expr, scope: Scope) -> tuple[str, ...]:
    """The kinds that an expression of this form can have."""
    match expr:
        case Number() | Unary():
            return ("literal", "source", "vector") if isinstance(expr, Unary) else _NUMBER
        case ListOf() | Range():
            return ("literal",)
        case String():
            return ("literal", "units")
        case Name() | Attribute():
            return _of_name(expr, scope)
        case Index():
            return ("units", "vector")
        case SetOf() | Hook() | Binary(op="|" | "&" | "->"):
            return ("units",)
        case Binary(op="-") if not _is_of_vectors(expr):
            return ("units", "vector", "source")
        case Binary(op="+" | "-" | "*" | "/"):
            return ("vector", "source")
        case Phrase(clauses=clauses):
            words = {c.word for c in clauses}
            if "under" in words:
                return ("side", "source")
            if "of" in words:
                return ("vector",)
            return ("dataset", "units") if words == {"where"} else ("units",)
        case Call():
            return _of_call(expr, scope)
    raise scope.reject(
        "E300",
        "a `let` holds a value",
        expr.span,
        label="a test" if isinstance(expr, Binary) else "",
        help="a test stands in `expect` or `where`",
    )


def _is_of_vectors(expr: Expr) -> bool:
    """Whether a difference must be of vectors: one of its terms is a mean or a multiple."""
    match expr:
        case Binary(op="+" | "-", left=left, right=right):
            return _is_of_vectors(left) or _is_of_vectors(right)
        case Call(function="mean") | Binary(op="*" | "/"):
            return True
    return False


_NUMBER = ("literal", "source")


def _of_name(expr: Name | Attribute, scope: Scope) -> tuple[str, ...]:
    declared = scope.lookup(expr)
    if declared is not None and declared.keyword not in ("model", "metric"):
        of = {
            "param": _NUMBER,
            "dataset": ("dataset", "side", "source"),
            "units": ("units",),
            "step": ("context",),
        }
        return of[declared.keyword]
    if declared is not None or (isinstance(expr, Name) and not _has_meaning(expr)):
        known = [*scope.declared_as("param", "let", "units", "dataset", "step"), *FAMILIES]
        raise scope.unknown(expr, "a value", known)
    return ("literal", "units", "source", "side")


def _has_meaning(expr: Name) -> bool:
    from interp_dsl.check.literals import WORDS
    from interp_dsl.check.places import is_place

    return expr.id in WORDS or expr.id in ("zero", "blocked") or is_place(expr.id)


def _of_call(expr: Call, scope: Scope) -> tuple[str, ...]:
    if expr.function == "together":
        return ("units", "context")
    if expr.function in GROUPS:
        return ("units",)
    if expr.function == "mean":
        return ("source", "vector")
    if expr.function in SOURCES:
        return ("source",)
    if expr.function == CIRCUIT.name:
        return ("circuit",)
    if expr.function == LOAD.name:
        return ("dictionary",)
    no_file(expr, scope)
    known = [*SOURCES, *GROUPS, CIRCUIT.name, LOAD.name]
    raise scope.unknown_function(expr.function, expr.name_span, "a function of values", known)
