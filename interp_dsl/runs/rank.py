"""The order in which components are shown: by size of effect, both signs kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl


def metrics(table: pl.DataFrame) -> list[str]:
    """The metrics of a score table, in the order they were asked for."""
    return [str(name) for name in table["metric"].unique(maintain_order=True)]


def ranking_column(table: pl.DataFrame) -> str:
    """`effect`, or `value` where a step gives values only."""
    return "value" if table["effect"].is_null().all() else "effect"


def ranked(table: pl.DataFrame, metric: str, by: str | None = None) -> pl.DataFrame:
    """The rows of a metric, the largest |by| first, nulls last; ties keep their order."""
    import polars as pl

    rows = table.filter(pl.col("metric") == metric)
    column = by or ranking_column(table)
    if column not in rows.columns:
        raise KeyError(column)
    if not rows.schema[column].is_numeric():
        return rows.sort(column, nulls_last=True, maintain_order=True)
    size = pl.col(column).fill_nan(None) if rows.schema[column].is_float() else pl.col(column)
    return rows.sort(size.abs(), descending=True, nulls_last=True, maintain_order=True)
