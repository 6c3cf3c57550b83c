"""Which dictionaries are related, and how."""

from __future__ import annotations

from interp_dsl.check.arguments import arguments
from interp_dsl.check.dictionaries import dictionaries, dictionary_step
from interp_dsl.check.results import step_of
from interp_dsl.check.scope import Scope
from interp_dsl.language.tree import Call, Expr, Index, Name
from interp_dsl.verbs.relations import RELATIONS
from interp_dsl.verbs.values import DictionaryTerm, RelationTerm


def dictionary(expr: Expr, scope: Scope) -> DictionaryTerm:
    """Dictionaries, fitted or loaded: `sae`, `sae[L1]`."""
    root = expr.value if isinstance(expr, Index) else expr
    leaving = dictionary_step(root, scope)
    if leaving is None:
        step = step_of(root, scope, "a dictionary")
        raise scope.reject(
            "E300",
            f"`{step.name}` is no dictionary",
            expr.span,
            label=f"a step of `{step.verb}`",
            help="a dictionary is what a step of `fit` leaves",
        )
    return dictionaries(expr, leaving, scope)


def relation(expr: Expr, scope: Scope) -> RelationTerm:
    """A method of relating with all its options: `similarity(measure=jaccard)`."""
    if isinstance(expr, Name) and expr.id in RELATIONS and scope.find(expr.id) is None:
        raise scope.reject(
            "E300", f"`{expr.id}` is a function", expr.span, help=f"write {expr.id}()"
        )
    if not isinstance(expr, Call):
        known = ", ".join(f"{name}()" for name in RELATIONS)
        raise scope.reject("E300", "a method of relating is wanted here", expr.span, help=known)
    if expr.function not in RELATIONS:
        raise scope.unknown_function(
            expr.function, expr.name_span, "a method of relating", list(RELATIONS)
        )
    return RelationTerm(expr.function, arguments(expr, RELATIONS[expr.function], scope))
