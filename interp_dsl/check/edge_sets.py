"""Which edges a search or an estimate goes over: `edges`, `edges layers 0..1`, `edges - {…}`."""

from __future__ import annotations

from collections.abc import Sequence

from interp_dsl.check.circuits import edges
from interp_dsl.check.models import find_model
from interp_dsl.check.scope import Rejected, Scope
from interp_dsl.check.units import units
from interp_dsl.language.source import Span
from interp_dsl.language.tree import Attribute, Call, Clause, Expr, Name, Phrase
from interp_dsl.plan.algebra import Edges, Explicit
from interp_dsl.plan.names import hops, is_direct
from interp_dsl.plan.places import ALL, Positions, Unit
from interp_dsl.verbs.lowering import sites
from interp_dsl.verbs.values import EdgeSet, UnitSet


def edge_set(
    objects: Sequence[Expr], narrowing: Sequence[Clause], span: Span, scope: Scope
) -> EdgeSet | UnitSet:
    """The edges that objects name; places, where they are none."""
    if len(objects) == 1 and not narrowing and _are_all(objects[0], scope):
        return edges(objects[0], scope)
    joined = Phrase(span=span, verb=None, objects=tuple(objects), clauses=tuple(narrowing))
    found = units(joined, scope)
    kinds = {site.kind for site in sites(found.units, scope.session.steps)}
    if "edge" not in kinds:
        return found
    if kinds != {"edge"}:
        raise scope.reject("E306", "edges and places stand in steps of their own", span)
    if isinstance(found.units, Explicit):
        for unit in found.units.units:
            _check_single(unit, span, scope)
        _check_places(
            {t.positions for unit in found.units.units for t in unit.targets}, span, scope
        )
    if len(found.graphs) > 1:
        raise scope.reject(
            "E306",
            "these edges are of graphs that are split otherwise",
            span,
            label="no edge is in both",
            help="write the same edges(…) throughout",
        )
    graph = found.graphs[0] if found.graphs else Edges()
    return EdgeSet(graph, found.model, found.units)


def _are_all(expr: Expr, scope: Scope) -> bool:
    """Whether these are the edges of the model: `edges`, `m.edges`, `edges(split_qkv=false)`."""
    match expr:
        case Name(id="edges") | Call(function="edges"):
            return True
        case Attribute(value=value, name="edges"):
            return find_model(value, scope) is not None
    return False


def _check_single(unit: Unit, span: Span, scope: Scope) -> None:
    """A unit is one edge, wherever it is read."""
    first = unit.targets[0]
    name = str(first.site.edge)
    if len(unit.targets) > 1:
        raise _refused("edges are taken one at a time here", "together(…) is one unit", span, scope)
    if len(hops(name)) > 1:
        raise _refused("a path is no edge", name, span, scope)
    if is_direct(name):
        raise _refused("a direct edge cannot be named by itself", name, span, scope)


def _check_places(places: set[Positions], span: Span, scope: Scope) -> None:
    """Edges at positions and edges everywhere are not told apart."""
    if ALL in places and len(places) > 1:
        at = min(str(place) for place in places - {ALL})
        message = "edges at positions stand beside edges that are at all of them"
        raise scope.reject(
            "E306", message, span, label=f"at {at}, and without `at`", help="write `at` for all"
        )


def _refused(message: str, label: str, span: Span, scope: Scope) -> Rejected:
    return scope.reject(
        "E306", message, span, label=label, help="name single edges: edges, {L0H1 -> L1H0.k}"
    )
