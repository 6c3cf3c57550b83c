"""A score table as it is ranked: one row a component, the metrics side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from interp_dsl.runs.circuit_rows import is_edge_table, strength
from interp_dsl.runs.circuit_table import key_of
from interp_dsl.runs.rank import metrics, ranking_column
from interp_dsl.runs.schema import extra_columns, is_estimated, is_node_circuit, is_score_table
from interp_dsl.tui.widgets.columns import (
    BarColumn,
    Column,
    FlagColumn,
    IntervalColumn,
    NumberColumn,
    OwnColumn,
    TextColumn,
    plain_columns,
)
from interp_dsl.tui.widgets.frame import FrameModel

if TYPE_CHECKING:
    import polars as pl

TABLE_ROW = "#table"
"""The row of the step's table that a row of the ranking came from, for the leading metric."""


@dataclass(frozen=True)
class Ranking:
    """`model` is shown; `metrics` are those to choose from, `lead` the one it is ranked by (None:
    no score table)."""

    model: FrameModel
    metrics: list[str]
    lead: str | None


def ranking(table: pl.DataFrame, lead: str | None = None) -> Ranking:
    """The table as it is first shown: scores by |effect| of the leading metric (the first, if none
    is named), edges by their strength, other tables as they are."""
    table = table.with_row_index(TABLE_ROW)
    if is_score_table(table):
        return _scores(table, lead)
    rows = table.drop(TABLE_ROW)
    if is_edge_table(rows):
        return Ranking(_edges(rows), [], None)
    return Ranking(FrameModel(rows, plain_columns(rows)), [], None)


def _scores(table: pl.DataFrame, lead: str | None) -> Ranking:
    names = metrics(table)
    if len(names) == len(table) and ranking_column(table) == "value":
        return Ranking(FrameModel(table, _measured(table)), [], None)
    first = lead if lead in names else (names[0] if names else None)
    own = [name for name in extra_columns(table) if name != TABLE_ROW]
    keys = ["unit", "position", *own]
    frame = table.filter(_is(first))
    others = [name for name in names if name != first]
    for i, name in enumerate(others):
        frame = _beside(frame, table, name, keys, f"#other{i}")
    columns = _columns(frame, own, others)
    return Ranking(FrameModel(frame, columns, ranking_column(frame)), names, first)


def _beside(
    frame: pl.DataFrame, table: pl.DataFrame, metric: str, keys: list[str], title: str
) -> pl.DataFrame:
    """The frame with another metric's effects; joined only where the rows are not the same."""
    rows = table.filter(_is(metric))
    column = rows[ranking_column(rows)].alias(title)
    if rows.select(keys).equals(frame.select(keys)):
        return frame.with_columns(column)
    once = rows.select(keys).with_columns(column).unique(keys, maintain_order=True)
    return frame.join(once, on=keys, how="left", nulls_equal=True, maintain_order="left")


def _is(metric: str | None) -> pl.Expr:
    import polars as pl

    return pl.col("metric") == metric


def _columns(frame: pl.DataFrame, own: list[str], others: list[str]) -> list[Column]:
    columns: list[Column] = [TextColumn.of(frame, "unit")]
    if frame["position"].n_unique() != 1 or frame["position"][0] != "all":
        columns.append(TextColumn.of(frame, "position", "at"))
    columns += [TextColumn.of(frame, name) for name in own]
    if not len(frame) or ranking_column(frame) == "value":
        columns += _values(frame)
    else:
        columns += _effects(frame)
    columns += [NumberColumn.of(frame, f"#other{i}", name) for i, name in enumerate(others)]
    columns.append(TextColumn.of(frame, "n"))
    return columns


def _measured(table: pl.DataFrame) -> list[Column]:
    """One value a metric: what `evaluate` has found of one thing."""
    columns: list[Column] = [TextColumn.of(table, "metric")]
    columns += [OwnColumn.of(table, name) for name in ("value", "low", "high")]
    return [*columns, TextColumn.of(table, "n")]


def _values(frame: pl.DataFrame) -> list[Column]:
    number = NumberColumn.of(frame, "value", signed=False)
    return [number, IntervalColumn.of(frame, "low", "high", number.places)]


def _effects(frame: pl.DataFrame) -> list[Column]:
    estimated = is_estimated(frame)
    effect = NumberColumn.of(frame, "effect", "estimate" if estimated else None)
    columns: list[Column] = [effect, BarColumn.of(frame, "effect")]
    if estimated and not frame["verified"].is_null().all():
        columns.append(NumberColumn.of(frame, "verified", places=effect.places))
    if is_node_circuit(frame):
        columns.append(FlagColumn("kept", "kept", 6, "kept"))
    if not frame["low"].is_null().all() or frame["skipped"].any():
        columns.append(IntervalColumn.of(frame, "low", "high", effect.places, "skipped"))
    if not frame["normalized"].is_null().all():
        columns.append(NumberColumn.of(frame, "normalized", "norm.", places=3))
    if not frame["base"].is_null().all():
        columns.append(NumberColumn.of(frame, "base", signed=False))
    return columns


def _edges(rows: pl.DataFrame) -> FrameModel:
    columns: list[Column] = [TextColumn.of(rows, name) for name in key_of(rows)]
    if "threshold" in rows.columns:
        columns.append(TextColumn.of(rows, "threshold"))
    columns.append(FlagColumn("kept", "kept", 6, "kept"))
    by = strength(rows)
    for name in ("effect", "score", "margin"):
        if not rows[name].is_null().all():
            columns.append(NumberColumn.of(rows, name))
            if name == by:
                columns.append(BarColumn.of(rows, name))
    columns.append(TextColumn.of(rows, "order"))
    return FrameModel(rows, columns, by)
