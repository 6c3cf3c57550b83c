"""Sides of datasets: `ioi.clean`, the name of data with one side, `ioi.clean under cut`."""

from __future__ import annotations

from dataclasses import replace

from interp_dsl.check.datasets import dataset
from interp_dsl.check.literals import values_of
from interp_dsl.check.scope import Scope
from interp_dsl.language.source import Span
from interp_dsl.language.suggest import suggest
from interp_dsl.language.tree import Attribute, Clause, Expr, Name, Phrase
from interp_dsl.verbs.values import Dataset, Side


def side(expr: Expr, scope: Scope) -> Side:
    """The side that an expression names."""
    match expr:
        case Phrase(objects=(inner,), clauses=clauses):
            if any(c.word == "where" for c in clauses):
                return only_side(dataset(expr, scope), expr.span, scope)
            return _under(side(inner, scope), clauses, scope)
        case Name() | Attribute() if (declared := scope.lookup(expr, "let")) is not None:
            from interp_dsl.check.lets import let_as, let_kinds

            if "dataset" in let_kinds(declared):
                return only_side(dataset(expr, scope), expr.span, scope)
            found: Side = let_as(declared, "side", "a side of a dataset", expr.span, scope)
            return found
        case Attribute(value=value, name=name) if not scope.lookup(expr):
            return _named_side(_parent(value, expr, scope), name, expr, scope)
        case Name() | Attribute():
            return only_side(dataset(expr, scope), expr.span, scope)
    raise scope.reject(
        "E300", "a side of a dataset is wanted here", expr.span, help="write for example ioi.clean"
    )


def either(expr: Expr, scope: Scope) -> Side:
    """A side, or a dataset's clean side."""
    declared = scope.lookup(expr, "dataset", "let")
    is_filter = isinstance(expr, Phrase) and any(c.word == "where" for c in expr.clauses)
    if declared is not None and declared.keyword == "let":
        from interp_dsl.check.lets import let_kinds

        is_filter = "dataset" in let_kinds(declared)
    if is_filter or (declared is not None and declared.keyword == "dataset"):
        found = dataset(expr, scope)
        return Side(found, found.first_side, is_default=True)
    return side(expr, scope)


def _parent(expr: Expr, whole: Attribute, scope: Scope) -> Dataset:
    """The dataset in front of `.clean`, which may be a filter in brackets."""
    if isinstance(expr, Name | Attribute) and scope.lookup(expr) is None:
        name = expr.id if isinstance(expr, Name) else expr.span.text
        known = scope.declared_as("dataset", "let")
        raise scope.unlisted("E200", name, expr.span, "a dataset", known)
    if not isinstance(expr, Name | Attribute | Phrase):
        raise scope.reject("E300", "a side of a dataset is wanted here", whole.span)
    return dataset(expr, scope)


def _under(base: Side, clauses: tuple[Clause, ...], scope: Scope) -> Side:
    from interp_dsl.check.sources import context

    under = base.under
    for clause in clauses:
        if clause.word != "under":
            raise scope.reject(
                "E210",
                f"a side takes no clause `{clause.word}`",
                clause.word_span,
                label="it takes under",
            )
        for value in values_of(clause, scope):
            under += context(value, scope).changes
    return replace(base, under=under)


def only_side(found: Dataset, span: Span, scope: Scope) -> Side:
    if found.sides == ("clean", "corrupt"):
        name = span.text if span.text.isidentifier() else found.name
        raise scope.reject(
            "E206",
            f"`{name}` has two sides",
            span,
            label="which of them?",
            help=f"write {name}.clean or {name}.corrupt",
        )
    return Side(found, found.sides[-1])


def _named_side(found: Dataset, name: str, expr: Attribute, scope: Scope) -> Side:
    if name not in found.sides:
        near = suggest(name, list(found.sides))
        own = expr.value.span.text
        raise scope.reject(
            "E206",
            f"`{own}` has no side `{name}`",
            expr.name_span,
            label=f"its sides: {', '.join(found.sides)}"
            if len(found.sides) > 1
            else f"data without pairs: its one side is `{own}`",
            help=f"did you mean `{own}.{near}`?"
            if near
            else f"write {own} alone"
            if len(found.sides) == 1
            else None,
        )
    return Side(found, name)
