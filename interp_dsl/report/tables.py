"""Tables for a page: the cells as the terminal prints them, what they sort by, signed bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interp_dsl.runs.rank import ranking_column
from interp_dsl.runs.schema import is_score_table
from interp_dsl.runs.select import columns_of
from interp_dsl.runs.text import MISSING

if TYPE_CHECKING:
    import polars as pl

MOST = 400
"""Rows of a table in a page."""

Number = float | int | None


@dataclass(frozen=True, slots=True)
class Bar:
    """A signed bar in a strip of 100: its zero, its start and width, and its interval's ends."""

    zero: float
    start: float
    width: float
    is_positive: bool
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Head:
    """A column's heading; `bars` follow the column that they draw."""

    name: str
    is_number: bool
    has_bars: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """`sort` is the number behind the text, `bar` its picture."""

    text: str
    is_number: bool
    sort: Number = None
    bar: Bar | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """The first rows of what a step has found; `left_out` are not among them."""

    caption: str
    heads: Sequence[Head]
    rows: Sequence[Sequence[Cell]]
    left_out: int = 0


def table(rows: pl.DataFrame, caption: str, most: int = MOST) -> Table:
    """Ranked rows as a page shows them, the first `most`."""
    shown = rows.head(most)
    drawn = _drawn(shown)
    heads: list[Head] = []
    columns: list[list[Cell]] = []
    for column in columns_of(shown):
        if _says_nothing(column.name, shown):
            continue
        numbers = _numbers(shown, column.name)
        bars = _bars(shown, drawn) if drawn and _source(column.name) == drawn else None
        heads.append(Head(column.name, column.right, bars is not None))
        columns.append(
            [
                Cell(text, column.right, numbers[i] if numbers else None, bars[i] if bars else None)
                for i, text in enumerate(column.cells)
            ]
        )
    held = [list(row) for row in zip(*columns, strict=True)]
    return Table(caption, heads, held, len(rows) - len(shown))


def values(rows: pl.DataFrame, caption: str) -> Table:
    """Rows of several metrics as they stand, the decimals of every row its own."""
    shown = [table(rows[i : i + 1], "") for i in range(len(rows))]
    heads = list(dict.fromkeys(head for one in shown for head in one.heads))
    held = []
    for one in shown:
        cells = dict(zip(one.heads, one.rows[0], strict=True))
        held.append([cells.get(head, Cell(MISSING, head.is_number)) for head in heads])
    return Table(caption, heads, held)


def _says_nothing(heading: str, rows: pl.DataFrame) -> bool:
    """Whether a column of a score table is empty, or the same in every row and told elsewhere: the
    metric of a table of one, the position where all positions are meant."""
    if not is_score_table(rows):
        return False
    if heading == "95% interval":
        return bool(rows["low"].is_null().all()) and not rows["skipped"].any()
    if heading == "position":
        return bool((rows["position"] == "all").all())
    return heading == "metric" and len(rows) > 1 and rows["metric"].n_unique() == 1


def _source(heading: str) -> str:
    """The column of the table that a heading stands for."""
    return {"estimate": "effect", "95% interval": "low"}.get(heading, heading)


def _numbers(rows: pl.DataFrame, heading: str) -> list[Number] | None:
    """What a column sorts by, None where it sorts as text."""
    name = _source(heading)
    if name not in rows.columns or not rows.schema[name].is_numeric():
        return None
    return [None if v is None or v != v else v for v in rows[name]]


def _drawn(rows: pl.DataFrame) -> str | None:
    """The column that bars are drawn of: effects or values of a single metric, strengths of
    edges."""
    from interp_dsl.runs.circuit_rows import is_edge_table, strength

    if is_edge_table(rows):
        return strength(rows)
    if is_score_table(rows) and len(rows) > 1 and rows["metric"].n_unique() == 1:
        return ranking_column(rows)
    return None


def _bars(rows: pl.DataFrame, name: str) -> list[Bar | None]:
    has_bounds = "low" in rows.columns
    values = _numbers(rows, name) or []
    lows = (_numbers(rows, "low") or []) if has_bounds else [None] * len(rows)
    highs = (_numbers(rows, "high") or []) if has_bounds else [None] * len(rows)
    known = [v for v in (*values, *lows, *highs) if v is not None]
    least, most = min([0.0, *known]), max([0.0, *known])
    scale = 100 / (most - least) if most > least else 0.0

    def at(value: Number) -> float | None:
        return None if value is None else round((value - least) * scale, 2)

    found: list[Bar | None] = []
    for value, low, high in zip(values, lows, highs, strict=True):
        if value is None:
            found.append(None)
            continue
        zero, end = at(0.0) or 0.0, at(value) or 0.0
        start, width = min(zero, end), round(abs(end - zero), 2)
        found.append(Bar(zero, start, width, value >= 0, at(low), at(high)))
    return found
