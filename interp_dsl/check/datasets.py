"""Datasets: what makes them, their bodies, and filtered ones."""

from __future__ import annotations

from typing import Any

from interp_dsl.check.arguments import arguments
from interp_dsl.check.bodies import body_of
from interp_dsl.check.hubs import hub_name
from interp_dsl.check.literals import values_of
from interp_dsl.check.paths import inside, require_trust
from interp_dsl.check.sampled import writer_of
from interp_dsl.check.scope import Declared, Scope
from interp_dsl.language.source import Span
from interp_dsl.language.tree import Attribute, Binary, Call, Expr, Index, Name, Phrase
from interp_dsl.models.files import bundled_text
from interp_dsl.verbs.functions import DATASETS
from interp_dsl.verbs.values import Dataset

_PAIRED = ("repeated_tokens", "task")
_OPEN = ("file", "tokens", "python")


def dataset(expr: Expr, scope: Scope) -> Dataset:
    """A dataset by name, or filtered: `ioi where index < 128`."""
    if isinstance(expr, Phrase):
        parts = [part.span.text for part in (*expr.objects, *expr.clauses)]
        return _filtered(expr, scope, " ".join(" ".join(parts).split()))
    if isinstance(expr, Call):
        raise scope.reject(
            "E300",
            "a dataset's name is wanted here",
            expr.span,
            help="declare it first: dataset pairs = …",
        )
    declared = scope.lookup(expr, "dataset", "let")
    if declared is None:
        known = scope.sides_meant(expr) or scope.declared_as("dataset")
        raise scope.unknown(expr, "a dataset", known)
    if declared.keyword == "dataset":
        return declared_dataset(declared)
    from interp_dsl.check.lets import let_as

    found: Dataset = let_as(declared, "dataset", "a dataset", expr.span, scope)
    return found


def declared_dataset(declared: Declared) -> Dataset:
    value: Dataset = declared.evaluate(lambda: _make(declared))
    return value


def named_dataset(expr: Expr, scope: Scope, name: str) -> Dataset:
    """The dataset that a `let` of this name holds."""
    if isinstance(expr, Phrase):
        return _filtered(expr, scope, name)
    return dataset(expr, scope)


def _make(declared: Declared) -> Dataset:
    scope, expr, body = declared.scope, declared.expr, declared.body
    if isinstance(expr, Phrase) and body is None:
        return _filtered(expr, scope, declared.id)
    if isinstance(expr, Name) and expr.id in DATASETS and body is not None:
        expr = Call(function=expr.id, arguments=(), name_span=expr.span, span=expr.span)
    if not isinstance(expr, Call):
        raise scope.reject(
            "E300",
            "a dataset is made by a function",
            expr.span,
            help=f"write for example: dataset {declared.name} = repeated_tokens(pairs=64)",
        )
    if expr.function not in DATASETS:
        known = list(DATASETS)
        raise scope.unknown_function(expr.function, expr.name_span, "a kind of dataset", known)
    given = arguments(expr, DATASETS[expr.function], scope)
    spec: dict[str, Any] = {"kind": expr.function}
    spec |= {k: v for k, v in given.items() if v is not None}
    if body is not None:
        spec |= body_of(body, expr.function, spec, scope)
    elif expr.function == "template":
        raise scope.reject(
            "E301",
            "a template needs a body",
            expr.span,
            help='write template(n=64) { clean "…" where name in ["…", "…"] }',
        )
    _paths(spec, expr.span, scope)
    if expr.function == "hub":
        spec["name"] = hub_name(spec, expr.span, scope)
    if expr.function == "python":
        require_trust(expr.span, scope)
        spec["folder"] = str(scope.folder)
    writer = writer_of(declared.id, spec, expr, scope)
    sides = _sides(declared.name, spec)
    return Dataset(declared.id, spec, sides, expr.span, writer=writer)


def _paths(spec: dict[str, Any], span: Span, scope: Scope) -> None:
    for key in ("path", "verbs"):
        if key in spec:
            spec[key] = str(inside(spec[key], span, scope))
    if "paths" in spec:
        spec["paths"] = [str(inside(p, span, scope)) for p in spec["paths"]]


def _sides(name: str, spec: dict[str, Any]) -> tuple[str, ...]:
    """The sides that a dataset may have, from its text alone."""
    if spec["kind"] == "task" and bundled_text(spec["name"]):
        return (name,)
    if spec["kind"] in _PAIRED or spec.get("corrupt"):
        return ("clean", "corrupt")
    if spec["kind"] in _OPEN:
        return ("clean", "corrupt", name)
    return (name,)


# ---- filtered


def _filtered(phrase: Phrase, scope: Scope, name: str) -> Dataset:
    from interp_dsl.check.expressions import example_test

    tests = [c for c in phrase.clauses if c.word == "where"]
    others = [c for c in phrase.clauses if c.word != "where"]
    if len(tests) != 1 or others:
        span = others[0].word_span if others else phrase.span
        raise scope.reject(
            "E300",
            "a dataset is filtered by one `where`",
            span,
            help="write for example: ioi where index < 128",
        )
    values = values_of(tests[0], scope)
    if len(values) > 1:
        raise scope.reject("E304", "`where` takes one test", values[1].span, help="join them: and")
    parent = _chosen_from(phrase, scope)
    test = example_test(values[0], scope, slots_of(parent))
    names = tuple(_names(values[0]))
    return Dataset(
        name, {"kind": "filter"}, parent.sides, phrase.span, parent=parent, test=test, names=names
    )


def _chosen_from(phrase: Phrase, scope: Scope) -> Dataset:
    """The dataset that is filtered; a side of one is taken behind the filter."""
    first = phrase.objects[0]
    known = scope.lookup(first) is not None
    if isinstance(first, Attribute) and not known and scope.lookup(first.value, "dataset", "let"):
        raise scope.reject(
            "E300",
            "a whole dataset is filtered, not one side",
            first.span,
            help=f"take the side of what is kept: ({first.value.span.text} where …).{first.name}",
        )
    return dataset(first, scope)


def slots_of(found: Dataset) -> frozenset[str]:
    """The columns that a template's `where` lines declare."""
    while found.parent is not None:
        found = found.parent
    return frozenset(name for w in found.spec.get("where", ()) for name in w["names"])


def _names(expr: Expr) -> list[tuple[str, Span]]:
    """The bare names in a test and where they stand: those that are columns are among them."""
    match expr:
        case Name(id=name):
            return [(name, expr.span)]
        case Binary(left=left, right=right):
            return [*_names(left), *_names(right)]
        case Attribute() | Index():
            return []
    inner = getattr(expr, "value", None)
    return _names(inner) if inner is not None and not isinstance(inner, str | int | float) else []
