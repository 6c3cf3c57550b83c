"""The edge table of a circuit: which columns, and what makes a table of edges one.

source, target  nodes as the language writes them: `embed`, `pos_embed`, `L0H1`, `L0.mlp`, `logits`
position        where the target reads, as the language writes it; a column of those tables alone
                that tell edges apart by position
channel         through what the target reads: q k v (or attn, where they are one) of a head, mlp,
                logits. An edge from a head to itself is a direct one: the channel's whole input,
                an edge that Conmy et al.'s graph counts
kept            whether the edge is in the circuit
order           the edge's turn in the search, from 0; null where there was no order
effect          the change of the driving metric when the edge is taken out; null where none was
                measured or estimated
score           what the method held against its threshold: for ACDC the metric of the circuit when
                the edge's turn came, for other methods what they rank edges by: the score given,
                the turn in which an edge went, the probability of a mask
margin          how far the edge was from being decided the other way
evaluated       whether the edge was tested itself, not dropped with a node that nothing reaches"""

from __future__ import annotations

from typing import TYPE_CHECKING

from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.language.suggest import suggest
from interp_dsl.runs.nodes import CHANNELS, Node, fault_of_node, level, parse_node
from interp_dsl.runs.schema import Kind, polars_types
from interp_dsl.runs.text import printable

if TYPE_CHECKING:
    import polars as pl

EDGE_COLUMNS: dict[str, Kind] = {
    "source": "text",
    "target": "text",
    "channel": "text",
    "kept": "truth",
    "order": "integer",
    "effect": "number",
    "score": "number",
    "margin": "number",
    "evaluated": "truth",
}
KEY = ("source", "target", "channel")
POSITION = "position"
REQUIRED = (*KEY, "kept", "evaluated")


def edge_columns(by_position: bool) -> dict[str, Kind]:
    """The columns of an edge table, in order."""
    if not by_position:
        return EDGE_COLUMNS
    return {**{name: EDGE_COLUMNS[name] for name in KEY}, POSITION: "text", **EDGE_COLUMNS}


def key_of(table: pl.DataFrame) -> tuple[str, ...]:
    """The columns that tell which edge a row is."""
    return (*KEY, POSITION) if POSITION in table.columns else KEY


def edge_table(edges: pl.DataFrame, n_layers: int, n_heads: int) -> pl.DataFrame:
    """`edges` with the edge columns in their order and types; NaN becomes null. InterpError E722
    where a column is missing, unknown or of another type, E723 where an edge cannot be in a graph
    of these sizes, E724 where one stands twice. The message begins with the row as `edges[3]`."""
    import polars as pl

    kinds = edge_columns(POSITION in edges.columns)
    for name in edges.columns:
        if name not in kinds:
            near = suggest(name, kinds)
            raise fault("E722", f"edges: no column is called {printable(name)}", meant(near))
    missing = [name for name in kinds if name not in edges.columns]
    if missing:
        raise fault(
            "E722", f"edges: there is no column {missing[0]}", "give every edge its columns"
        )
    try:
        table = edges.select(*kinds).cast(polars_types(kinds))  # type: ignore[arg-type]
    except pl.exceptions.PolarsError as error:
        raise fault("E722", "edges: a column has the wrong type", note=str(error)) from None
    table = table.with_columns(pl.col(pl.Float64).fill_nan(None))
    _check_values(table)
    _check_edges(table, _check_nodes(table, n_layers, n_heads), n_layers)
    _check_once(table)
    return table


def fault(
    code: str, message: str, remedy: str | None = None, note: str | None = None
) -> InterpError:
    return InterpError(Diagnostic(code, message, notes=(note,) if note else (), help=remedy))


def meant(near: str | None) -> str | None:
    return f"did you mean {near}?" if near else None


def _check_values(table: pl.DataFrame) -> None:
    import polars as pl

    for name in (*REQUIRED, *key_of(table)):
        if row := _first(table, pl.col(name).is_null()):
            raise fault("E722", f"edges[{row[0]}].{name} is missing", "only numbers may be null")
    for name in ("effect", "score", "margin"):
        if row := _first(table, pl.col(name).is_infinite()):
            message = f"edges[{row[0]}].{name} is infinite"
            raise fault("E722", message, "leave what was not measured null")
    if row := _first(table, pl.col("order") < 0):
        raise fault("E722", f"edges[{row[0]}].order is {row[1]['order']}", "turns count from 0")


def _check_nodes(table: pl.DataFrame, n_layers: int, n_heads: int) -> dict[str, Node]:
    """The nodes of the table by name."""
    import polars as pl

    nodes = {}
    for end in ("source", "target"):
        for name in table[end].unique(maintain_order=True):
            node, why = parse_node(name), fault_of_node(name, n_layers, n_heads)
            if node is None or why:
                row = _first(table, pl.col(end) == name)
                at = f"edges[{row[0] if row else 0}].{end}"
                raise fault("E723", f"{at}: {printable(name)} is no node of the graph", note=why)
            nodes[name] = node
    return nodes


def _check_edges(table: pl.DataFrame, nodes: dict[str, Node], n_layers: int) -> None:
    """Channels are the targets' own, and edges lead from earlier nodes to later ones."""
    levels = {name: level(node, n_layers) for name, node in nodes.items()}
    for row, (source, target, channel) in enumerate(table.select(KEY).iter_rows()):
        at, allowed = f"edges[{row}]", CHANNELS.get(nodes[target].kind, ())
        if not allowed:
            raise fault("E723", f"{at}: nothing leads to {target}", f"{target} is an input")
        if channel not in allowed:
            message = f"{at}: {target} does not read through {printable(channel)}"
            raise fault("E723", message, f"its channels: {' '.join(allowed)}")
        is_direct = source == target and nodes[target].kind == "head"
        if levels[source] >= levels[target] and not is_direct:
            message = f"{at}: {source} does not run before {target}"
            raise fault("E723", message, "edges lead from earlier nodes to later ones")


def _check_once(table: pl.DataFrame) -> None:
    import polars as pl

    key = key_of(table)
    if row := _first(table, ~pl.struct(key).is_first_distinct()):
        found = row[1]
        same = pl.all_horizontal(*(pl.col(name) == found[name] for name in key))
        first = _first(table, same)
        at = f" at {found[POSITION]}" if POSITION in key else ""
        edge = f"{found['source']} -> {found['target']} ({found['channel']}){at}"
        note = f"it is edges[{first[0] if first else 0}] too"
        raise fault("E724", f"edges[{row[0]}]: {edge} stands twice", "leave one of the two", note)


def _first(table: pl.DataFrame, where: pl.Expr) -> tuple[int, dict[str, object]] | None:
    """The first row where something holds: its number and its values."""
    if not table.select(where.any()).item():
        return None
    (found,) = table.with_row_index("row").filter(where).head(1).to_dicts()
    return int(found["row"]), found
