"""How layers are factored."""

from __future__ import annotations

from interp_dsl.check.arguments import arguments, called
from interp_dsl.check.scope import Scope
from interp_dsl.language.tree import Expr
from interp_dsl.verbs.factors import FACTORINGS
from interp_dsl.verbs.values import FactorTerm


def factoring(expr: Expr, scope: Scope) -> FactorTerm:
    """A method of factoring with all its options: `interaction_basis(mode=global)`."""
    call = called(expr, FACTORINGS, "a method of factoring", scope)
    return FactorTerm(call.function, arguments(call, FACTORINGS[call.function].function, scope))
