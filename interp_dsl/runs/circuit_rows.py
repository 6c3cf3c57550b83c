"""Edge tables as a person reads them: the kept edges, the strongest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interp_dsl.plan.names import edge_name
from interp_dsl.runs.circuit_table import EDGE_COLUMNS, key_of
from interp_dsl.runs.text import MISSING, Column, count, decimals, number

if TYPE_CHECKING:
    import polars as pl

NUMBERS = ("effect", "score", "margin")


def is_edge_table(table: pl.DataFrame) -> bool:
    """Whether a table has all the columns of edges."""
    return EDGE_COLUMNS.keys() <= set(table.columns)


def strength(table: pl.DataFrame) -> str:
    """The column that says how strong an edge is: `effect`, or `score` where there is no effect."""
    no_effects, no_scores = (table[name].is_null().all() for name in ("effect", "score"))
    return "score" if no_effects and not no_scores else "effect"


def kept_edges(table: pl.DataFrame, by: str) -> tuple[pl.DataFrame, str]:
    """The kept edges by |by|, threshold after threshold, and in words how many they are."""
    import polars as pl

    held = [name for name in ("threshold",) if name in table.columns]
    key = pl.col(by).abs() if table.schema[by].is_float() else pl.col(by)
    kept = table.filter("kept").sort(
        *held,
        key,
        descending=[*(False for _ in held), table.schema[by].is_float()],
        nulls_last=True,
        maintain_order=True,
    )
    n = max(1, table["threshold"].n_unique()) if held else 1
    of = count(len(table) // n, "edge")
    if n > 1:
        return kept, f"{n} circuits with {len(kept):,} edges, of {of} each, by |{by}|"
    return kept, f"{len(kept):,} of {of} by |{by}|"


def edge_columns(rows: pl.DataFrame) -> list[Column]:
    """The columns of kept edges: which, how strong, and when they were judged."""
    names = [edge_name(*key) for key in rows.select(key_of(rows)).iter_rows()]
    columns = [Column("edge", names)]
    if "threshold" in rows.columns:
        columns.append(Column("threshold", [f"{t:g}" for t in rows["threshold"]], right=True))
    for name in NUMBERS:
        if not rows[name].is_null().all():
            places = decimals(rows[name])
            cells = [number(value, places) for value in rows[name]]
            columns.append(Column(name, cells, right=True))
    if not rows["order"].is_null().all():
        columns.append(
            Column("order", [MISSING if n is None else f"{n}" for n in rows["order"]], right=True)
        )
    return columns
