"""How layers are factored."""

from __future__ import annotations

from interp_dsl.check.arguments import arguments
from interp_dsl.check.scope import Scope
from interp_dsl.language.tree import Call, Expr, Name
from interp_dsl.verbs.factors import FACTORINGS
from interp_dsl.verbs.values import FactorTerm


def factoring(expr: Expr, scope: Scope) -> FactorTerm:
    """A method of factoring with all its options: `interaction_basis(mode=global)`."""
    if isinstance(expr, Name) and expr.id in FACTORINGS and scope.find(expr.id) is None:
        raise scope.reject(
            "E300", f"`{expr.id}` is a function", expr.span, help=f"write {expr.id}()"
        )
    if not isinstance(expr, Call):
        known = ", ".join(f"{name}()" for name in FACTORINGS)
        raise scope.reject("E300", "a method of factoring is wanted here", expr.span, help=known)
    if expr.function not in FACTORINGS:
        raise scope.unknown_function(
            expr.function, expr.name_span, "a method of factoring", list(FACTORINGS)
        )
    return FactorTerm(expr.function, arguments(expr, FACTORINGS[expr.function].function, scope))
