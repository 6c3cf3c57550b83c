"""Two runs of a step side by side: differences, ranks and signs.

The interval of a difference joins the two runs' own intervals as if they were independent
(Newcombe's square-and-add, MOVER). Runs over the same examples move together, so for them it is
wider than it need be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interp_dsl.runs.rank import ranking_column
from interp_dsl.runs.schema import extra_columns, is_score_table

if TYPE_CHECKING:
    import polars as pl


def compare(first: pl.DataFrame, second: pl.DataFrame) -> pl.DataFrame:
    """One row a component and metric of either table: `a` and `b` (effects, or values where a
    step gives values only), `difference` = b - a with `low` and `high`, `rank_a` and `rank_b`
    by |effect| within the metric, `flipped` where the signs differ and `clearly` where both
    intervals also leave 0 out. ValueError where the tables do not match row for row."""
    import polars as pl

    if not (is_score_table(first) and is_score_table(second)):
        raise ValueError("only score tables can be compared")
    if set(extra_columns(first)) != set(extra_columns(second)):
        raise ValueError("the two tables vary different things: " + _columns(first, second))
    keys = ["unit", "position", *extra_columns(first), "metric"]
    column = ranking_column(first)
    a, b = _side(first, keys, column, "a"), _side(second, keys, column, "b")
    if len(a.unique(keys)) < len(a) or len(b.unique(keys)) < len(b):
        raise ValueError("a component stands twice in one of the tables")
    both = a.join(b, on=keys, how="full", coalesce=True, nulls_equal=True, maintain_order="left")
    return both.with_columns(
        difference=pl.col("b") - pl.col("a"),
        low=pl.col("b") - pl.col("a") - _spread("b", "low_b", "a", "high_a"),
        high=pl.col("b") - pl.col("a") + _spread("b", "high_b", "a", "low_a"),
        flipped=pl.col("a").sign() * pl.col("b").sign() < 0,
    ).select(
        *keys, "a", "b", "difference", "low", "high", "rank_a", "rank_b", "flipped", _clearly()
    )


def _side(table: pl.DataFrame, keys: list[str], column: str, suffix: str) -> pl.DataFrame:
    import polars as pl

    rank = pl.col(column).abs().rank("min", descending=True).over("metric")
    return table.select(
        *keys,
        pl.col(column).alias(suffix),
        pl.col("low").alias(f"low_{suffix}"),
        pl.col("high").alias(f"high_{suffix}"),
        rank.alias(f"rank_{suffix}"),
    )


def _spread(one: str, one_bound: str, other: str, other_bound: str) -> pl.Expr:
    import polars as pl

    squares = (pl.col(one) - pl.col(one_bound)) ** 2 + (pl.col(other) - pl.col(other_bound)) ** 2
    return squares.sqrt()


def _clearly() -> pl.Expr:
    import polars as pl

    apart = (pl.col("low_a") * pl.col("high_a") > 0) & (pl.col("low_b") * pl.col("high_b") > 0)
    return (pl.col("flipped") & apart).alias("clearly")


def _columns(first: pl.DataFrame, second: pl.DataFrame) -> str:
    sides = (", ".join(extra_columns(table)) or "nothing" for table in (first, second))
    return " against ".join(sides)


def agreement(compared: pl.DataFrame, metric: str) -> float | None:
    """Spearman's rank correlation of the sizes of the effects of a metric; None below three
    components in both."""
    import polars as pl

    both = compared.filter(
        (pl.col("metric") == metric) & pl.col("a").is_not_null() & pl.col("b").is_not_null()
    )
    if len(both) < 3:
        return None
    found = both.select(pl.corr(pl.col("a").abs(), pl.col("b").abs(), method="spearman")).item()
    return None if found is None or found != found else float(found)
