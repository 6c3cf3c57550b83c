"""`using through=mlps, freeze={patterns, norms}`: how what an edge changes travels."""

from __future__ import annotations

from interp_dsl.check.scope import Rejected, Scope
from interp_dsl.language.tree import Clause, Expr, Name, SetOf
from interp_dsl.plan.algebra import Travel

OPTIONS = {"through": ("heads", "mlps"), "freeze": ("patterns", "norms")}


def travel(clause: Clause, scope: Scope) -> Travel:
    """What a `using` clause of edges says."""
    for value in clause.values:
        raise scope.reject(
            "E300",
            "`using` takes options",
            value.span,
            help="write using through=mlps, using freeze={patterns, norms}, or both with a comma",
        )
    found: dict[str, tuple[str, ...]] = {}
    for option in clause.named:
        if option.name not in OPTIONS:
            raise scope.unlisted("E205", str(option.name), option.span, "an option", [*OPTIONS])
        if option.name in found:
            raise scope.reject("E304", f"`{option.name}` is given twice", option.span)
        words = OPTIONS[option.name]
        found[option.name] = tuple(w for w in words if w in _words(option.value, words, scope))
    return Travel(**found)


def _words(expr: Expr, known: tuple[str, ...], scope: Scope) -> set[str]:
    if isinstance(expr, SetOf) and expr.items:
        return {word for item in expr.items for word in _words(item, known, scope)}
    if isinstance(expr, Name) and expr.id in known:
        return {expr.id}
    raise _other(expr, known, scope)


def _other(expr: Expr, known: tuple[str, ...], scope: Scope) -> Rejected:
    return scope.reject(
        "E300",
        f"this is neither {' nor '.join(known)}",
        expr.span,
        help=f"write {known[0]}, {known[1]}, or {{{', '.join(known)}}}",
    )
