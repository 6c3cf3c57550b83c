"""Models: `bundled("…")`, `pretrained("…")` and their kin, and what can be known of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from interp_dsl.check.literals import arguments
from interp_dsl.check.scope import Declared, Rejected, Scope
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.language.source import Span
from interp_dsl.language.tree import Attribute, Call, Expr, Name
from interp_dsl.verbs.functions import MODELS
from interp_dsl.verbs.values import Model


def model(expr: Expr, scope: Scope) -> Model:
    """The model that a name stands for."""
    declared = find_model(expr, scope)
    if declared is None:
        name = expr.id if isinstance(expr, Name) else expr.span.text
        raise scope.unknown(name, expr.span, "a model", scope.declared_as("model"))
    return declared_model(declared)


def find_model(expr: Expr, scope: Scope) -> Declared | None:
    """The model declaration behind `m` or `alias.m`, None when the expression names none."""
    match expr:
        case Name(id=name):
            return scope.find(name, ("model",))
        case Attribute(value=Name(id=alias), name=name) if alias in scope.aliases:
            return scope.aliases[alias].find(name, ("model",))
    return None


def declared_model(declared: Declared) -> Model:
    value: Model = declared.evaluate(lambda: _make(declared))
    return value


def _make(declared: Declared) -> Model:
    scope, expr = declared.scope, declared.node.value  # type: ignore[union-attr]
    if not isinstance(expr, Call):
        raise scope.reject(
            "E300",
            "a model is made by a function",
            expr.span,
            help=f'write for example: model {declared.name} = bundled("induction-2l")',
        )
    if expr.function not in MODELS:
        raise scope.unknown(expr.function, expr.name_span, "a kind of model", list(MODELS), "E203")
    given = arguments(expr, MODELS[expr.function], scope)
    spec: dict[str, Any] = {"kind": expr.function}
    spec |= {k: v for k, v in given.items() if v is not None}
    if "folder" in spec:
        spec["folder"] = str(inside(spec["folder"], expr.span, scope))
    if expr.function == "python":
        require_trust(expr.span, scope)
        spec["folder"] = str(scope.folder)
    made = Model(declared.id, spec, _facts(spec, expr.span, scope), expr.span)
    scope.session.models[made.name] = made
    return made


def _facts(spec: dict[str, Any], span: Span, scope: Scope) -> Any:
    from interp_dsl.models.facts import facts

    key = json.dumps(spec, sort_keys=True)
    known = scope.session.facts
    if key not in known:
        try:
            known[key] = facts(spec)
        except InterpError as problem:
            raise carry(problem, span, scope) from None
        if known[key] is None:
            scope.session.wait(
                "the model's configuration is not at hand: places, labels and answers are "
                "checked when the run starts"
            )
    return known[key]


def carry(problem: InterpError, span: Span, scope: Scope) -> Rejected:
    """Report another layer's diagnostics at a span of this file."""
    for diagnostic in problem.diagnostics:
        placed = diagnostic if diagnostic.span else replace(diagnostic, span=span)
        if placed not in scope.session.diagnostics:
            scope.session.diagnostics.append(placed)
    return Rejected()


def require_trust(span: Span, scope: Scope) -> None:
    if not scope.session.trusted:
        raise scope.reject(
            "E501",
            "`python(…)` runs code of this file's author",
            span,
            help="read the code, then run again with --trust",
        )


def inside(text: str, span: Span, scope: Scope) -> Path:
    """A path of the file as an absolute one; it must lie in the file's folder or below, or in a
    folder allowed on the command line, or be given there by -p. A pattern's fixed part counts."""
    path = Path(text).expanduser()
    if text in scope.session.params.values():
        return path.absolute()
    full = (path if path.is_absolute() else scope.folder / path).absolute()
    real = Path(*_fixed_parts(full)).resolve()
    allowed = [scope.folder.resolve(), *(p.resolve() for p in scope.session.allow)]
    if any(real.is_relative_to(folder) for folder in allowed):
        return full
    raise scope.reject(
        "E502",
        f"`{text}` lies outside this file's folder",
        span,
        label="a file reads only its own folder and below",
        help=f"run again with --allow {real if real.is_dir() else real.parent}",
    )


def _fixed_parts(path: Path) -> tuple[str, ...]:
    parts = path.parts
    for i, part in enumerate(parts):
        if any(c in part for c in "*?["):
            return parts[:i]
    return parts
