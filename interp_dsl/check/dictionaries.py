"""Dictionaries by name: `sae`, `sae[L8]`, `sae[L8, k=32]`."""

from __future__ import annotations

from interp_dsl.check.literals import literal
from interp_dsl.check.scope import Rejected, Scope
from interp_dsl.language.source import Span
from interp_dsl.language.tree import Argument, Expr, Index
from interp_dsl.plan.dictionaries import Fitted
from interp_dsl.verbs.fit import said
from interp_dsl.verbs.values import DictionaryTerm, Step


def dictionaries(expr: Expr, step: Step, scope: Scope) -> DictionaryTerm:
    """All dictionaries of a fit, or those that the brackets name."""
    if not isinstance(expr, Index):
        return DictionaryTerm(step, step.dictionaries)
    return DictionaryTerm(step, chosen(expr, step, scope))


def chosen(index: Index, step: Step, scope: Scope) -> tuple[Fitted, ...]:
    """The dictionaries of which all that the brackets say is true."""
    parts = [_part(argument, scope) for argument in index.arguments]
    found = [d for d in step.dictionaries if set(parts) <= {*d.label.split(", ")}]
    if not found:
        raise scope.reject(
            "E311",
            f"`{step.name}` has no dictionary [{', '.join(parts)}]",
            index.span,
            label=f"it has {_listed(step)}" if step.dictionaries[0].label else "it has one",
            help=f"write {step.name}[{step.dictionaries[0].label}]"
            if step.dictionaries[0].label
            else f"write {step.name} alone",
        )
    return tuple(found)


def one_of(index: Index | None, step: Step, span: Span, scope: Scope) -> Fitted:
    """The one dictionary that the brackets name."""
    found = step.dictionaries if index is None else chosen(index, step, scope)
    if len(found) > 1:
        raise which(step, span, scope)
    return found[0]


def which(step: Step, span: Span, scope: Scope) -> Rejected:
    return scope.reject(
        "E310",
        f"`{step.name}` has {len(step.dictionaries)} dictionaries",
        span,
        label="which of them?",
        help=f"name it: {step.name}[{step.dictionaries[0].label}]",
    )


def _part(argument: Argument, scope: Scope) -> str:
    if argument.name is None:
        return " ".join(argument.value.span.text.split())
    return f"{argument.name}={said(literal(argument.value, scope))}"


def _listed(step: Step) -> str:
    labels = [d.label for d in step.dictionaries]
    more = f" and {len(labels) - 6} more" if len(labels) > 6 else ""
    return "; ".join(labels[:6]) + more
