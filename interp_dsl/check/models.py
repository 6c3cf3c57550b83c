"""Models: `bundled("…")`, `pretrained("…")` and their kin, and what can be known of them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from interp_dsl.check.arguments import arguments
from interp_dsl.check.paths import inside, require_trust
from interp_dsl.check.scope import Declared, Rejected, Scope
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.language.source import Span
from interp_dsl.language.tree import Attribute, Call, Expr, ListOf, Name
from interp_dsl.models.shape import ModelFacts
from interp_dsl.verbs.functions import MODELS
from interp_dsl.verbs.values import Model


def model(expr: Expr, scope: Scope) -> Model:
    """The model that a name stands for."""
    declared = find_model(expr, scope)
    if declared is None:
        raise scope.unknown(expr, "a model", scope.declared_as("model"))
    return declared_model(declared)


def find_model(expr: Expr, scope: Scope) -> Declared | None:
    """The model declaration behind `m` or `alias.m`, None when the expression names none."""
    return scope.lookup(expr, "model")


def known_model(scope: Scope, model: Model | None) -> Model | None:
    """The model meant where no prefix stands: the only one of this file, or of all files."""
    if model:
        return model
    found = scope.models or scope.session.declared_models
    return declared_model(found[0]) if len(found) == 1 else None


def read_as(scope: Scope, model: Model | None) -> Scope:
    """The same names, with places that have no prefix read as this model's."""
    if model is None:
        return scope
    declared = [d for d in scope.session.declared_models if d.id == model.name]
    return replace(scope, models=declared)


def which_model(scope: Scope, span: Span, example: str) -> Rejected:
    """Report that no model is known; `example` is a place to show the prefix with."""
    declared = scope.declared_as("model")
    if declared:
        return scope.reject(
            "E307",
            "which model?",
            span,
            label=f"of {', '.join(declared)}",
            help=f"write {declared[0]}.{example}",
        )
    others = [d.id for d in scope.session.declared_models]
    if others:
        raise _models_elsewhere(scope, span, others, example)
    told = any(d.code == "E307" for d in scope.session.reported)
    if told or {"model", "import"} & set(scope.broken.values()):
        return Rejected()
    return scope.reject(
        "E307",
        "this file declares no model",
        span,
        label="places belong to a model",
        help='declare one: model m = bundled("induction-2l")',
    )


def _models_elsewhere(scope: Scope, span: Span, models: list[str], example: str) -> Rejected:
    """Several files are at hand, this one has no model, and the others have more than one."""
    file = span.source.name
    return scope.reject(
        "E307",
        f"which model? {file} declares none",
        span,
        label=f"other files declare {', '.join(models)}",
        help=f"write {models[0]}.{example} in the file that knows this name, or declare the model "
        f"in {file}",
    )


def declared_model(declared: Declared) -> Model:
    value: Model = declared.evaluate(lambda: _make(declared))
    return value


def named_models(expr: Expr, scope: Scope) -> tuple[Model, ...]:
    """A model, or a list of models by name."""
    found = []
    for one in expr.items if isinstance(expr, ListOf) else (expr,):
        declared = scope.lookup(one, "model") if isinstance(one, Name | Attribute) else None
        if declared is None:
            raise scope.unknown(one, "a model", scope.declared_as("model"))
        found.append(declared_model(declared))
    return tuple(dict.fromkeys(found))


def _make(declared: Declared) -> Model:
    scope, expr = declared.scope, declared.expr
    if not isinstance(expr, Call):
        raise scope.reject(
            "E300",
            "a model is made by a function",
            expr.span,
            help=f'write for example: model {declared.name} = bundled("induction-2l")',
        )
    if expr.function not in MODELS:
        known = list(MODELS)
        raise scope.unknown_function(expr.function, expr.name_span, "a kind of model", known)
    given = arguments(expr, MODELS[expr.function], scope)
    spec: dict[str, Any] = {"kind": expr.function}
    spec |= {k: v for k, v in given.items() if v is not None}
    if "folder" in spec:
        spec["folder"] = str(inside(spec["folder"], expr.span, scope))
    if expr.function == "python":
        require_trust(expr.span, scope)
        spec["folder"] = str(scope.folder)
    made = Model(declared.id, spec, _facts(declared.id, spec, expr.span, scope), expr.span)
    scope.session.models[made.name] = made
    return made


def _facts(name: str, spec: dict[str, Any], span: Span, scope: Scope) -> ModelFacts | None:
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
                f"the configuration of `{name}` is not at hand: its places, labels and answers "
                "are checked when the run starts"
            )
    return known[key]


def carry(problem: InterpError, span: Span, scope: Scope) -> Rejected:
    """Report another layer's diagnostics at a span of this file."""
    for diagnostic in problem.diagnostics:
        placed = diagnostic if diagnostic.span else replace(diagnostic, span=span)
        if placed not in scope.session.diagnostics:
            scope.session.diagnostics.append(placed)
    return Rejected()
