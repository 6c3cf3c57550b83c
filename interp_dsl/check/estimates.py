"""What `attribute` looks at, and how it estimates."""

from __future__ import annotations

from collections.abc import Sequence

from interp_dsl.check.arguments import arguments
from interp_dsl.check.circuits import edges
from interp_dsl.check.models import find_model
from interp_dsl.check.scope import Scope
from interp_dsl.language.tree import Attribute, Call, Clause, Expr, Name, Phrase
from interp_dsl.verbs.estimates import ESTIMATES
from interp_dsl.verbs.values import EdgeSet, EstimateTerm


def are_edges(expr: Expr, scope: Scope) -> bool:
    """Whether these are the edges of the model: `edges`, `m.edges`, `edges(split_qkv=false)`."""
    match expr:
        case Name(id="edges") | Call(function="edges"):
            return True
        case Attribute(value=value, name="edges"):
            return find_model(value, scope) is not None
    return False


def all_edges(phrase: Phrase, narrowing: Sequence[Clause], scope: Scope) -> EdgeSet:
    """The edges, which stand alone."""
    first, *others = phrase.objects
    for more in (*others, *narrowing):
        raise scope.reject(
            "E306",
            "edges are all attributed at once",
            more.span,
            help="filter them afterwards: top(step, 20)",
        )
    return edges(first, scope)


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
