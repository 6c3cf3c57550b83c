"""Which dictionaries are related, and how."""

from __future__ import annotations

from interp_dsl.check.arguments import arguments, called
from interp_dsl.check.dictionaries import dictionaries, dictionary_step, only_plain
from interp_dsl.check.results import step_of
from interp_dsl.check.scope import Scope
from interp_dsl.language.tree import Expr, Index
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
    found = dictionaries(expr, leaving, scope)
    only_plain(found.fitted, found.step.name, expr.span, scope)
    return found


def relation(expr: Expr, scope: Scope) -> RelationTerm:
    """A method of relating with all its options: `similarity(measure=jaccard)`."""
    call = called(expr, RELATIONS, "a method of relating", scope)
    return RelationTerm(call.function, arguments(call, RELATIONS[call.function], scope))
