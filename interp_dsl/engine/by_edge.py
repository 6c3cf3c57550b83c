"""Tables of edges as arrays over a graph's edges, [E]."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from interp_dsl.circuits.setting import Floats
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.models.graph import Bools, Edge, Graph
from interp_dsl.plan.expressions import Row
from interp_dsl.plan.names import unit_of
from interp_dsl.runs.circuit import Circuit
from interp_dsl.runs.circuit_table import key_of

RANKED_BY = {
    "acdc": "effect",
    "top_edges": "score",
    "greedy": "score",
    "subnetwork_probing": "score",
    "edge_pruning": "score",
}
"""The column by which a method ranks edges: ACDC by its effects, whatever their sign."""


def kept_of(circuit: Circuit, graph: Graph) -> Bools:
    """Which edges of the graph are kept; one that the circuit does not list is not."""
    kept = np.zeros(graph.n_edges, dtype=bool)
    kept[[graph.index[edge] for edge in edges_of(circuit.edges)]] = True
    return kept


def strengths_of(circuit: Circuit, graph: Graph) -> Floats:
    """How a search ranks edges, the more needed the higher; an edge that ACDC dropped untested has
    0. Raises InterpError E655 where the circuit is no search's."""
    method = circuit.method
    if method.name not in RANKED_BY:
        raise _unranked(f"a circuit by {method.name}", "it was made of others")
    if "among" in method.options:
        raise _unranked("the circuit", f"of its edges {method.options['among']} were searched")
    column = circuit.table[RANKED_BY[method.name]]
    values = dict(zip(map(str, edges_of(circuit.table)), column, strict=True))
    found = _over(graph, values, f"a circuit by {method.name}")
    is_signed = method.name == "acdc" or method.options.get("absolute", False)
    return np.abs(found) if is_signed else found


def scores_of(
    rows: Sequence[Row], column: str, graph: Graph, what: str, among: Bools | None = None
) -> Floats:
    """The scores of rows whose units are the graph's edges, 0 of those that are not among the ones
    searched. Raises InterpError E655 where one of these has none, and where rows are of other
    places."""
    units = (str(unit_of(str(row["unit"]), str(row.get("position", "all")))) for row in rows)
    values = [row[column] for row in rows]
    return _over(graph, dict(zip(units, values, strict=True)), what, among)


def _over(
    graph: Graph, values: dict[str, float | None], what: str, among: Bools | None = None
) -> Floats:
    names = [str(edge) for edge in graph.edges]
    wanted = names if among is None else [names[number] for number in np.flatnonzero(among)]
    missing = [name for name in wanted if name not in values]
    other = sorted(values.keys() - set(names))
    if missing or other:
        why = f"it has no {missing[0]}" if missing else f"{other[0]} is none of its edges"
        raise _unranked(what, why)
    return np.array([values.get(name) or 0.0 for name in names])


def edges_of(table: pl.DataFrame) -> list[Edge]:
    """The edges of a table's rows."""
    return [Edge(*row) for row in table.select(key_of(table)).iter_rows()]


def _unranked(what: str, why: str) -> InterpError:
    return InterpError(
        Diagnostic(
            "E655",
            f"{what} does not rank the edges of this graph",
            notes=(why,),
            help="rank by a step that scores every edge of the graph that is searched",
        ),
        exit_code=1,
    )
