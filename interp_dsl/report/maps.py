"""Heat maps of score tables: the grids of a metric's rows, with names and intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from interp_dsl.report.figures.heatmap import Cell, Grid
from interp_dsl.report.quantities import named, row_name
from interp_dsl.runs import grids
from interp_dsl.runs.rank import ranking_column
from interp_dsl.runs.schema import is_estimated

if TYPE_CHECKING:
    import polars as pl

MOST_CELLS = 12_000
"""Cells of all maps of a metric that a page can hold."""


def maps(
    table: pl.DataFrame, step: str, metric: str, unit: str | None = None
) -> tuple[list[Grid], int]:
    """The maps of a metric of a step's score table, and how many more there would be; `unit` is
    what the metric counts in. A map has two cells at least."""
    column = ranking_column(table)
    quantity = named(_quantity(table, metric, column), unit)
    drawn: list[Grid] = []
    cells = left = 0
    for grid in grids.grids(table, metric, column):
        size = int(np.isfinite(grid.values).sum())
        if size < 2:
            continue
        cells += grid.values.size
        if cells > MOST_CELLS:
            left += 1
        else:
            drawn.append(_drawn(grid, f"{step}: {grid.title}", table, quantity))
    return drawn, left


def _quantity(table: pl.DataFrame, metric: str, column: str) -> str:
    if column == "value":
        return metric
    return f"estimated effect on {metric}" if is_estimated(table) else f"effect on {metric}"


def _drawn(grid: grids.Grid, title: str, table: pl.DataFrame, quantity: str) -> Grid:
    down, _, across = grid.name.partition(" × ")
    cells = {}
    for row, column in np.argwhere(np.isfinite(grid.values)).tolist():
        held = table.row(int(grid.rows[row, column]), named=True)
        cells[row, column] = _cell(held, float(grid.values[row, column]))
    return Grid(title, quantity, down, across, grid.row_names, grid.column_names, cells)


def _cell(row: dict[str, Any], value: float) -> Cell:
    note = f", n {row['n']}" if row["n"] is not None else ""
    if row["skipped"]:
        note = "; not run, for it cannot have an effect"
    return Cell(row_name(row), value, row["low"], row["high"], note)
