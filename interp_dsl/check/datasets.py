"""Datasets: what makes them, their sides, and the data itself where it can be had cheaply."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from interp_dsl.check.literals import arguments, literal
from interp_dsl.check.models import carry, inside, require_trust
from interp_dsl.check.scope import Declared, Scope
from interp_dsl.data.types import Data
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.language.source import Span
from interp_dsl.language.suggest import suggest
from interp_dsl.language.tree import (
    Attribute,
    Binding,
    Body,
    Call,
    Condition,
    Expr,
    Field,
    ListOf,
    Name,
    Phrase,
)
from interp_dsl.verbs.functions import DATASETS
from interp_dsl.verbs.values import Dataset, Model, Side

_FIELDS = ("clean", "corrupt", "answer", "wrong")
_PAIRED = ("repeated_tokens", "task")


def find_dataset(expr: Expr, scope: Scope) -> Declared | None:
    """The declaration behind a dataset's name; a `let` that holds a filtered dataset counts."""
    match expr:
        case Name(id=name):
            return scope.find(name, ("dataset", "let"))
        case Attribute(value=Name(id=alias), name=name) if alias in scope.aliases:
            return scope.aliases[alias].find(name, ("dataset", "let"))
    return None


def dataset(expr: Expr, scope: Scope) -> Dataset:
    """A dataset by name, or filtered: `ioi where index < 128`."""
    if isinstance(expr, Phrase):
        return _filtered(expr, scope, name=expr.span.text)
    declared = find_dataset(expr, scope)
    if declared is None:
        name = expr.id if isinstance(expr, Name) else expr.span.text
        raise scope.unknown(name, expr.span, "a dataset", scope.declared_as("dataset"))
    return declared_dataset(declared)


def declared_dataset(declared: Declared) -> Dataset:
    def make() -> Dataset:
        value = declared.node.value  # type: ignore[union-attr]
        if isinstance(value, Phrase):
            return _filtered(value, declared.scope, declared.id)
        if declared.keyword == "let":
            return dataset(value, declared.scope)
        return _make(declared)

    value: Dataset = declared.evaluate(make)
    if not isinstance(value, Dataset):
        raise declared.scope.unknown(declared.name, declared.node.name.span, "a dataset", [])
    return value


def _make(declared: Declared) -> Dataset:
    scope, node = declared.scope, declared.node
    expr, body = node.value, node.body  # type: ignore[union-attr]
    if not isinstance(expr, Call):
        raise scope.reject(
            "E300",
            "a dataset is made by a function",
            expr.span,
            help=f"write for example: dataset {declared.name} = repeated_tokens(pairs=64)",
        )
    if expr.function not in DATASETS:
        known = list(DATASETS)
        raise scope.unknown(expr.function, expr.name_span, "a kind of dataset", known, "E203")
    given = arguments(expr, DATASETS[expr.function], scope)
    spec: dict[str, Any] = {"kind": expr.function}
    spec |= {k: v for k, v in given.items() if v is not None}
    if body is not None:
        spec |= _body(body, expr.function, scope)
    _paths(spec, expr.span, scope)
    if expr.function == "python":
        require_trust(expr.span, scope)
        spec["folder"] = str(scope.folder)
    return Dataset(declared.id, spec, _sides(declared.id, spec), expr.span)


def _paths(spec: dict[str, Any], span: Span, scope: Scope) -> None:
    for key in ("path", "verbs"):
        if key in spec:
            spec[key] = str(inside(spec[key], span, scope))
    if "paths" in spec:
        spec["paths"] = [str(inside(p, span, scope)) for p in spec["paths"]]


def _sides(name: str, spec: dict[str, Any]) -> tuple[str, ...]:
    """The sides that a dataset may have, from its text alone."""
    own = name.rpartition(".")[2]
    if spec["kind"] in _PAIRED or spec.get("corrupt"):
        return ("clean", "corrupt")
    if spec["kind"] in ("file", "tokens", "python"):
        return ("clean", "corrupt", own)
    return (own,)


def _body(body: Body, kind: str, scope: Scope) -> dict[str, Any]:
    """The fields, choices and conditions of a body as plain data."""
    if kind not in ("prompts", "template", "file"):
        raise scope.reject("E306", f"`{kind}` takes no body", body.span, help="delete the braces")
    spec: dict[str, Any] = {}
    where: list[dict[str, Any]] = []
    conditions: list[Any] = []
    for entry in body.entries:
        match entry:
            case Field():
                _field(entry, kind, spec, scope)
            case Binding():
                where.append(_binding(entry, scope))
            case Condition():
                from interp_dsl.check.expressions import example_test

                conditions.append(example_test(entry.test, scope, None))
    if where:
        spec["where"] = where
    if conditions:
        spec["conditions"] = conditions
    if kind == "template" and "clean" not in spec:
        raise scope.reject("E301", "a template needs `clean`", body.span, label="no clean prompt")
    return spec


def _field(entry: Field, kind: str, spec: dict[str, Any], scope: Scope) -> None:
    if entry.name not in _FIELDS:
        near = suggest(entry.name, list(_FIELDS))
        raise scope.reject(
            "E205",
            f"a dataset's body has no field `{entry.name}`",
            entry.name_span,
            label=f"one of {', '.join(_FIELDS)} or where",
            help=f"did you mean `{near}`?" if near else None,
        )
    if entry.name in spec and kind != "prompts":
        raise scope.reject("E304", f"`{entry.name}` is given twice", entry.name_span)
    values = [literal(v, scope) for v in entry.values]
    flat = [w for v in values for w in (v if isinstance(v, list) else [v])]
    spec[entry.name] = spec.get(entry.name, []) + flat
    if kind == "file":
        spec[entry.name] = flat[0]


def _binding(entry: Binding, scope: Scope) -> dict[str, Any]:
    """`where A, B in choices`, `where A in repeating(choices)`."""
    choices, repeating = entry.choices, False
    if isinstance(choices, Call) and choices.function == "repeating" and choices.arguments:
        choices, repeating = choices.arguments[0].value, True
    values = literal(choices, scope)
    if not isinstance(values, list) or not values:
        raise scope.reject(
            "E300",
            "the choices of a slot are a list that is not empty",
            choices.span,
            help='write ["a", "b"], a range such as 2..98, or a word list such as lists.names',
        )
    names = [n.id for n in entry.names]
    if not repeating and len(set(map(str, values))) < len(names):
        raise scope.reject(
            "E302",
            f"{len(names)} distinct choices are wanted from {len(set(map(str, values)))}",
            choices.span,
            help="add choices, or allow the same twice: repeating([…])",
        )
    return {"names": names, "values": values, "repeating": repeating}


def _filtered(phrase: Phrase, scope: Scope, name: str) -> Dataset:
    from interp_dsl.check.expressions import example_test

    tests = [c for c in phrase.clauses if c.word == "where"]
    others = [c for c in phrase.clauses if c.word != "where"]
    if len(phrase.objects) != 1 or len(tests) != 1 or len(tests[0].values) != 1 or others:
        span = others[0].word_span if others else phrase.span
        raise scope.reject(
            "E300", "a filtered dataset is written `NAME where TEST`", span, label="not this"
        )
    parent = dataset(phrase.objects[0], scope)
    test = example_test(tests[0].values[0], scope, parent)
    return Dataset(name, {"kind": "filter"}, parent.sides, phrase.span, parent=parent, test=test)


# ---- sides


def side(expr: Expr, scope: Scope) -> Side:
    """`ioi.clean`, the name of data with one side, or `ioi.clean under cut`."""
    match expr:
        case Phrase(objects=(inner,), clauses=clauses):
            return _under(side(inner, scope), clauses, expr, scope)
        case Name():
            declared = find_dataset(expr, scope)
            if declared and declared.keyword == "let" and _is_side(declared):
                return side(declared.node.value, declared.scope)  # type: ignore[union-attr]
            return only_side(dataset(expr, scope), expr.span, scope)
        case Attribute(value=value, name=name):
            if find_dataset(expr, scope):
                return only_side(dataset(expr, scope), expr.span, scope)
            return _named_side(dataset(value, scope), name, expr, scope)
    raise scope.reject(
        "E300", "a side of a dataset is wanted here", expr.span, help="write for example ioi.clean"
    )


def _is_side(declared: Declared) -> bool:
    value = declared.node.value  # type: ignore[union-attr]
    if isinstance(value, Phrase):
        return any(c.word == "under" for c in value.clauses)
    return isinstance(value, Attribute)


def _under(base: Side, clauses: Any, expr: Phrase, scope: Scope) -> Side:
    from interp_dsl.check.sources import context

    under = base.under
    for clause in clauses:
        if clause.word != "under":
            raise scope.reject(
                "E210", f"a side takes no clause `{clause.word}`", clause.word_span, label="here"
            )
        for value in clause.values:
            under += context(value, scope).changes
    return replace(base, under=under)


def only_side(found: Dataset, span: Span, scope: Scope) -> Side:
    if len(found.sides) > 1 and "corrupt" in found.sides and len(found.sides) == 2:
        raise scope.reject(
            "E206",
            f"`{found.name}` has two sides",
            span,
            label="which of them?",
            help=f"write {found.name}.clean or {found.name}.corrupt",
        )
    return Side(found, found.sides[-1])


def _named_side(found: Dataset, name: str, expr: Attribute, scope: Scope) -> Side:
    if name not in found.sides:
        near = suggest(name, list(found.sides))
        raise scope.reject(
            "E206",
            f"`{found.name}` has no side `{name}`",
            expr.name_span,
            label=f"its sides: {', '.join(found.sides)}",
            help=f"did you mean `{found.name}.{near}`?" if near else None,
        )
    return Side(found, name)


# ---- the data itself


def build_data(found: Dataset, used: Model | None, span: Span, scope: Scope) -> Data | None:
    """The data as the model sees it; None where it waits for the run."""
    session = scope.session
    key = (id(found), used.name if used else "")
    if key not in session.data:
        session.data[key] = None
        session.datasets[id(found)] = found
        session.data[key] = _build(found, used, span, scope)
    return session.data[key]


def _build(found: Dataset, used: Model | None, span: Span, scope: Scope) -> Data | None:
    if found.spec["kind"] in ("python", "corpus") or used is None or used.facts is None:
        return None
    try:
        if found.parent is not None:
            return _select(found, used, span, scope)
        from interp_dsl.data.build import build

        return build(found.name, found.spec, used.facts)
    except InterpError as problem:
        carry(problem, found.span, scope)
        return None


def _select(found: Dataset, used: Model, span: Span, scope: Scope) -> Data | None:
    """The kept examples of a filter that needs no results."""
    from interp_dsl.check.expressions import depends
    from interp_dsl.data.conditions import matches, select

    assert found.parent is not None and found.test is not None
    parent = build_data(found.parent, used, span, scope)
    if parent is None or depends(found.test):
        return None

    def no_scores(_: Any) -> Any:
        raise AssertionError("a filter without steps asked for scores")

    return select(parent, matches(parent, found.test, no_scores), found.name)
