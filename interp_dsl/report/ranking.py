"""A metric's leading rows as ranked bars."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interp_dsl.report.figures.bars import MOST, Bar, Ranking
from interp_dsl.report.quantities import named, row_name
from interp_dsl.runs.rank import ranked, ranking_column
from interp_dsl.runs.schema import extra_columns, is_estimated

if TYPE_CHECKING:
    import polars as pl


def ranking(
    table: pl.DataFrame, metric: str, step: str, unit: str | None = None, most: int = MOST
) -> Ranking:
    """The `most` largest effects of a metric, of values where the step has no effects; rows
    without a number are left out."""
    import polars as pl

    column = ranking_column(table)
    rows = ranked(table, metric).filter(pl.col(column).is_not_null() & pl.col(column).is_not_nan())
    extras = extra_columns(table)
    bars = [
        Bar(row_name(row, extras), row[column], row["low"], row["high"], row.get("verified"))
        for row in rows.head(most).iter_rows(named=True)
    ]
    what = "value of" if column == "value" else "effect on"
    what = f"estimated {what}" if is_estimated(table) else what
    quantity = named(f"{what} {metric}", unit)
    return Ranking(f"{step}: {quantity}", quantity, bars, len(rows) - len(bars))
