"""How a person sees a table of curves: what each curve comes to, then its points."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from interp_dsl.runs.bands import QUANTITIES, apart, length, named, together
from interp_dsl.runs.text import MISSING, Column, count, decimals, number, printable

if TYPE_CHECKING:
    import polars as pl

_SHARES = ("slope", "location", "width", "plateau", "jumps", "flips")
"""What two decimals tell."""
_BOUNDS = {
    "effect": ("low", "high", "95% interval"),
    "median": ("q25", "q75", "quartiles"),
    "reached": ("low", "high", "95% interval"),
    "slope": ("low", "high", "95% interval"),
    "slope_quartiles": ("slope_q25", "slope_q75", "quartiles"),
}


def curve_rows(table: pl.DataFrame, metric: str) -> tuple[pl.DataFrame, str]:
    """The rows of a metric that are of all directions together, those about whole curves first, and
    in words what they are."""
    import polars as pl

    whole, points = parts(together(table, metric))
    others = [m for m in table["metric"].unique(maintain_order=True) if m != metric]
    also = f" (also: {', '.join(map(printable, others))}; choose with --metric)" if others else ""
    curves = points.select("unit", "position", *apart(points)).n_unique()
    return pl.concat([whole, points]), f"{printable(metric)}, {count(curves, 'curve')}{also}"


def parts(rows: pl.DataFrame) -> list[pl.DataFrame]:
    """The rows about whole curves, and those of points."""
    import polars as pl

    is_whole = pl.col("length").is_null()
    return [rows.filter(is_whole), rows.filter(~is_whole)]


def alike(rows: pl.DataFrame) -> str:
    """What all rows have in common, in words: `L0.resid_post at last, line, n = 64`."""
    held = {c: str(rows[c][0]) for c in _about(rows) if _is_same(rows, c)}
    unit, position = held.pop("unit", ""), held.pop("position", "all")
    n = f"n = {held.pop('n')}" if "n" in held else ""
    place = named((unit, position)).lstrip()
    return printable(", ".join(filter(None, (place, *held.values(), n))))


def curve_columns(rows: pl.DataFrame, among: pl.DataFrame | None = None) -> list[Column]:
    """The columns that any of the rows has something in. `among` are rows that these are the first
    of: what all of them have in common (`alike`) is left out, and decimals are those of all."""
    every = rows if among is None else among
    about = [name for name in _about(rows) if among is None or not _is_same(every, name)]
    columns = [_words(name, rows[name]) for name in about if name != "n"]
    scales = [""] * len(rows) if "slope" in rows.columns else list(rows["scale"])
    if not rows["length"].is_null().all():
        columns.append(Column("length", _lengths(rows["length"], scales), right=True))
    for name in ("effect", "median", "ratio", "relative"):
        columns += _measured(rows, every, name)
    if _has(every, "threshold"):
        columns.append(_words("threshold", rows["threshold"], right=True))
    if _has(every, "reached"):
        columns.append(Column("reached", _lengths(rows["reached"], scales, 1), right=True))
        low, high = (_lengths(rows[bound], scales, 1) for bound in ("low", "high"))
        columns.append(Column("95% interval", _brackets(low, high, rows["reached"]), right=True))
    for name in ("slope", *_SHARES[1:]):
        columns += _measured(rows, every, name)
        columns += _quartiles(rows, every) if name == "slope" else []
    if _has(every, "dropped") and (among is None or every["dropped"].max()):
        columns.append(_words("dropped", rows["dropped"], right=True))
    return [*columns, *(_words(name, rows[name], right=True) for name in about if name == "n")]


def _about(rows: pl.DataFrame) -> list[str]:
    """The columns that say what a row is of."""
    return ["unit", "position", *apart(rows), "n"]


def _is_same(rows: pl.DataFrame, name: str) -> bool:
    return len(rows) > 0 and rows[name].n_unique() == 1 and rows[name][0] is not None


def _has(rows: pl.DataFrame, name: str) -> bool:
    return name in rows.columns and not rows[name].is_null().all()


def _places(rows: pl.DataFrame, name: str) -> int:
    """Decimals of a column: quartiles and bounds are as exact as what they are of."""
    if name in ("effect", "median"):
        return decimals(rows["effect"])
    return 2 if name in _SHARES else 3


def _measured(rows: pl.DataFrame, every: pl.DataFrame, name: str) -> list[Column]:
    """A number, and its bounds where it has some."""
    if not _has(every, name):
        return []
    places, signed = _places(every, name), name == "effect"
    held = [Column(name, [number(v, places, signed) for v in rows[name]], right=True)]
    if name in _BOUNDS:
        low, high, title = _BOUNDS[name]
        lows, highs = ([number(v, places, signed) for v in rows[end]] for end in (low, high))
        held.append(Column(title, _brackets(lows, highs, rows[name]), right=True))
    return held


def _quartiles(rows: pl.DataFrame, every: pl.DataFrame) -> list[Column]:
    """Of the slopes over examples."""
    if not _has(every, "slope_q25"):
        return []
    low, high, title = _BOUNDS["slope_quartiles"]
    lows, highs = ([number(v, 2, signed=False) for v in rows[end]] for end in (low, high))
    return [Column(title, _brackets(lows, highs, rows["slope"]), right=True)]


def _brackets(
    lows: Sequence[str], highs: Sequence[str], values: Iterable[float | None]
) -> list[str]:
    held = zip(lows, highs, values, strict=True)
    return [
        MISSING if value is None or low == high == MISSING else f"[{low}, {high}]"
        for low, high, value in held
    ]


def _lengths(
    values: Iterable[float | None], scales: Iterable[str], places: int | None = None
) -> list[str]:
    """Lengths as they are written; `places` are decimals of a percent where they were found."""
    return [_length(v, s, places) for v, s in zip(values, scales, strict=True)]


def _length(value: float | None, scale: str, places: int | None) -> str:
    shown = length(value, scale)
    if shown is None:
        return MISSING
    digits = f"{shown:g}" if places is None else f"{shown:.{places + 2 * (scale != 'norm')}f}"
    return digits + {"norm": "%", "own": "x"}.get(scale, "")


def _words(name: str, values: Iterable[object], right: bool = False) -> Column:
    said = [f"{v:g}" if isinstance(v, float) else MISSING if v is None else str(v) for v in values]
    return Column(name, said, right=right)


def point_words(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The numbers of a point of a curve by name: its length, then each with its bounds."""
    scale = "" if "slope" in row else row["scale"]
    said = [("at", _length(row["length"], scale, None))]
    for name, bounds in QUANTITIES.items():
        value = row.get(name)
        if value is None:
            continue
        places = max(3, decimals([value]))
        signed = name == "effect"
        found = [row.get(end) for end in bounds[:2]] if bounds else []
        ends = ", ".join(number(v, places, signed) for v in found if v is not None)
        said.append((name, number(value, places, signed) + (f" [{ends}]" if ends else "")))
    return [*said, ("n", f"{row['n']:,}")] if row.get("n") is not None else said
