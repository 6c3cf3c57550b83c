"""What every picture of a circuit says in words and signs: which edges, how strong, under what
title."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from interp_dsl.plan.names import edge_name
from interp_dsl.runs.circuit import Circuit
from interp_dsl.runs.circuit_rows import strength
from interp_dsl.runs.circuit_table import KEY, POSITION
from interp_dsl.runs.text import count, printable

if TYPE_CHECKING:
    import polars as pl


def strength_column(circuit: Circuit) -> str:
    """`effect`, or `score` where there are scores and no effects."""
    return strength(circuit.edges)


def strongest(circuit: Circuit, most: int) -> pl.DataFrame:
    """The kept edges, the `most` with the largest |strength| where there are more; in the order of
    the table."""
    import polars as pl

    edges = circuit.edges
    if len(edges) <= most:
        return edges
    size = pl.col(strength_column(circuit)).abs()
    ranked = edges.with_row_index("row").sort(
        size, descending=True, nulls_last=True, maintain_order=True
    )
    return ranked.head(most).sort("row").drop("row")


def title(circuit: Circuit) -> str:
    """Method, model, metric."""
    parts = [f"{circuit.method.name} on {circuit.model.name}"]
    parts += [circuit.data.name] if circuit.data else []
    parts += [circuit.metric] if circuit.metric else []
    return " · ".join(parts)


def summary(circuit: Circuit, shown: int) -> str:
    """How much of the graph it is, and how much of it is shown."""
    kept = f"{circuit.size:,} of {count(circuit.graph.n_edges, 'edge')}"
    nodes = count(len(circuit.nodes), "node")
    cut = f", the strongest {shown:,} drawn" if shown < circuit.size else ""
    return f"{kept}, {nodes}{cut}"


def name(edge: Mapping[str, Any]) -> str:
    """An edge as the language writes it, with its position where a table tells of one."""
    source, target, channel = (edge[part] for part in KEY)
    return printable(edge_name(source, target, channel, edge.get(POSITION, "all")))


def n_drawn(edges: pl.DataFrame) -> int:
    """Lines of a picture: one for all positions of an edge."""
    return edges.select(KEY).n_unique()


def where(edge: Mapping[str, Any]) -> str:
    """The position of an edge in words behind it; nothing where a table tells of none."""
    return printable(f" at {edge[POSITION]}") if POSITION in edge else ""
