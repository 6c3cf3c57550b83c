"""What `fit` fits, and until when."""

from __future__ import annotations

from interp_dsl.check.arguments import arguments
from interp_dsl.check.paths import inside
from interp_dsl.check.scope import Scope
from interp_dsl.language.tree import Call, Expr, Name
from interp_dsl.verbs.dictionaries import ARCHITECTURES, READINGS
from interp_dsl.verbs.values import FitTerm, ReadingTerm

SHAPES = {
    "transcoder": "a transcoder rebuilds another place: fit topk(…) on L3.mlp_in to L3.mlp_out …",
    "crosscoder": "a crosscoder reads several: fit topk(…) on together(L1.resid_post, …) …",
}
"""What a dictionary is by the places that it reads and rebuilds, whatever its architecture."""


def method(expr: Expr, scope: Scope) -> FitTerm:
    """What is fitted, with its options: `topk(width=4096, k=32)`."""
    if isinstance(expr, Name) and expr.id in ARCHITECTURES and scope.find(expr.id) is None:
        raise scope.reject(
            "E300", f"`{expr.id}` is a function", expr.span, help=f"write {expr.id}(…)"
        )
    if not isinstance(expr, Call):
        known = ", ".join(f"{name}(…)" for name in ARCHITECTURES)
        raise scope.reject("E300", "what is to be fitted is wanted here", expr.span, help=known)
    if expr.function in SHAPES:
        raise scope.reject(
            "E203",
            f"`{expr.function}` is no architecture",
            expr.name_span,
            label=f"one of {', '.join(ARCHITECTURES)} is wanted",
            help=SHAPES[expr.function],
        )
    if expr.function not in ARCHITECTURES:
        raise scope.unknown_function(
            expr.function, expr.name_span, "an architecture", list(ARCHITECTURES)
        )
    given = arguments(expr, ARCHITECTURES[expr.function], scope)
    if given["store"] is not None:
        given["store"] = str(inside(given["store"], expr.span, scope))
    return FitTerm(expr.function, given)


def reading(expr: Expr, scope: Scope) -> ReadingTerm:
    """A way to look at features: `examples(top=10)`."""
    if not isinstance(expr, Call):
        known = ", ".join(f"{name}()" for name in READINGS)
        raise scope.reject("E300", "a way to look at features is wanted", expr.span, help=known)
    if expr.function not in READINGS:
        raise scope.unknown_function(
            expr.function, expr.name_span, "a way to look at features", list(READINGS)
        )
    return ReadingTerm(expr.function, arguments(expr, READINGS[expr.function], scope))
