"""Metrics: functions of the outputs, and arithmetic of them."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, count

from interp_dsl.check.arguments import arguments
from interp_dsl.check.literals import is_whole, literal, number, only
from interp_dsl.check.moving import moving_place
from interp_dsl.check.paths import require_trust
from interp_dsl.check.positions import Spans, position
from interp_dsl.check.scope import Declared, Scope
from interp_dsl.language.tree import (
    Attribute,
    Binary,
    Call,
    Clause,
    Expr,
    Name,
    Number,
    Phrase,
    Unary,
)
from interp_dsl.plan.algebra import Literal, Metric, MetricCall, MetricSum, MetricTerm
from interp_dsl.plan.metrics import METRICS, calls
from interp_dsl.verbs.signature import REQUIRED, Function, Parameter


def signature(name: str) -> Function:
    """A metric function as the checker reads it."""
    facts = METRICS[name]
    parameters = {
        p: Parameter(s.type, REQUIRED if s.is_required else s.default, s.doc, tuple(s.choices))
        for p, s in facts.params.items()
    }
    return Function(name, facts.doc, parameters)


def metric(expr: Expr, scope: Scope) -> Metric:
    """A metric with the name that tables use: its declared name, else its function's."""
    if isinstance(expr, Name | Attribute):
        return _named(expr, scope)
    built = term(expr, scope)
    if not isinstance(built, MetricCall):
        raise scope.reject(
            "E309",
            "this metric has no name",
            expr.span,
            help=f"declare it: metric {_free(scope)} = {expr.span.text}",
        )
    return Metric(built.function, built)


def _free(scope: Scope) -> str:
    """A name for a metric that nothing has yet."""
    names = chain(("gap", "score"), (f"score{k}" for k in count(2)))
    return next(name for name in names if scope.find(name) is None)


def _named(expr: Name | Attribute, scope: Scope) -> Metric:
    declared = scope.lookup(expr, "metric")
    if declared is not None:
        return declared_metric(declared)
    if isinstance(expr, Name) and expr.id in METRICS and scope.find(expr.id) is None:
        raise scope.reject(
            "E300", f"`{expr.id}` is a function", expr.span, help=f"write {expr.id}()"
        )
    known = [*scope.declared_as("metric"), *(f"{m}()" for m in METRICS)]
    raise scope.unknown(expr, "a metric", known)


def declared_metric(declared: Declared) -> Metric:
    value: Metric = declared.evaluate(lambda: _declared(declared))
    return value


def _declared(declared: Declared) -> Metric:
    built = term(declared.expr, declared.scope)
    if not calls(built):
        raise declared.scope.reject(
            "E300",
            "a metric reads the model's outputs, and this is a number",
            declared.expr.span,
            help=f"a number of its own is a parameter: param {declared.name} = …",
        )
    return Metric(declared.name, built)


def term(expr: Expr, scope: Scope) -> MetricTerm:
    """The metric without its name."""
    match expr:
        case Call():
            return _call(expr, scope)
        case Phrase(objects=(inner,), clauses=clauses):
            built = term(inner, scope)
            for clause in clauses:
                built = _read_at(built, clause, scope)
            return built
        case Binary(op="+" | "-" | "*" | "/" as op, left=left, right=right):
            operands = term(left, scope), term(right, scope)
            if op == "/" and operands[1] == Literal(0):
                raise scope.reject("E302", "a metric cannot be divided by zero", right.span)
            return MetricSum(op, operands)
        case Unary(op="-", value=inner) if not isinstance(inner, Number):
            return MetricSum("neg", (term(inner, scope),))
        case Number() | Unary(op="-"):
            return Literal(_plain(expr, scope))
        case Name() | Attribute():
            if scope.lookup(expr, "param", "let"):
                return Literal(_plain(expr, scope))
            return _named(expr, scope).term
    raise scope.reject(
        "E300",
        "a metric is wanted here",
        expr.span,
        help="write for example logit_diff(), kl() or logit_diff() - logprob()",
    )


def _plain(expr: Expr, scope: Scope) -> float:
    value = literal(expr, scope)
    return value if is_whole(value) else number(expr, scope)


def _call(expr: Call, scope: Scope) -> MetricCall:
    if expr.function not in METRICS:
        raise scope.unknown_function(expr.function, expr.name_span, "a metric", list(METRICS))
    given = arguments(expr, signature(expr.function), scope)
    params = METRICS[expr.function].params
    changed = {k: v for k, v in given.items() if v != params[k].default}
    if expr.function == "python":
        require_trust(expr.span, scope)
        changed["folder"] = str(scope.folder)
    place = changed.pop("place", None)
    site = None if place is None else moving_place(place, expr.arguments[0], scope)
    return MetricCall(expr.function, tuple(sorted(changed.items())), site=site)


def _read_at(built: MetricTerm, clause: Clause, scope: Scope) -> MetricCall:
    if clause.word != "at":
        raise scope.reject(
            "E210",
            f"a metric takes no clause `{clause.word}`",
            clause.word_span,
            label="it takes at",
        )
    if not isinstance(built, MetricCall):
        raise scope.reject(
            "E306",
            "`at` belongs to one metric function",
            clause.span,
            help="put it on each: (logprob() at S2) - logprob()",
        )
    if "all_positions" in METRICS[built.function].needs:
        raise scope.reject("E306", f"`{built.function}` reads every position", clause.span)
    spans: Spans = []
    where = position(only(clause, scope), scope, spans)
    if where.kind not in ("label", "index", "first", "last"):
        raise scope.reject(
            "E306",
            "a metric reads one position",
            clause.span,
            help="name one token: at S2.last",
        )
    return replace(built, at=where)
