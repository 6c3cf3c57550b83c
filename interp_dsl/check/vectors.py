"""Vectors: `mean(L5.resid_pre of x at last)`, `sae[12]`; their sums and multiples."""

from __future__ import annotations

from dataclasses import replace

from interp_dsl.check.arguments import positional
from interp_dsl.check.dictionaries import dictionary_step, features
from interp_dsl.check.literals import number, only
from interp_dsl.check.places import is_place
from interp_dsl.check.positions import position
from interp_dsl.check.scope import Rejected, Scope
from interp_dsl.check.sides import side
from interp_dsl.check.units import units
from interp_dsl.language.source import Span
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
from interp_dsl.plan.algebra import Explicit
from interp_dsl.plan.places import ALL, Positions, Target
from interp_dsl.verbs.values import Side, UnitSet, VectorTerm

NARROW = ("q", "k", "v", "z")
_EXAMPLE = "write for example mean(L5.resid_pre of harm at last)"


def is_activations(expr: Expr) -> bool:
    """Whether a `mean(…)` averages activations (`L5.resid_pre of x`), giving a vector."""
    if not isinstance(expr, Call) or expr.function != "mean" or not expr.arguments:
        return False
    inner = expr.arguments[0].value
    return isinstance(inner, Phrase) and any(c.word == "of" for c in inner.clauses)


def is_mean_of_place(expr: Call, scope: Scope) -> bool:
    """Whether a `mean(…)` names a place and not the prompts: `mean(L5.resid_pre at last)`."""
    if expr.function != "mean" or not expr.arguments:
        return False
    inner = expr.arguments[0].value
    root = inner.objects[0] if isinstance(inner, Phrase) else inner
    while isinstance(root, Attribute):
        root = root.value
    return isinstance(root, Name) and is_place(root.id) and scope.find(root.id) is None


def without_of(expr: Call, scope: Scope) -> Rejected:
    """Report a mean of a place that does not say over which prompts."""
    inner = expr.arguments[0].value
    place = inner.objects[0] if isinstance(inner, Phrase) else inner
    rest = inner.span.text[len(place.span.text) :]
    side = scope.example_side()
    return scope.reject(
        "E301",
        "`mean` of a place needs `of`",
        expr.span,
        label="over which prompts?",
        help=f"write mean({place.span.text} of {side}{rest})",
    )


def vector(expr: Expr, scope: Scope) -> VectorTerm:
    """A direction in a site's space."""
    match expr:
        case Name() | Attribute():
            return _named(expr, scope)
        case Call() if is_activations(expr):
            return _mean(expr, scope)
        case Call() if is_mean_of_place(expr, scope):
            raise without_of(expr, scope)
        case Unary(op="-", value=inner):
            return _scaled(vector(inner, scope), -1.0)
        case Binary(op="+" | "-" as op, left=left, right=right):
            a, b = vector(left, scope), vector(right, scope)
            return _sum(a, b if op == "+" else _scaled(b, -1.0), expr, scope)
        case Binary(op="*", left=left, right=right) if _is_number(left, scope):
            return _scaled(vector(right, scope), number(left, scope))
        case Binary(op="*" | "/" as op, left=left, right=right):
            factor = number(right, scope)
            if op == "/" and factor == 0:
                raise scope.reject("E302", "a vector cannot be divided by zero", right.span)
            return _scaled(vector(left, scope), factor if op == "*" else 1.0 / factor)
        case Index(value=of) if dictionary_step(of, scope) is not None:
            return _feature(expr, scope)
        case Phrase(clauses=clauses) if any(c.word == "of" for c in clauses):
            raise scope.reject(
                "E300",
                "these are the activations of every example, not a vector",
                expr.span,
                help=f"take their mean: mean({expr.span.text})",
            )
    raise scope.reject("E300", "a vector is wanted here", expr.span, help=_EXAMPLE)


def _named(expr: Name | Attribute, scope: Scope) -> VectorTerm:
    declared = scope.lookup(expr, "let")
    if declared is None:
        raise scope.unknown(expr, "a vector", scope.declared_as("let"))
    from interp_dsl.check.lets import let_as

    found: VectorTerm = let_as(declared, "vector", "a vector", expr.span, scope)
    return found


def _is_number(expr: Expr, scope: Scope) -> bool:
    match expr:
        case Number():
            return True
        case Unary(op="-", value=inner):
            return _is_number(inner, scope)
        case Name() | Attribute():
            declared = scope.lookup(expr, "param", "let")
            if declared is None or declared.keyword == "param":
                return declared is not None
            from interp_dsl.check.lets import let_kinds

            return "literal" in let_kinds(declared)
    return False


def _scaled(term: VectorTerm, factor: float) -> VectorTerm:
    return replace(term, terms=tuple((factor * c, t, s) for c, t, s in term.terms))


def _sum(left: VectorTerm, right: VectorTerm, expr: Expr, scope: Scope) -> VectorTerm:
    terms = left.terms + right.terms
    if len({written(t) in NARROW for _, t, _ in terms}) > 1:
        raise scope.reject(
            "E306",
            "vectors of different widths do not add",
            expr.span,
            label="one is of width d_head, the other of d_model",
            help="take both at places of one kind: two residual streams, or two heads' queries",
        )
    if left.model and right.model and left.model is not right.model:
        names = f"{left.model.name} and {right.model.name}"
        raise scope.reject("E307", f"vectors of two models do not add: {names}", expr.span)
    return VectorTerm(terms, left.model or right.model)


def written(target: Target) -> str:
    """The kind of site that a vector's term is a vector of."""
    return target.site.rebuilt[0].kind


def _feature(expr: Index, scope: Scope) -> VectorTerm:
    """The direction of a dictionary's feature."""
    term = features(expr, scope)
    name, numbers = term.step.name, term.numbers or ()
    if len(numbers) > 1:
        label = f"{term.fitted.label}, " if term.fitted.label else ""
        raise scope.reject(
            "E304",
            "a direction is of one feature",
            expr.span,
            label=f"these are {len(numbers)}",
            help=f"write {name}[{label}{numbers[0]}], {name}[{label}{numbers[1]}]",
        )
    site = term.fitted.features(name)
    if len(site.rebuilt) > 1:
        raise scope.reject(
            "E306",
            "a crosscoder's feature has a direction at each of its places",
            expr.span,
            label=f"`{name}` is of {term.fitted.place}",
            help=f"set the feature itself: ablate {expr.span.text} with 8",
        )
    if site.rebuilt[0].kind == "neuron":
        raise scope.reject(
            "E306",
            f"`{expr.span.text}` is a direction of a layer's neurons, which are no vector here",
            expr.span,
            help=f"set the feature itself: ablate {expr.span.text} with 5x",
        )
    return VectorTerm(((1.0, Target(site, numbers[0]), None),), term.step.model)


def _mean(expr: Call, scope: Scope) -> VectorTerm:
    values = positional(expr, scope)
    if len(values) != 1:
        raise scope.reject("E304", "`mean` takes one set of activations", values[1].span)
    phrase = values[0]
    assert isinstance(phrase, Phrase)
    where: Positions = ALL
    of: Side | None = None
    for clause in phrase.clauses:
        value = only(clause, scope)
        if clause.word == "of" and of is None:
            of = side(value, scope)
        elif clause.word == "at" and where == ALL:
            where = _one_position(value, scope)
        else:
            raise scope.reject(
                "E210",
                f"activations take no clause `{clause.word}`",
                clause.word_span,
                label="they take of and at, once each",
            )
    assert of is not None
    return _mean_of(units(phrase.objects[0], scope), where, of, phrase.objects[0].span, scope)


def _one_position(expr: Expr, scope: Scope) -> Positions:
    found = position(expr, scope, [])
    if "each" in str(found) or found.kind == "entry":
        raise scope.reject("E306", f"a mean is not taken at `{found}`", expr.span)
    return found


def _mean_of(found: UnitSet, where: Positions, of: Side, span: Span, scope: Scope) -> VectorTerm:
    places = found.units.units if isinstance(found.units, Explicit) else ()
    if len(places) != 1 or len(places[0].targets) != 1:
        raise scope.reject("E300", "a mean is of one place", span, help=_EXAMPLE)
    target = places[0].targets[0]
    if target.site.kind in ("pattern", "neuron", "logits", "edge"):
        raise scope.reject(
            "E306", f"{target.place} has no vector in the stream or in a head", span, help=_EXAMPLE
        )
    at = target.positions if where == ALL else where
    return VectorTerm(((1.0, Target(target.site, target.index, at), of),), found.model)
