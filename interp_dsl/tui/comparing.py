"""Two runs of a step side by side, as the rows of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interp_dsl.runs.circuit_compare import compare_edges, overlap
from interp_dsl.runs.circuit_rows import is_edge_table
from interp_dsl.runs.compare import agreement, compare
from interp_dsl.runs.rank import metrics
from interp_dsl.runs.text import count, decimals
from interp_dsl.tui.widgets.columns import (
    BarColumn,
    Column,
    FlagColumn,
    IntervalColumn,
    NumberColumn,
    RanksColumn,
    TextColumn,
)
from interp_dsl.tui.widgets.frame import FrameModel

if TYPE_CHECKING:
    import polars as pl

OWN = ("a", "b", "difference", "low", "high", "rank_a", "rank_b", "flipped", "clearly", "metric")


def compared(
    before: pl.DataFrame, after: pl.DataFrame, lead: str | None
) -> tuple[FrameModel, list[str], str | None]:
    """The rows of a metric, the largest difference first; the metrics; the one that is shown. Of
    circuits, which have no metrics, the edges that either keeps. ValueError where the two tables do
    not match row for row."""
    import polars as pl

    if is_edge_table(before) or is_edge_table(after):
        edges = compare_edges(before, after)
        return FrameModel(edges, _edge_columns(edges)), [], None
    both = compare(before, after)
    names = metrics(both)
    metric = lead if lead in names else next(iter(names), None)
    rows = both.filter(pl.col("metric") == metric)
    ends = [rows[n].abs().max() for n in ("a", "b", "difference")]
    places = decimals([float(end) for end in ends if isinstance(end, float)])
    apart = (pl.col("low") * pl.col("high") > 0).fill_null(False)
    sign = pl.when("clearly").then(pl.lit("flipped")).when("flipped").then(pl.lit("flipped?"))
    rows = rows.with_columns(apart.alias("#apart"), sign.otherwise(pl.lit("")).alias("#sign"))
    return FrameModel(rows, _columns(rows, places), "difference"), names, metric


def _edge_columns(rows: pl.DataFrame) -> list[Column]:
    told = [name for name in rows.columns if name not in ("a", "b")]
    ends = [end for name in ("a", "b") for end in (rows[name].max(), rows[name].min())]
    places = decimals([end for end in ends if isinstance(end, float)])
    return [
        *(TextColumn.of(rows, name) for name in told),
        *(NumberColumn.of(rows, name, places=places) for name in ("a", "b")),
    ]


def _columns(rows: pl.DataFrame, places: int) -> list[Column]:
    keys = [name for name in rows.columns if name not in OWN and not name.startswith("#")]
    if not (rows["position"] != "all").any():
        keys.remove("position")
    return [
        *(TextColumn.of(rows, key, "at" if key == "position" else None) for key in keys),
        NumberColumn.of(rows, "a", places=places),
        NumberColumn.of(rows, "b", places=places),
        NumberColumn.of(rows, "difference", "b - a", places=places),
        IntervalColumn.of(rows, "low", "high", places),
        FlagColumn("≠0", "#apart", 2, "✱"),
        RanksColumn("rank_a", "rank_b", "rank_b", width=2 * len(str(len(rows))) + 5),
        TextColumn("sign", "#sign", 8),
        BarColumn.of(rows, "difference"),
    ]


def in_words(model: FrameModel, metric: str | None) -> str:
    """How far two runs agree on a metric; without one, on a circuit."""
    rows = model.frame
    if metric is None:
        return overlap(rows)
    n = int(rows["difference"].count())
    flips, clear = int(rows["flipped"].sum()), int(rows["clearly"].sum())
    parts = [
        f"{count(n, 'component')} in both",
        f"{int(rows['#apart'].sum()):,} differ clearly",
        f"{count(flips, 'sign flip')} ({clear:,} clear of 0)",
    ]
    rho = agreement(rows, metric)
    return ", ".join(parts) + ("" if rho is None else f", rank correlation {rho:+.3f}")
