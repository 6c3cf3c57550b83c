"""Places of several models side by side: what a crosscoder over models reads."""

from __future__ import annotations

from dataclasses import replace

from interp_dsl.check.arguments import positional
from interp_dsl.check.scope import Scope
from interp_dsl.check.units import units
from interp_dsl.language.tree import Call, Expr
from interp_dsl.plan.algebra import Explicit
from interp_dsl.plan.places import Target, Unit
from interp_dsl.verbs.values import UnitSet


def crossing(expr: Expr, scope: Scope) -> UnitSet:
    """Places as any others; in `together(…)` of places of several models each has its model, and
    those of one model stand one behind the other."""
    if not isinstance(expr, Call) or expr.function != "together":
        return units(expr, scope)
    parts = [units(value, scope) for value in positional(expr, scope)]
    models = tuple(dict.fromkeys(part.model for part in parts if part.model))
    if len(models) < 2:
        return units(expr, scope)
    targets: dict[Target, None] = {}
    for model in models:
        for part in parts:
            if part.model is not model:
                continue
            if not isinstance(part.units, Explicit):
                raise scope.reject(
                    "E306",
                    "places of several models are known before the run",
                    expr.span,
                    help="name them: together(base.L3.resid_post, chat.L3.resid_post)",
                )
            held = (target for unit in part.units.units for target in unit.targets)
            targets |= dict.fromkeys(replace(target, model=model.id) for target in held)
    spans = tuple(s for part in parts for s in part.spans)
    return UnitSet(Explicit((Unit(tuple(targets)),)), models[0], spans, models=models)
