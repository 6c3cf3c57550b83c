"""What `fit` fits, and until when."""

from __future__ import annotations

from typing import Any

from interp_dsl.check.arguments import arguments, typed
from interp_dsl.check.scope import Scope
from interp_dsl.language.suggest import suggest
from interp_dsl.language.tree import Call, Clause, Expr, Name
from interp_dsl.verbs import signature
from interp_dsl.verbs.dictionaries import ARCHITECTURES, READINGS
from interp_dsl.verbs.values import FitTerm, ReadingTerm


def method(expr: Expr, scope: Scope) -> FitTerm:
    """What is fitted, with its options: `topk(width=4096, k=32)`."""
    if isinstance(expr, Name) and expr.id in ARCHITECTURES and scope.find(expr.id) is None:
        raise scope.reject(
            "E300", f"`{expr.id}` is a function", expr.span, help=f"write {expr.id}(…)"
        )
    if not isinstance(expr, Call):
        known = ", ".join(f"{name}(…)" for name in ARCHITECTURES)
        raise scope.reject("E300", "what is to be fitted is wanted here", expr.span, help=known)
    if expr.function not in ARCHITECTURES:
        raise scope.unknown_function(
            expr.function, expr.name_span, "what can be fitted", list(ARCHITECTURES)
        )
    return FitTerm(expr.function, arguments(expr, ARCHITECTURES[expr.function], scope))


def reading(expr: Expr, scope: Scope) -> ReadingTerm:
    """A way to look at features: `examples(top=10)`."""
    if not isinstance(expr, Call) or expr.function not in READINGS:
        known = ", ".join(f"{name}()" for name in READINGS)
        raise scope.reject("E300", "a way to look at features is wanted", expr.span, help=known)
    return ReadingTerm(expr.function, arguments(expr, READINGS[expr.function], scope))


def options(clause: Clause, known: signature.Clause, scope: Scope) -> dict[str, Any]:
    """The named options of a clause: `until tokens=50M`."""
    for value in clause.values:
        raise scope.reject(
            "E304",
            f"`{clause.word}` takes no plain value",
            value.span,
            help=f"write {clause.word} {next(iter(known.named))}={value.span.text}",
        )
    found: dict[str, Any] = {}
    for option in clause.named:
        name = str(option.name)
        if name not in known.named:
            near = suggest(name, list(known.named))
            raise scope.reject(
                "E205",
                f"`{clause.word}` has no option `{name}`",
                option.span,
                label=f"it takes {', '.join(known.named)}",
                help=f"did you mean `{near}`?" if near else None,
            )
        if name in found:
            raise scope.reject("E304", f"`{name}` is given twice", option.span)
        found[name] = typed(option.value, known.named[name], name, scope)
    for name, parameter in known.named.items():
        if parameter.is_required and name not in found:
            raise scope.reject(
                "E301", f"`{clause.word}` needs `{name}`", clause.span, label=parameter.doc
            )
        found.setdefault(name, parameter.default)
    return found
