"""Sources and contexts: what places are set to, and under what."""

from __future__ import annotations

from dataclasses import replace

from interp_dsl.check.arguments import arguments
from interp_dsl.check.dictionaries import holds_dictionaries
from interp_dsl.check.literals import number
from interp_dsl.check.scope import Declared, Scope
from interp_dsl.check.sides import side
from interp_dsl.check.vectors import is_activations, is_mean_of_place, vector, without_of
from interp_dsl.language.tree import (
    Attribute,
    Binary,
    Call,
    Expr,
    Index,
    Name,
    Number,
    Phrase,
    Unary,
)
from interp_dsl.verbs.functions import OTHERS, SOURCES
from interp_dsl.verbs.lowering import sites
from interp_dsl.verbs.values import Change, Context, SourceTerm, Step

_HELP = (
    "write a side (ioi.corrupt), zero, mean(ioi.corrupt), resample(ioi.corrupt), "
    "noise(std=0.1), blocked or a number"
)


def source(expr: Expr, scope: Scope) -> SourceTerm:
    """What a place is set to."""
    match expr:
        case Name(id="zero" | "blocked" as word):
            return SourceTerm(word)
        case Number(suffix="") | Unary(op="-", value=Number(suffix="")):
            return SourceTerm("constant", number=number(expr, scope))
        case Number(suffix="x") | Unary(op="-", value=Number(suffix="x")):
            return SourceTerm("times", number=_multiple(expr))
        case Call() if is_activations(expr):
            return SourceTerm("vector", vector=vector(expr, scope))
        case Call(function=function):
            if function not in SOURCES:
                raise scope.unknown_function(function, expr.name_span, "a source", list(SOURCES))
            return _call(expr, scope)
        case Unary(op="-") | Binary(op="+" | "-" | "*" | "/"):
            return SourceTerm("vector", vector=vector(expr, scope))
        case Name() | Attribute() if (declared := scope.lookup(expr, "let", "param")) is not None:
            return _declared(declared, expr, scope)
        case Name(id=name) if name in SOURCES and scope.find(name) is None:
            example = "noise(std=0.1)" if name == "noise" else f"{name}({scope.example_side()})"
            raise scope.reject(
                "E300", f"`{name}` is a function", expr.span, help=f"write {example}"
            )
        case Name() if scope.lookup(expr, "dataset") is None:
            words = ["zero", "blocked", *scope.declared_as("dataset", "let")]
            known = scope.sides_meant(expr) or words
            raise scope.unknown(expr, "a source", known)
        case Name() | Attribute() | Phrase():
            return SourceTerm("side", side=side(expr, scope))
    raise scope.reject("E300", "a source is wanted here", expr.span, help=_HELP)


def end(expr: Expr, scope: Scope) -> SourceTerm:
    """Where paths lead: a source, or each of other prompts of a side."""
    if not isinstance(expr, Call) or expr.function != OTHERS.name:
        return source(expr, scope)
    given = arguments(expr, OTHERS, scope)
    return SourceTerm("others", given["side"], number=float(given["n"] or 0))


def _multiple(expr: Expr) -> float:
    """`5x` or `-5x`: so many times a feature's largest activation."""
    if isinstance(expr, Unary):
        return -_multiple(expr.value)
    assert isinstance(expr, Number)
    return float(expr.value)


def _declared(declared: Declared, expr: Expr, scope: Scope) -> SourceTerm:
    if declared.keyword == "param":
        return SourceTerm("constant", number=number(expr, scope))
    from interp_dsl.check.lets import let_as, let_kinds

    kinds = let_kinds(declared)
    if "source" not in kinds and "vector" in kinds:
        return SourceTerm("vector", vector=kinds["vector"])
    found: SourceTerm = let_as(declared, "source", "a source", expr.span, scope)
    return found


def _call(expr: Call, scope: Scope) -> SourceTerm:
    function = SOURCES[expr.function]
    if expr.function == "noise":
        given = arguments(expr, function, scope)
        if given["std"] <= 0:
            raise scope.reject("E302", "`std` is more than zero", expr.span)
        return SourceTerm("noise", number=float(given["std"]), seed=given["seed"])
    if is_mean_of_place(expr, scope):
        raise without_of(expr, scope)
    sides = [a for a in expr.arguments if a.name in (None, "side")]
    if len(sides) != 1:
        raise scope.reject(
            "E304" if sides else "E301",
            f"`{expr.function}` {'takes one side' if sides else 'needs a side'}",
            sides[1].span if sides else expr.span,
            help=f"write for example {expr.function}(ioi.corrupt)",
        )
    rest = replace(expr, arguments=tuple(a for a in expr.arguments if a is not sides[0]))
    given = arguments(rest, function, scope)
    return SourceTerm(
        expr.function,
        side=side(sides[0].value, scope),
        per=given.get("per", "position"),
        seed=given.get("seed", 0),
    )


# ---- contexts


def context(expr: Expr, scope: Scope) -> Context:
    """One value of `under`: a step without `measure`, or `together(A, B)` of several."""
    match expr:
        case Call(function="together", arguments=items) if items:
            parts = [context(a.value, scope) for a in items]
            name = f"together({', '.join(p.name for p in parts)})"
            return Context(name, tuple(c for p in parts for c in p.changes))
        case Name() | Attribute() if (declared := scope.lookup(expr, "let")) is not None:
            from interp_dsl.check.lets import let_as

            found: Context = let_as(declared, "context", "an intervention", expr.span, scope)
            return replace(found, name=expr.span.text)
        case Name() | Attribute():
            from interp_dsl.check.results import step_of

            if scope.lookup(expr, "step") is None:
                known = scope.declared_as("step", "let", test=_intervenes)
                raise scope.unknown(expr, "an intervention", known)
            step = step_of(expr, scope, "an intervention")
            return Context(expr.span.text, (_change_of(step, expr, scope),))
    raise scope.reject(
        "E300",
        "an intervention is wanted here",
        expr.span,
        help=f"name a step: step strong = ablate {expr.span.text} with 8"
        if isinstance(expr, Index) and holds_dictionaries(expr.value, scope)
        else "name a step: step cut = ablate {L0H1} with zero",
    )


def _intervenes(expr: Expr) -> bool:
    """Whether an expression looks like what other steps can run under: a step that changes places,
    or several together."""
    match expr:
        case Phrase(verb=Name(id="patch" | "ablate"), objects=objects):
            changed = " ".join(o.span.text for o in objects)
            return "->" not in changed and "edges" not in changed
        case Phrase(verb=Name(id="perturb"), clauses=clauses):
            return all(c.word != "measure" for c in clauses)
        case Call(function="together"):
            return True
    return False


def _change_of(step: Step, expr: Expr, scope: Scope) -> Change:
    if step.change is None:
        raise scope.reject(
            "E300",
            f"`{step.name}` is not an intervention",
            expr.span,
            label=f"a step of `{step.verb}`",
            help=f"set a feature of it: step strong = ablate {step.name}[12] with 8"
            if step.result == "dictionary"
            else None,
        )
    kinds = {site.kind for site in sites(step.change.units.units, scope.session.steps)}
    if "edge" in kinds:
        raise scope.reject(
            "E306",
            f"`{step.name}` changes edges, and holds under no other step",
            expr.span,
            help="name a step that changes places: step cut = ablate {L0H1} with zero",
        )
    return step.change
