"""Edges and paths as units: `L0H1 -> L1H0.k`, `{L9H9, L9H6} -> logits`, `heads -> L1H0 -> mlps`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from interp_dsl.check.arguments import positional
from interp_dsl.check.circuits import edges
from interp_dsl.check.models import declared_model, find_model, known_model
from interp_dsl.check.places import unknown_family
from interp_dsl.check.scope import Rejected, Scope
from interp_dsl.check.units import MOST_PLACES, units
from interp_dsl.language.tree import Attribute, Binary, Call, Expr, Name, SetOf
from interp_dsl.models.graph import Graph, leads
from interp_dsl.models.shape import Shape
from interp_dsl.models.sites import missing
from interp_dsl.plan.algebra import Explicit
from interp_dsl.plan.names import CHANNELS, target_of
from interp_dsl.plan.places import ALL, Site, Target, Unit
from interp_dsl.verbs.methods import DIRECT
from interp_dsl.verbs.values import Model, UnitSet

_NODE = re.compile(r"embed|pos_embed|L\d{1,6}H\d{1,6}|L\d{1,6}\.mlp")
_SENDERS = ("embed", "pos_embed", "head", "mlp_out")
_INPUTS = {"q_input": "q", "k_input": "k", "v_input": "v"}


Place = tuple[str, str]
"""A node and the channel at which it reads, "" for a sender and where a node has one only."""
Path = tuple[Place, ...]


@dataclass(frozen=True)
class _Ends:
    """What stands on one side of an arrow, in groups that act at once. `name`: of the node that
    stands there alone."""

    groups: tuple[tuple[Place, ...], ...]
    model: Model | None
    name: str | None = None


def every(expr: Expr, scope: Scope) -> UnitSet:
    """`edges`, `m.edges`, `edges(split_qkv=false)`: each edge of the model's graph a unit."""
    found = edges(expr, scope)
    assert found.model is not None
    if found.direct:
        raise scope.reject(
            "E306",
            DIRECT,
            expr.span,
            label='count="conmy" has them too, and they stand with all others',
            help='write search edges(count="conmy") by acdc(…), or leave out count',
        )
    if found.model.facts is None:
        raise unknown_family(expr.span.text, found.model, expr.span, scope)
    graph = Graph(found.model.facts.shape, found.edges.split_qkv, found.edges.split_embed)
    units = Explicit(tuple(_unit([str(edge)]) for edge in graph.edges))
    return UnitSet(units, found.model, graphs=(found.edges,))


def between(expr: Binary, scope: Scope) -> UnitSet:
    """The edges from every place on the left to every one on the right, as a circuit's have them,
    and of several arrows the paths: what no edge joins is left out, unless all is named alone."""
    start, *places = _stops(expr)
    parts = [_ends(start, scope, _senders), *(_ends(p, scope, _inner) for p in places[:-1])]
    parts.append(_ends(places[-1], scope, _receivers))
    used = _one_model(parts, expr, scope)
    shape = used.facts.shape if used and used.facts else None
    is_direct = len(parts) == 2 and parts[0].name is not None and parts[0].name == parts[1].name

    def leading(paths: Sequence[Path], group: Sequence[Place]) -> list[Path]:
        return [
            (*path, place)
            for path, place in product(paths, group)
            if shape is None or is_direct or leads(path[-1][0], place[0], shape)
        ]

    found: list[Sequence[Path]] = [[(place,) for place in group] for group in parts[0].groups]
    for part in parts[1:]:
        longer = (leading(paths, group) for paths, group in product(found, part.groups))
        found = _counted((paths for paths in longer if paths), expr, scope)
    if not found:
        what = "edge" if len(parts) == 2 else "path"
        raise scope.reject(
            "E306",
            f"there is no such {what}",
            expr.span,
            label="what is written on the left is not read on the right, which comes before it",
            help="an edge leads forward, as L0H1 -> L1H3.k or L0H1 -> L0.mlp",
        )
    return UnitSet(Explicit(tuple(_unit(list(map(_written_path, paths))) for paths in found)), used)


def _counted(units: Iterable[list[Path]], expr: Expr, scope: Scope) -> list[Sequence[Path]]:
    """All of them, unless there are more paths than a step can hold."""
    found: list[Sequence[Path]] = []
    count = 0
    for paths in units:
        found.append(paths)
        count += len(paths)
        if count > MOST_PLACES:
            raise scope.reject(
                "E315",
                f"this makes more than {MOST_PLACES:,} paths",
                expr.span,
                help="narrow the places: (heads layers 0..3) -> …",
            )
    return found


def _stops(expr: Expr) -> list[Expr]:
    """What the arrows part."""
    if isinstance(expr, Binary) and expr.op == "->":
        return [*_stops(expr.left), expr.right]
    return [expr]


def _written_path(path: Path) -> str:
    (sender, _), *places = path
    return " -> ".join(
        [sender, *(f"{node}.{channel}" if channel else node for node, channel in places)]
    )


def _unit(names: Sequence[str]) -> Unit:
    return Unit(tuple(Target(Site("edge", edge=name)) for name in names))


def _one_model(parts: Sequence[_Ends], expr: Expr, scope: Scope) -> Model | None:
    models = {part.model.name: part.model for part in parts if part.model}
    if len(models) > 1:
        raise scope.reject(
            "E307",
            f"places of two models in one edge: {' and '.join(models)}",
            expr.span,
            help="write a step for each model",
        )
    return known_model(scope, next(iter(models.values()), None))


# ---- ends


def _ends(expr: Expr, scope: Scope, kind: _Kind) -> _Ends:
    """The ends that an expression names; those of a set in turn."""
    if isinstance(expr, Call) and expr.function == "together" and expr.arguments:
        parts = [_ends(value, scope, kind) for value in positional(expr, scope)]
        every_place = (place for part in parts for group in part.groups for place in group)
        return _Ends((tuple(dict.fromkeys(every_place)),), _model(parts))
    if isinstance(expr, SetOf) and expr.items:
        parts = [_ends(item, scope, kind) for item in expr.items]
        return _Ends(_distinct(group for part in parts for group in part.groups), _model(parts))
    name, owner = _written(expr, scope)
    place = kind.read(name)
    if place is not None:
        used = known_model(scope, owner)
        _check_place(target_of(place[0]), expr, used, scope)
        return _Ends(((place,),), owner, place[0])
    return _of_family(expr, scope, kind)


def _distinct(groups: Iterable[tuple[Place, ...]]) -> tuple[tuple[Place, ...], ...]:
    return tuple(dict.fromkeys(groups))


def _model(parts: Sequence[_Ends]) -> Model | None:
    return next((part.model for part in parts if part.model), None)


def _of_family(expr: Expr, scope: Scope, kind: _Kind) -> _Ends:
    """Ends that an expression of places names: `heads`, `(queries layers 2)`, a declared set."""
    found = units(expr, scope)
    if not isinstance(found.units, Explicit):
        raise scope.reject(
            "E306",
            "the ends of an edge are known before the run",
            expr.span,
            label="these wait for the results of a step",
            help="name them, or choose of the edges: edges where …, top(step, 10)",
        )
    used = known_model(scope, found.model)
    shape = used.facts.shape if used and used.facts else None
    targets = [t for unit in found.units.units for t in unit.targets]
    if any(t.positions != ALL for t in targets):
        raise scope.reject(
            "E306",
            "the ends of an edge have no positions of their own",
            expr.span,
            help="write `at` behind the edge: L0H1 -> L1H0.k at END",
        )
    places = {target: kind.places(target, shape) for target in targets}
    if not all(places.values()):
        raise _no_end(expr, kind, scope)
    groups: list[tuple[Place, ...]] = []
    for unit in found.units.units:
        held = tuple(place for target in unit.targets for place in places[target])
        groups += [held] if len(unit.targets) > 1 else [(place,) for place in held]
    return _Ends(_distinct(groups), found.model)


@dataclass(frozen=True)
class _Kind:
    """Senders, or receivers; of these all but the logits are `inner` ones of a path."""

    is_sender: bool
    why: str
    is_inner: bool = False

    def read(self, name: str) -> Place | None:
        """A place by its name; None for what is none."""
        if self.is_sender:
            return (name, "") if _NODE.fullmatch(name) else None
        target, _, channel = name.rpartition(".")
        if channel not in CHANNELS or not target:
            target, channel = name, ""
        is_end = target == "logits" and not self.is_inner
        is_reader = is_end or (_NODE.fullmatch(target) and "embed" not in target)
        return (target, channel) if is_reader and not (channel and "H" not in target) else None

    def places(self, target: Target, shape: Shape | None) -> tuple[Place, ...]:
        """The ends that a unit of a family stands for. A key or value head is read by each query
        head of its group."""
        kind, layer = target.site.kind, target.site.layer
        if self.is_sender:
            return ((target.place, ""),) if kind in _SENDERS else ()
        if kind in ("head", "mlp_out") or (kind == "logits" and not self.is_inner):
            return ((target.place, ""),)
        if kind == "mlp_in":
            return ((f"L{layer}.mlp", ""),)
        channel = _INPUTS.get(kind, kind)
        if channel not in CHANNELS or target.index is None or shape is None:
            return ()
        size = 1 if channel == "q" else shape.n_heads // shape.n_kv_heads
        heads = range(target.index * size, (target.index + 1) * size)
        return tuple((f"L{layer}H{head}", channel) for head in heads)


_senders = _Kind(True, "an edge starts at embed, a head or an MLP")
_inner = _Kind(False, "a path leads through heads, their .q, .k or .v, and MLPs", is_inner=True)
_receivers = _Kind(False, "it ends at a head's .q, .k or .v, at an MLP, or at logits")


def _written(expr: Expr, scope: Scope) -> tuple[str, Model | None]:
    """A node as it is written, without the model in front, and that model; "" for what is no
    name."""
    first: Expr = expr
    names: list[str] = []
    while isinstance(first, Attribute):
        names.insert(0, first.name)
        if declared := find_model(first.value, scope):
            return ".".join(names), declared_model(declared)
        first = first.value
    if not isinstance(first, Name) or (not names and scope.find(first.id)):
        return "", None
    return ".".join([first.id, *names]), None


def _check_place(target: Target, expr: Expr, used: Model | None, scope: Scope) -> None:
    wrong = missing(target, used.facts.shape) if used and used.facts else None
    if used and wrong:
        raise scope.reject(
            "E201",
            f"this model has no {target.place}",
            expr.span,
            label=f"{used.name}: {wrong}",
        )


def _no_end(expr: Expr, kind: _Kind, scope: Scope) -> Rejected:
    return scope.reject(
        "E306",
        "this is no end of an edge",
        expr.span,
        label=kind.why,
        help="write for example L0H1 -> L1H0.k",
    )
