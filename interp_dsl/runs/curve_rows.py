"""How a person sees a table of curves: what each curve comes to, then its points."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from interp_dsl.runs.curves import OF_WHOLE, POINT
from interp_dsl.runs.schema import extra_columns
from interp_dsl.runs.text import MISSING, Column, count, decimals, number, printable

if TYPE_CHECKING:
    import polars as pl

_ENTRIES = ("effect", "median", "q25", "q75", "ratio", "relative")


def curve_rows(table: pl.DataFrame, metric: str) -> tuple[pl.DataFrame, str]:
    """The rows of a metric that are of all directions together, those about whole curves first, and
    in words what they are."""
    import polars as pl

    rows = table.filter(pl.col("metric") == metric, pl.col("number").is_null())
    whole, points = (rows.filter(keep) for keep in (_is_whole(), ~_is_whole()))
    others = [m for m in table["metric"].unique(maintain_order=True) if m != metric]
    also = f" (also: {', '.join(map(printable, others))}; choose with --metric)" if others else ""
    curves = points.select("unit", "position", *_apart(points)).n_unique()
    return pl.concat([whole, points]), f"{printable(metric)}, {count(curves, 'curve')}{also}"


def curve_columns(rows: pl.DataFrame) -> list[Column]:
    """The columns that any of the rows has something in."""
    columns = [_words(name, rows[name]) for name in ("unit", "position", *_apart(rows))]
    is_share = "slope" in rows.columns
    scales = ["" if is_share else scale for scale in rows["scale"]]
    lengths = [_length(*row) for row in zip(rows["length"], scales, strict=True)]
    columns.append(Column("length", lengths, right=True))
    places = decimals(rows["effect"])
    for name in (*_ENTRIES, *OF_WHOLE):
        if name not in rows.columns or rows[name].is_null().all():
            continue
        if name == "dropped":
            columns.append(_words(name, rows[name], right=True))
            continue
        mine = places if name in _ENTRIES[:4] else decimals(rows[name])
        signed = name == "effect"
        columns.append(Column(name, [number(v, mine, signed) for v in rows[name]], right=True))
        if name in ("effect", "reached", "slope"):
            bounds = rows.select("low", "high", name).iter_rows()
            intervals = [_interval(low, high, value, mine, signed) for low, high, value in bounds]
            columns.append(Column("95% interval", intervals, right=True))
    columns.append(_words("n", rows["n"], right=True))
    return columns


def _is_whole() -> pl.Expr:
    import polars as pl

    return pl.col("length").is_null()


def _apart(rows: pl.DataFrame) -> list[str]:
    """The columns that tell curves of a metric apart, beside the place."""
    return [name for name in extra_columns(rows) if name not in POINT]


def _length(value: float | None, scale: str) -> str:
    if value is None:
        return MISSING
    return {"norm": f"{100 * value:g}%", "own": f"{value:g}x"}.get(scale, f"{value:g}")


def _interval(
    low: float | None, high: float | None, value: float | None, places: int, signed: bool
) -> str:
    if value is None or (low is None and high is None):
        return MISSING
    return f"[{number(low, places, signed)}, {number(high, places, signed)}]"


def _words(name: str, values: Iterable[object], right: bool = False) -> Column:
    return Column(name, [MISSING if v is None else str(v) for v in values], right=right)
