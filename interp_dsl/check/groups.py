"""Functions of units: `together`, `pairs`, `growing`, `windows` and `top`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from interp_dsl.check.arguments import positional
from interp_dsl.check.dictionaries import check_live
from interp_dsl.check.literals import is_whole, literal, only
from interp_dsl.check.scope import Rejected, Scope
from interp_dsl.language.tree import Call, Expr, Phrase
from interp_dsl.plan.algebra import Explicit, Expression, Grouped, Top
from interp_dsl.verbs.lowering import sites
from interp_dsl.verbs.values import UnitSet

if TYPE_CHECKING:
    from interp_dsl.plan.algebra import Units

GROUPS = ("together", "pairs", "growing", "windows", "top")


def group(expr: Call, scope: Scope) -> UnitSet:
    """The places that a function of places makes of others."""
    if expr.function == "top":
        return _top(expr, scope)
    if expr.function == "growing":
        _without_by(expr, scope)
    values = positional(expr, scope)
    if not values:
        raise scope.reject(
            "E301",
            f"`{expr.function}` needs places",
            expr.span,
            help=f"write for example {expr.function}(heads{', 3' * (expr.function == 'windows')})",
        )
    size: int | None = None
    by: Expression | None = None
    if expr.function == "windows":
        values, size = _window(expr, values, scope)
    if expr.function == "growing":
        values[0], by = _ordered(values[0], scope)
    found = _joined(values, expr, scope)
    _bounded(expr, found.units, scope)
    _live(expr, found.units, scope)
    return replace(found, units=Grouped(expr.function, found.units, size, by))


def _joined(values: list[Expr], expr: Call, scope: Scope) -> UnitSet:
    from interp_dsl.check.units import union, units

    return union([units(v, scope) for v in values], expr.span, scope)


def _window(expr: Call, values: list[Expr], scope: Scope) -> tuple[list[Expr], int]:
    size: Any = literal(values[1], scope) if len(values) == 2 else None
    if not is_whole(size) or size < 1:
        raise scope.reject(
            "E301",
            "`windows` needs places and a number of layers",
            expr.span,
            help="write for example windows(mlps, 3)",
        )
    return values[:1], size


def _ordered(value: Expr, scope: Scope) -> tuple[Expr, Expression | None]:
    """The places of `heads by who.gap`, and what orders them."""
    from interp_dsl.check.expressions import unit_value

    if not isinstance(value, Phrase):
        return value, None
    clauses = [c for c in value.clauses if c.word == "by"]
    rest = tuple(c for c in value.clauses if c.word != "by")
    places = replace(value, clauses=rest) if rest or len(value.objects) > 1 else value.objects[0]
    return places, unit_value(only(clauses[0], scope), scope) if clauses else None


def _without_by(expr: Call, scope: Scope) -> None:
    """Report `growing(heads, by=who.gap)`: the order is a clause of the places."""
    places = [a.span.text for a in expr.arguments if a.name is None] or ["heads"]
    for argument in expr.arguments:
        if argument.name == "by":
            raise scope.reject(
                "E205",
                "`growing` has no argument `by`",
                argument.span,
                label="the order is a clause",
                help=f"write growing({places[0]} by {argument.value.span.text})",
            )


def _live(expr: Call, found: Units, scope: Scope) -> None:
    """Features among several places can be read as a pass goes."""
    held = sites(found, scope.session.steps)
    if len({site.ends for site in held}) > 1:
        check_live(held, "other places change as well", expr.span, scope)


def _bounded(expr: Call, found: Units, scope: Scope) -> None:
    """Pairs and series of many places are more than a step can hold."""
    from interp_dsl.check.units import MOST_GROUPS, too_many

    if isinstance(found, Explicit) and expr.function in ("pairs", "growing"):
        n = len(found.units)
        if n * (n - 1) // 2 > MOST_GROUPS:
            raise too_many(n * (n - 1) // 2, MOST_GROUPS, expr.span, scope)


def _top(expr: Call, scope: Scope) -> UnitSet:
    """`top(who, 10)`, `top(who, 10, by=gap.effect)`; `absolute=false` ranks by the signed value."""
    from interp_dsl.check.results import metric_column, step_of

    values = positional(expr, scope, "by", "absolute")
    named = {a.name: a.value for a in expr.arguments if a.name}
    if len(values) != 2:
        raise scope.reject(
            "E301",
            "`top` needs a step and a number",
            expr.span,
            help="write for example top(who, 10) or top(who, 10, by=gap.effect)",
        )
    step = step_of(values[0], scope)
    if step.units is None or step.result != "scores" or step.findings or step.curves:
        raise scope.reject(
            "E300",
            f"`{step.name}` ranks no places",
            values[0].span,
            label=f"a step of `{step.verb}`" + " without `measure`" * (step.result != "scores"),
        )
    if len(step.contexts) > 1:
        raise _several_contexts(step.name, values[0], scope)
    n = literal(values[1], scope)
    if not is_whole(n) or n < 1:
        raise scope.reject("E302", "how many? a whole number from 1 on", values[1].span)
    metric, column = metric_column(step, named.get("by"), expr.span, scope)
    absolute = literal(named["absolute"], scope) if "absolute" in named else True
    if not isinstance(absolute, bool):
        raise scope.reject("E300", "`absolute` is true or false", named["absolute"].span)
    known = tuple(site for site in sites(step.units, scope.session.steps) if site.feature)
    return UnitSet(Top(step.name, n, metric, column, absolute, known), step.model)


def _several_contexts(step: str, value: Expr, scope: Scope) -> Rejected:
    return scope.reject(
        "E310",
        f"`{step}` ranks its places once under each intervention",
        value.span,
        label="which of these rankings?",
        help="rank by a step under one intervention",
    )
