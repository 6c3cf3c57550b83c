"""The circuits of a step in two runs side by side: which edges both keep, which one alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interp_dsl.runs.circuit_rows import is_edge_table, strength
from interp_dsl.runs.circuit_table import key_of
from interp_dsl.runs.text import count

if TYPE_CHECKING:
    import polars as pl


def compare_edges(first: pl.DataFrame, second: pl.DataFrame) -> pl.DataFrame:
    """A row an edge that either circuit keeps, of a threshold where both have several: the columns
    that tell which; `kept`, by `both`, `a` or `b`; `a` and `b`, its effects, or scores where the
    search measured none, null where it is not kept or not told of. Those that one keeps alone come
    first, the largest first. ValueError where these are no circuits, where they are of different
    graphs, and where they have no threshold in common."""
    import polars as pl

    if not (is_edge_table(first) and is_edge_table(second)):
        raise ValueError("a circuit can only be compared with another")
    held = [name for name in ("threshold",) if name in first.columns]
    if held != [name for name in ("threshold",) if name in second.columns]:
        raise ValueError("one of the two has several circuits, the other has one")
    keys = [*held, *key_of(first)]
    if keys != [*held, *key_of(second)] or not _edges(first).equals(_edges(second)):
        raise ValueError("the circuits are parts of different graphs")
    sides = [_kept(table, keys, side) for table, side in ((first, "a"), (second, "b"))]
    if held:
        common = set(first["threshold"]) & set(second["threshold"])
        if not common:
            raise ValueError("the circuits have no threshold in common")
        sides = [side.filter(pl.col("threshold").is_in(common)) for side in sides]
    both = sides[0].join(sides[1], on=keys, how="full", coalesce=True, maintain_order="left")
    in_a, in_b = pl.col("in_a").is_not_null(), pl.col("in_b").is_not_null()
    kept = pl.when(in_a & in_b).then(pl.lit("both")).when(in_a).then(pl.lit("a"))
    rows = both.with_columns(kept.otherwise(pl.lit("b")).alias("kept"))
    size = pl.max_horizontal(pl.col("a").abs(), pl.col("b").abs()).fill_null(0.0)
    shown = rows.sort(pl.col("kept") == "both", -size, maintain_order=True)
    return shown.select(*key_of(first), *held, "kept", "a", "b")


def overlap(rows: pl.DataFrame) -> str:
    """In words how much two circuits share. `Jaccard` is the edges that both keep over all."""
    n = {side: int((rows["kept"] == side).sum()) for side in ("both", "a", "b")}
    share = n["both"] / len(rows) if len(rows) else 1.0
    alone = f"{n['a']:,} in a alone, {n['b']:,} in b alone"
    return f"{count(n['both'], 'edge')} in both, {alone}, Jaccard {share:.3f}"


def _edges(table: pl.DataFrame) -> pl.DataFrame:
    """The edges of the graph."""
    key = key_of(table)
    return table.select(key).unique().sort(key)


def _kept(table: pl.DataFrame, keys: list[str], side: str) -> pl.DataFrame:
    """The kept edges, with how strong they are as the column `side`."""
    import polars as pl

    kept = table.filter("kept")
    return kept.select(*keys, pl.col(strength(kept)).alias(side), pl.lit(1).alias(f"in_{side}"))
