"""Metrics: functions of the outputs, and arithmetic of them."""

from __future__ import annotations

from dataclasses import replace

from interp_dsl.check.literals import arguments, literal
from interp_dsl.check.positions import position
from interp_dsl.check.scope import Declared, Scope
from interp_dsl.language.tree import (
    Attribute,
    Binary,
    Call,
    Expr,
    Name,
    Number,
    Phrase,
    Unary,
)
from interp_dsl.plan.algebra import Literal, Metric, MetricCall, MetricSum, MetricTerm
from interp_dsl.plan.metrics import METRICS
from interp_dsl.verbs.signature import Function, Parameter


def signature(name: str) -> Function:
    """A metric function as the checker reads it."""
    facts = METRICS[name]
    return Function(
        name,
        facts.doc,
        {
            p: Parameter(s.type, s.default, s.doc, tuple(s.choices))
            for p, s in facts.params.items()
        },
    )


def metric(expr: Expr, scope: Scope) -> Metric:
    """A metric with the name that tables use: its declared name, else its function's."""
    if isinstance(expr, Name):
        declared = scope.find(expr.id, ("metric",))
        if declared:
            return declared_metric(declared)
        if expr.id in METRICS and scope.find(expr.id) is None:
            raise scope.reject(
                "E300", f"`{expr.id}` is a function", expr.span,
                help=f"write {expr.id}()",
            )
        known = [*scope.declared_as("metric"), *(f"{m}()" for m in METRICS)]
        raise scope.unknown(expr.id, expr.span, "a metric", known)
    if isinstance(expr, Attribute) and isinstance(expr.value, Name):
        inner = scope.aliases.get(expr.value.id)
        declared = inner.find(expr.name, ("metric",)) if inner else None
        if declared:
            return declared_metric(declared)
    built = term(expr, scope)
    if not isinstance(built, MetricCall):
        raise scope.reject(
            "E309", "this metric has no name", expr.span,
            help=f"declare it: metric gap = {expr.span.text}",
        )
    return Metric(built.function, built)


def declared_metric(declared: Declared) -> Metric:
    value: Metric = declared.evaluate(
        lambda: Metric(declared.id, term(declared.node.value, declared.scope))  # type: ignore[union-attr]
    )
    return value


def term(expr: Expr, scope: Scope) -> MetricTerm:
    """The metric without its name."""
    match expr:
        case Call(function=function):
            if function not in METRICS:
                raise scope.unknown(function, expr.name_span, "a metric", list(METRICS), "E203")
            given = arguments(expr, signature(function), scope)
            changed = {
                k: v for k, v in given.items() if v != METRICS[function].params[k].default
            }
            return MetricCall(function, tuple(sorted(changed.items())))
        case Phrase(objects=(inner,), clauses=clauses):
            built = term(inner, scope)
            for clause in clauses:
                if clause.word != "at" or not isinstance(built, MetricCall):
                    raise scope.reject(
                        "E210", f"a metric takes no clause `{clause.word}`", clause.word_span,
                        label="it takes at",
                    )
                built = replace(built, at=position(clause.values[0], scope))
            return built
        case Binary(op="+" | "-" | "*" | "/" as op, left=left, right=right):
            return MetricSum(op, (term(left, scope), term(right, scope)))
        case Unary(op="-", value=inner) if not isinstance(inner, Number):
            return MetricSum("neg", (term(inner, scope),))
        case Number() | Unary():
            return Literal(literal(expr, scope))
        case Name() | Attribute():
            declared = scope.find(expr.id, ("param",)) if isinstance(expr, Name) else None
            if declared:
                return Literal(literal(expr, scope))
            return metric(expr, scope).term
    raise scope.reject(
        "E300", "a metric is wanted here", expr.span,
        help="write for example logit_diff(), kl() or logit_diff() - logprob()",
    )
