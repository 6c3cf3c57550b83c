"""Units: places, families, filters and algebra."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from interp_dsl.check.dictionaries import dictionary_step, feature_units, holds_dictionaries
from interp_dsl.check.groups import GROUPS, group
from interp_dsl.check.literals import is_whole, literal, values_of
from interp_dsl.check.models import carry, find_model, known_model
from interp_dsl.check.places import (
    hook_place,
    listed,
    neurons,
    place_or_family,
    prefixed_hook,
    sited,
)
from interp_dsl.check.positions import Spans, positions
from interp_dsl.check.scope import Declared, Rejected, Scope
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.language.source import Span
from interp_dsl.language.tree import (
    Attribute,
    Binary,
    Call,
    Clause,
    Expr,
    Hook,
    Index,
    Name,
    Phrase,
    SetOf,
    String,
)
from interp_dsl.models.sites import FAMILIES
from interp_dsl.plan.algebra import Combined, Edges, Explicit, Filtered, Placed, Units
from interp_dsl.plan.names import node_of, target_of
from interp_dsl.plan.places import Target
from interp_dsl.plan.units import depends, expand
from interp_dsl.verbs.values import Model, UnitSet

MOST_PLACES = 1_000_000
MOST_GROUPS = 200_000


def units(expr: Expr, scope: Scope) -> UnitSet:
    """The places that an expression names."""
    found = _units(expr, scope)
    return replace(found, units=_settle(found.units, expr.span, scope))


def _settle(found: Units, span: Span, scope: Scope) -> Units:
    """Units that need no results are spelled out at once (`each` waits for the data)."""
    if isinstance(found, Explicit) or depends(found):
        return found
    try:
        return Explicit(expand(found, _no_rows, None))
    except InterpError as problem:
        raise carry(problem, span, scope) from None


def _no_rows(step: str) -> list[dict[str, object]]:
    raise AssertionError(f"static units asked for the rows of {step}")


def _units(expr: Expr, scope: Scope) -> UnitSet:
    match expr:
        case Name():
            return _name(expr, scope)
        case String(value=hook):
            return hook_place(hook, expr.span, scope, None)
        case Attribute():
            return _attribute(expr, scope)
        case Hook():
            return prefixed_hook(expr, scope)
        case Index(value=value) if holds_dictionaries(value, scope):
            return feature_units(expr, scope)
        case Call(function="features" | "errors"):
            return feature_units(expr, scope)
        case Index():
            return union(neurons(expr, scope, None), expr.span, scope)
        case SetOf(items=items):
            return union([units(item, scope) for item in items], expr.span, scope)
        case Binary(op="|", left=left, right=right):
            return union([units(left, scope), units(right, scope)], expr.span, scope)
        case Binary(op="&" | "-" as op, left=left, right=right):
            a, b = units(left, scope), units(right, scope)
            both = one_model([a, b], expr.span, scope)
            joined = Combined(op, a.units, b.units)
            return UnitSet(joined, both, a.spans + b.spans, all_graphs([a, b]))
        case Call(function=function) if function in GROUPS:
            return group(expr, scope)
        case Call(function="edges"):
            return _edges(expr, scope)
        case Call():
            known = [*GROUPS, "edges", "features", "errors"]
            raise scope.unknown_function(
                expr.function, expr.name_span, "a function of places", known
            )
        case Phrase():
            return _phrase(expr, scope)
        case Binary(op="->"):
            from interp_dsl.check.edges import between

            return between(expr, scope)
    raise scope.reject(
        "E300",
        "places of the model are wanted here",
        expr.span,
        help=f"write L0H1, L2.mlp, L3.resid_pre, or a family: {', '.join(FAMILIES[:6])} …",
    )


def union(parts: list[UnitSet], span: Span, scope: Scope) -> UnitSet:
    """All of them, in order and each once; of one model."""
    if not parts:
        raise scope.reject("E302", "this set of places is empty", span)
    model, graphs = one_model(parts, span, scope), all_graphs(parts)
    spans = tuple(s for part in parts for s in part.spans)
    known = [u for p in parts if isinstance(p.units, Explicit) for u in p.units.units]
    if all(isinstance(p.units, Explicit) for p in parts):
        return UnitSet(Explicit(tuple(dict.fromkeys(known))), model, spans, graphs)
    total = parts[0].units
    for part in parts[1:]:
        total = Combined("|", total, part.units)
    return UnitSet(total, model, spans, graphs)


def one_model(parts: list[UnitSet], span: Span, scope: Scope) -> Model | None:
    models = {p.model.name: p.model for p in parts if p.model}
    if len(models) > 1:
        raise scope.reject(
            "E307",
            f"places of two models in one set: {' and '.join(models)}",
            span,
            help="write a step for each model",
        )
    return next(iter(models.values()), None)


def all_graphs(parts: Sequence[UnitSet]) -> tuple[Edges, ...]:
    """How the edges of the parts are split, each way once."""
    return tuple(dict.fromkeys(graph for part in parts for graph in part.graphs))


# ---- names


def _name(expr: Name, scope: Scope) -> UnitSet:
    declared = scope.find(expr.id)
    if declared is not None:
        return _declared(declared, expr, scope)
    if expr.id == "edges":
        return _edges(expr, scope)
    found = place_or_family(expr.id, expr.span, scope, None)
    if found is None:
        candidates = [*scope.declared_as("units"), *listed(scope, None)]
        raise scope.unknown(expr, "a place or set of places", candidates)
    return found


def _attribute(expr: Attribute, scope: Scope) -> UnitSet:
    from interp_dsl.check.circuits import part

    declared = scope.lookup(expr)
    if declared is not None:
        return _declared(declared, expr, scope)
    if expr.name == "edges" and find_model(expr.value, scope):
        return _edges(expr, scope)
    return part(expr, scope) or sited(expr, scope, None)


def _edges(expr: Expr, scope: Scope) -> UnitSet:
    from interp_dsl.check.edges import every

    return every(expr, scope)


def _declared(declared: Declared, expr: Expr, scope: Scope) -> UnitSet:
    if declared.keyword == "units":
        return declared_units(declared)
    if dictionary_step(expr, scope) is not None:
        raise scope.reject(
            "E300",
            f"`{expr.span.text}` is a dictionary, and a set of places is wanted here",
            expr.span,
            label=declared.line(expr.span),
            help=f"write features({expr.span.text}), or {expr.span.text}[12]",
        )
    if declared.keyword != "let":
        raise scope.wrong_kind(declared, expr.span, "a set of places", _parts(declared, expr.span))
    from interp_dsl.check.lets import let_as

    found: UnitSet = let_as(declared, "units", "a set of places", expr.span, scope)
    return found


def _parts(declared: Declared, span: Span) -> str | None:
    """What of a search is a set of places."""
    from interp_dsl.check.steps import declared_step

    step = declared_step(declared) if declared.keyword == "step" else None
    if step is None or step.verb != "search":
        return None
    return f"write {span.text}.nodes" + (", .heads or .edges" if step.result == "circuit" else "")


def declared_units(declared: Declared) -> UnitSet:
    value: UnitSet = declared.evaluate(lambda: units(declared.expr, declared.scope))
    return value


# ---- phrases


def _phrase(expr: Phrase, scope: Scope) -> UnitSet:
    found = union([units(o, scope) for o in expr.objects], expr.span, scope)
    for clause in expr.clauses:
        found = _narrow(found, clause, scope)
    return found


def _narrow(found: UnitSet, clause: Clause, scope: Scope) -> UnitSet:
    """Units with one clause applied: layers, at or where."""
    if clause.word == "layers":
        return replace(found, units=_in_layers(found, clause, scope))
    if clause.word == "at":
        return _placed(found, clause, scope)
    if clause.word == "where":
        from interp_dsl.check.expressions import unit_test

        total = found.units
        for value in values_of(clause, scope):
            total = Filtered(total, unit_test(value, scope))
        return replace(found, units=total)
    raise scope.reject(
        "E210",
        f"places take no clause `{clause.word}`",
        clause.word_span,
        label="they take layers, at and where",
    )


def _placed(found: UnitSet, clause: Clause, scope: Scope) -> UnitSet:
    spans: Spans = []
    where = tuple(p for v in values_of(clause, scope) for p in positions(v, scope, spans))
    if isinstance(found.units, Explicit) and len(found.units.units) * len(where) > MOST_PLACES:
        raise too_many(len(found.units.units) * len(where), MOST_PLACES, clause.span, scope)
    placed = Placed(found.units, where)
    return replace(found, units=placed, spans=(*found.spans, *spans))


def too_many(count: int, most: int, span: Span, scope: Scope) -> Rejected:
    return scope.reject(
        "E315",
        f"this makes {count:,} units",
        span,
        label=f"at most {most:,} fit one step",
        help="narrow the places: layers 0..3, or top(step, 10) of a first step",
    )


def _in_layers(found: UnitSet, clause: Clause, scope: Scope) -> Explicit:
    if not isinstance(found.units, Explicit):
        raise scope.reject(
            "E306",
            "`layers` filters places that are known before the run",
            clause.word_span,
            help="put `layers` on the family itself, in brackets",
        )
    wanted = {layer for value in values_of(clause, scope) for layer in _layers(value, scope)}
    used = known_model(scope, found.model)
    n = used.facts.shape.n_layers if used and used.facts else None
    if used and n is not None and max(wanted) >= n:
        raise scope.reject(
            "E302",
            f"this model has no layer {max(wanted)}",
            clause.span,
            label=f"{used.name} has layers 0..{n - 1}",
        )
    kept = tuple(u for u in found.units.units if all(_lies_in(t, wanted) for t in u.targets))
    if not kept:
        raise scope.reject("E302", "none of the places lies in these layers", clause.span)
    return Explicit(kept)


def _lies_in(target: Target, layers: set[int]) -> bool:
    """Whether a place lies in these layers; an edge or a path, whether all of its ends do."""
    if target.site.kind != "edge":
        return target.site.layer in layers
    places = str(target.site.edge).split(" -> ")
    return all(target_of(node_of(place)).site.layer in layers for place in places)


def _layers(expr: Expr, scope: Scope) -> list[int]:
    if isinstance(expr, Binary) and expr.op == "-":
        raise _layer_range(expr, scope)
    if isinstance(expr, Binary) and expr.op == "->":
        raise scope.reject(
            "E300",
            "layers are whole numbers",
            expr.span,
            help=f"put the places in brackets: (heads layers {expr.left.span.text}) -> "
            f"{expr.right.span.text}",
        )
    got = literal(expr, scope)
    layers = got if isinstance(got, list) else [got]
    if not layers or not all(is_whole(layer) for layer in layers):
        raise scope.reject(
            "E300", "layers are whole numbers", expr.span, help="write layers 0..3, or layers 1, 5"
        )
    return layers


def _layer_range(expr: Binary, scope: Scope) -> Rejected:
    return scope.reject(
        "E300",
        "a range is written with two dots",
        expr.span,
        help=f"write layers {expr.left.span.text}..{expr.right.span.text}",
    )
