"""Circuits over the same graph as sets of edges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from interp_dsl.runs.circuit import Circuit, Method
from interp_dsl.runs.circuit_table import POSITION, fault, key_of

if TYPE_CHECKING:
    import polars as pl

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class CircuitDiff:
    """Two circuits edge by edge. `only_left` and `only_right` have the columns of edge tables;
    `both` has source, target, channel, effect_left, effect_right. `jaccard` is shared edges over
    all kept ones, 1 for two empty circuits."""

    only_left: pl.DataFrame
    only_right: pl.DataFrame
    both: pl.DataFrame
    jaccard: float


def union(left: Circuit, right: Circuit) -> Circuit:
    """The edges that either keeps. An edge's numbers are of the circuit that keeps it, the left one
    where both do."""
    return _combined("union", left, right, lambda a, b: a | b)


def intersection(left: Circuit, right: Circuit) -> Circuit:
    """The edges that both keep, with the left circuit's numbers."""
    return _combined("intersection", left, right, lambda a, b: a & b)


def difference(left: Circuit, right: Circuit) -> Circuit:
    """The edges that the left circuit keeps and the right one does not."""
    return _combined("difference", left, right, lambda a, b: a & ~b)


def diff(left: Circuit, right: Circuit) -> CircuitDiff:
    """What two circuits share and what they do not. Raises InterpError E725 over different
    graphs."""
    _check_alike(left, right)
    ours, theirs = left.edges, right.edges
    key = key_of(ours)
    shared = ours.select(*key, effect_left="effect").join(
        theirs.select(*key, effect_right="effect"), on=key, how="inner", maintain_order="left"
    )
    n_all = len(ours) + len(theirs) - len(shared)
    return CircuitDiff(
        ours.join(theirs, on=key, how="anti", maintain_order="left"),
        theirs.join(ours, on=key, how="anti", maintain_order="left"),
        shared,
        len(shared) / n_all if n_all else 1.0,
    )


def _combined(
    name: str, left: Circuit, right: Circuit, kept: Callable[[pl.Expr, pl.Expr], pl.Expr]
) -> Circuit:
    """Every edge that either circuit knows: the left one's in their order, then the others."""
    import polars as pl

    _check_alike(left, right)
    key = key_of(left.table)
    sides = pl.concat([left.table, right.table]).with_row_index("row")
    held = sides.sort("kept", "row", descending=[True, False]).unique(key, keep="first")
    marks = [
        side.edges.select(*key, pl.lit(True).alias(f"in_{n}"))
        for n, side in (("left", left), ("right", right))
    ]
    rows = sides.group_by(key).agg(turn=pl.col("row").min())
    for other in (held, *marks):
        rows = rows.join(other, on=key, how="left")
    inside = [pl.col(f"in_{n}").fill_null(False) for n in ("left", "right")]
    table = rows.sort("turn").with_columns(kept=kept(*inside)).select(left.table.columns)
    return Circuit(
        table,
        left.graph,
        Method(name, {"left": _origin(left), "right": _origin(right)}),
        left.model,
        _shared(left.data, right.data),
        _shared(left.metric, right.metric),
        _shared(left.ablation, right.ablation),
    )


def _origin(circuit: Circuit) -> dict[str, Any]:
    method = circuit.method
    return {
        "name": method.name,
        "options": dict(method.options),
        "thresholds": list(circuit.thresholds),
    }


def _places(circuit: Circuit) -> str:
    """The positions at which a circuit tells edges apart."""
    if POSITION not in circuit.table.columns:
        return "none"
    return ", ".join(sorted(circuit.table[POSITION].unique()))


def _shared(left: T, right: T) -> T | None:
    return left if left == right else None


def _check_alike(left: Circuit, right: Circuit) -> None:
    pairs = (
        ("model", left.model.sha256, right.model.sha256),
        ("layers", left.graph.n_layers, right.graph.n_layers),
        ("heads", left.graph.n_heads, right.graph.n_heads),
        ("edges", left.graph.n_edges, right.graph.n_edges),
        ("positions", _places(left), _places(right)),
    )
    for what, ours, theirs in pairs:
        if ours != theirs:
            note = f"{what}: {ours} and {theirs}"
            remedy = "compare circuits of one model, searched over the same edges"
            raise fault("E725", "the circuits are parts of different graphs", remedy, note)
