"""Columns of words that tell a step's rows apart: `[basis=pca]`, `[model=late]`, `[k=8]` of one of
several dictionaries."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from interp_dsl.check.dictionaries import one_of
from interp_dsl.check.literals import literal
from interp_dsl.check.scope import Rejected, Scope
from interp_dsl.language.source import Span
from interp_dsl.language.tree import Argument, Attribute, Call, Expr, Index, Name
from interp_dsl.verbs.values import Keyed, Step

Where = tuple[tuple[str, str], ...]


def require_keyed(
    step: Step,
    metric: str,
    named: Collection[str],
    beside: Sequence[str],
    span: Span,
    scope: Scope,
) -> None:
    """The brackets, which hold `beside` as well, name a word of each column that rows of a metric
    differ in."""
    for keyed in step.keyed:
        if metric in keyed.metrics and keyed.column not in named:
            raise scope.reject(
                "E310",
                f"`{step.name}` has a row for each {keyed.column}",
                span,
                label=f"which of them: {', '.join(keyed.values)}?",
                help=f"name it: [{', '.join([*beside, f'{keyed.column}={keyed.values[0]}'])}]",
            )


def keyed_word(keyed: Keyed, argument: Argument, step: Step, scope: Scope) -> str:
    """The word of a column that the brackets name."""
    word = _word(argument.value, scope)
    if word not in keyed.values:
        raise absent(no_row(step, keyed.column), "it has", keyed.values, argument, scope)
    return str(word)


def dictionary_row(index: Index | None, step: Step, metric: str, span: Span, scope: Scope) -> Where:
    """Which of several dictionaries' rows is meant; of those that differ in further words, which of
    them."""
    columns = {keyed.column: keyed for keyed in step.keyed}
    arguments = index.arguments if index is not None else ()
    mine = [a for a in arguments if a.name in columns]
    rest = tuple(a for a in arguments if a.name not in columns)
    where = tuple((str(a.name), keyed_word(columns[str(a.name)], a, step, scope)) for a in mine)
    own = replace(index, arguments=rest) if index is not None and rest else None
    one = one_of(own, step, span, scope)
    named = [name for name, _ in where]
    require_keyed(step, metric, named, [a.span.text for a in rest], span, scope)
    return (("dictionary", one.label), *where)


def no_row(step: Step, column: str) -> str:
    return f"`{step.name}` has no row for this {column}"


def absent(
    told: str, lead: str, there: Sequence[str], argument: Argument, scope: Scope
) -> Rejected:
    return scope.reject("E311", told, argument.span, label=f"{lead} {', '.join(there)}")


def _word(value: Expr, scope: Scope) -> Any:
    """A word, or what is called so: `random(steer)`."""
    if isinstance(value, Name):
        return value.id
    if isinstance(value, Call | Attribute):
        return "".join(value.span.text.split()).replace(",", ", ")
    return literal(value, scope)
