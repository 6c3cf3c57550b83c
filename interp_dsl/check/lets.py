"""`let`: a name for any value. It is read as whatever its user wants; unused ones are tried as
each kind in turn, so that a mistake in them does not go unseen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from interp_dsl.check.datasets import dataset, side
from interp_dsl.check.literals import literal
from interp_dsl.check.scope import Declared, Rejected, Scope
from interp_dsl.check.sources import context, source, vector
from interp_dsl.check.units import units
from interp_dsl.language.tree import Expr, Phrase

_KINDS: tuple[Callable[[Expr, Scope], Any], ...] = (
    literal, units, dataset, side, source, vector, context,
)


def check_let(declared: Declared) -> None:
    """Report a `let` that is no value of any kind, with the errors of the likeliest kind."""
    scope, expr = declared.scope, declared.node.value  # type: ignore[union-attr]
    found = scope.session.diagnostics
    best: list[Any] | None = None
    for kind in _likely(expr):
        before = list(found)
        try:
            kind(expr, scope)
            return
        except Rejected:
            reported = found[len(before):]
            found[:] = before
            if best is None or _depth(reported) > _depth(best):
                best = reported
    found.extend(best or [])
    raise Rejected


def _likely(expr: Expr) -> tuple[Callable[[Expr, Scope], Any], ...]:
    if isinstance(expr, Phrase) and any(c.word == "where" for c in expr.clauses):
        return (dataset, units)
    return _KINDS


def _depth(reported: list[Any]) -> int:
    """How far into the expression the first error lies: the kind that got furthest is meant."""
    return max((d.span.start - d.span.end + 10_000 for d in reported if d.span), default=0)
