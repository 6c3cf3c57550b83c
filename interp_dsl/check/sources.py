"""Sources, vectors and contexts: what places are set to, and under what."""

from __future__ import annotations

from typing import Any

from interp_dsl.check.datasets import find_dataset, side
from interp_dsl.check.literals import arguments, literal
from interp_dsl.check.positions import position
from interp_dsl.check.scope import Declared, Scope
from interp_dsl.check.units import units
from interp_dsl.language.tree import (
    Attribute,
    Binary,
    Call,
    Expr,
    Name,
    Number,
    Phrase,
    Unary,
)
from interp_dsl.plan.algebra import Explicit
from interp_dsl.plan.places import ALL, Target
from interp_dsl.verbs.signature import Function, Parameter
from interp_dsl.verbs.values import Change, Context, Side, SourceTerm, Step, VectorTerm

_PER = ("position", "template", "label", "token", "all")
SOURCES: dict[str, Function] = {
    f.name: f
    for f in (
        Function(
            "mean",
            "The mean over a side's examples.",
            {
                "side": Parameter("any", doc="the side to average over, as ioi.corrupt"),
                "per": Parameter("word", "position", "what is averaged apart", _PER),
            },
        ),
        Function(
            "resample",
            "The activations of another example, drawn at random.",
            {
                "side": Parameter("any", doc="the side to draw from, as ioi.corrupt"),
                "seed": Parameter("int", 0, "the seed of the draw"),
            },
        ),
        Function(
            "noise",
            "Gaussian noise added.",
            {
                "std": Parameter("number", doc="the noise's standard deviation"),
                "seed": Parameter("int", 0, "the seed of the noise"),
            },
        ),
    )
}
_HELP = "write a side (ioi.corrupt), zero, mean(ioi.corrupt), resample(ioi.corrupt), " \
    "noise(std=0.1), blocked or a number"


def source(expr: Expr, scope: Scope) -> SourceTerm:
    """What a place is set to."""
    match expr:
        case Name(id="zero"):
            return SourceTerm("zero")
        case Name(id="blocked"):
            return SourceTerm("blocked")
        case Number(suffix="") | Unary(op="-", value=Number(suffix="")):
            return SourceTerm("constant", number=float(literal(expr, scope)))
        case Name(id=name) if (declared := scope.find(name, ("let", "param"))) is not None:
            return _declared(declared, expr, scope)
        case Call(function="mean") if _is_activations(expr):
            return SourceTerm("vector", vector=vector(expr, scope))
        case Call(function=function):
            if function not in SOURCES:
                raise scope.unknown(function, expr.name_span, "a source", list(SOURCES), "E203")
            return _call(expr, scope)
        case Binary(op="+" | "-" | "*" | "/"):
            return SourceTerm("vector", vector=vector(expr, scope))
        case Name(id=name) if find_dataset(expr, scope) is None:
            known = ["zero", "blocked", *scope.declared_as("dataset", "let")]
            raise scope.unknown(name, expr.span, "a source", known)
        case Name() | Attribute() | Phrase():
            return SourceTerm("side", side=side(expr, scope))
    raise scope.reject("E300", "a source is wanted here", expr.span, help=_HELP)


def _declared(declared: Declared, expr: Expr, scope: Scope) -> SourceTerm:
    if declared.keyword == "param":
        return SourceTerm("constant", number=float(literal(expr, scope)))
    return source(declared.node.value, declared.scope)  # type: ignore[union-attr]


def _call(expr: Call, scope: Scope) -> SourceTerm:
    function = SOURCES[expr.function]
    plain = [a for a in expr.arguments if a.name not in (None, "side")]
    first = [a for a in expr.arguments if a.name in (None, "side")]
    if expr.function == "noise":
        given = arguments(expr, function, scope)
        if given["std"] <= 0:
            raise scope.reject("E302", "`std` is more than zero", expr.span)
        return SourceTerm("noise", number=float(given["std"]), seed=given["seed"])
    if len(first) != 1:
        raise scope.reject(
            "E301", f"`{expr.function}` needs one side", expr.span,
            help=f"write for example {expr.function}(ioi.corrupt)",
        )
    rest = Call(
        function=expr.function, arguments=tuple(plain), span=expr.span, name_span=expr.name_span
    )
    options = {n: p for n, p in function.parameters.items() if n != "side"}
    given = arguments(rest, Function(function.name, function.doc, options), scope)
    return SourceTerm(
        expr.function,
        side=side(first[0].value, scope),
        per=given.get("per", "position"),
        seed=given.get("seed", 0),
    )


# ---- vectors


def _is_activations(expr: Call) -> bool:
    """Whether a `mean(…)` averages activations (`L5.resid_pre of x`), giving a vector."""
    inner = expr.arguments[0].value if expr.arguments else None
    return isinstance(inner, Phrase) and any(c.word == "of" for c in inner.clauses)


def vector(expr: Expr, scope: Scope) -> VectorTerm:
    """A direction: `mean(L5.resid_pre of x at last)`, sums, differences and multiples."""
    match expr:
        case Name(id=name):
            declared = scope.find(name, ("let",))
            if declared is None:
                raise scope.unknown(name, expr.span, "a vector", scope.declared_as("let"))
            return vector(declared.node.value, declared.scope)  # type: ignore[union-attr]
        case Call(function="mean") if _is_activations(expr):
            return _mean(expr, scope)
        case Unary(op="-", value=inner):
            return _scaled(vector(inner, scope), -1.0)
        case Binary(op="+" | "-" as op, left=left, right=right):
            other = vector(right, scope)
            signed = other if op == "+" else _scaled(other, -1.0)
            return _same_width(VectorTerm(vector(left, scope).terms + signed.terms), expr, scope)
        case Binary(op="*", left=Number() as factor, right=right):
            return _scaled(vector(right, scope), float(literal(factor, scope)))
        case Binary(op="*" | "/" as op, left=left, right=right):
            factor = float(literal(right, scope))
            return _scaled(vector(left, scope), factor if op == "*" else 1.0 / factor)
    raise scope.reject(
        "E300", "a vector is wanted here", expr.span,
        help="write for example mean(L5.resid_pre of harm at last)",
    )


def _scaled(term: VectorTerm, factor: float) -> VectorTerm:
    return VectorTerm(tuple((factor * c, t, s) for c, t, s in term.terms))


def _same_width(term: VectorTerm, expr: Expr, scope: Scope) -> VectorTerm:
    residual = {t.site.kind in ("q", "k", "v", "z") for _, t, _ in term.terms}
    if len(residual) > 1:
        raise scope.reject(
            "E300", "vectors of different widths do not add", expr.span,
            label="one is of width d_head, the other of d_model",
        )
    return term


def _mean(expr: Call, scope: Scope) -> VectorTerm:
    phrase = expr.arguments[0].value
    assert isinstance(phrase, Phrase)
    clauses = {c.word: c for c in phrase.clauses}
    for word, clause in clauses.items():
        if word not in ("of", "at"):
            raise scope.reject(
                "E210", f"activations take no clause `{word}`", clause.word_span,
                label="they take of and at",
            )
    found = units(phrase.objects[0], scope).units
    if not isinstance(found, Explicit) or len(found.units) != 1 or len(found.units[0].targets) != 1:
        raise scope.reject("E300", "the mean is of one place", phrase.objects[0].span)
    target = found.units[0].targets[0]
    if target.site.kind in ("pattern", "neuron"):
        raise scope.reject("E300", f"a {target.site.kind} has no vector", phrase.objects[0].span)
    at = position(clauses["at"].values[0], scope) if "at" in clauses else ALL
    of: Side = side(clauses["of"].values[0], scope)
    return VectorTerm(((1.0, Target(target.site, target.index, at), of),))


# ---- contexts


def context(expr: Expr, scope: Scope) -> Context:
    """One value of `under`: a step without `measure`, or `together(A, B)` of several."""
    match expr:
        case Call(function="together", arguments=items) if items:
            parts = [context(a.value, scope) for a in items]
            name = f"together({', '.join(p.name for p in parts)})"
            return Context(name, tuple(c for p in parts for c in p.changes))
        case Name(id=name) if scope.find(name, ("let",)):
            declared = scope.names[name]
            return context(declared.node.value, declared.scope)  # type: ignore[union-attr]
        case Name() | Attribute():
            from interp_dsl.check.expressions import step_of

            step = step_of(expr, scope, "an intervention")
            return Context(expr.span.text, (_change_of(step, expr, scope),))
    raise scope.reject(
        "E300", "an intervention is wanted here", expr.span,
        help="name a step: step cut = ablate {L0H1} with zero",
    )


def _change_of(step: Step, expr: Any, scope: Scope) -> Change:
    if step.change is None:
        raise scope.reject(
            "E300", f"`{step.name}` is not an intervention", expr.span,
            label=f"a step of `{step.verb}`",
        )
    return step.change
