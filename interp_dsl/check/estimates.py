"""How `attribute` estimates."""

from __future__ import annotations

from interp_dsl.check.arguments import arguments
from interp_dsl.check.scope import Scope
from interp_dsl.language.tree import Call, Expr, Name
from interp_dsl.verbs.estimates import ESTIMATES
from interp_dsl.verbs.values import EstimateTerm


def estimate(expr: Expr, scope: Scope) -> EstimateTerm:
    """A method of estimating with all its options: `eap_ig(steps=5)`."""
    if isinstance(expr, Name) and expr.id in ESTIMATES and scope.find(expr.id) is None:
        raise scope.reject(
            "E300", f"`{expr.id}` is a function", expr.span, help=f"write {expr.id}()"
        )
    if not isinstance(expr, Call):
        known = ", ".join(f"{name}()" for name in ESTIMATES)
        raise scope.reject("E300", "a method of estimating is wanted here", expr.span, help=known)
    if expr.function not in ESTIMATES:
        raise scope.unknown_function(
            expr.function, expr.name_span, "a method of estimating", list(ESTIMATES)
        )
    options = arguments(expr, ESTIMATES[expr.function].function, scope)
    verify = options.pop("verify", None)
    return EstimateTerm(expr.function, options, verify or 0)
