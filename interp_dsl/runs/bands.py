"""Tables of curves as lines with bands: what screens, pages and figures draw of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interp_dsl.runs.curves import POINT
from interp_dsl.runs.cuts import Point
from interp_dsl.runs.schema import extra_columns

if TYPE_CHECKING:
    import polars as pl

QUANTITIES: dict[str, tuple[str, str, str] | None] = {
    "effect": ("low", "high", "95 % interval"),
    "median": ("q25", "q75", "quartiles"),
    "relative": None,
    "ratio": ("ratio_low", "ratio_high", "95 % interval"),
}
"""What can stand over a length: the columns of its band, and what the band is."""
AXES = {
    "l2": "length (L2)",
    "norm": "length (% of the median norm)",
    "own": "length (of the direction's own)",
}

Row = Mapping[str, Any]
Place = tuple[str, str]
"""Unit and position."""


@dataclass(frozen=True, slots=True)
class Band:
    """A line and what lies round it: `points` by x. Of a curve, `rows` has the table's row of every
    point and `whole` those about the curve as a whole."""

    name: str
    points: tuple[Point, ...]
    rows: tuple[Row, ...] = ()
    whole: tuple[Row, ...] = ()

    def at(self, x: float) -> int:
        """The number of the point that is nearest to an x."""
        return min(range(len(self.points)), key=lambda i: abs(self.points[i].x - x))


@dataclass(frozen=True, slots=True)
class Bands:
    """Lines over one axis; `band` says what lies round them; `log`: y is spread over powers of
    ten."""

    title: str
    x: str
    y: str
    lines: tuple[Band, ...]
    band: str = ""
    log: bool = False

    @property
    def xs(self) -> list[float]:
        """Every x at which a line has a point."""
        return sorted({point.x for line in self.lines for point in line.points})


def places(table: pl.DataFrame, metric: str) -> list[Place]:
    """Where the curves of a metric were taken."""
    rows = together(table, metric).select("unit", "position").unique(maintain_order=True)
    return [(str(unit), str(position)) for unit, position in rows.iter_rows()]


def quantities(table: pl.DataFrame, metric: str) -> list[str]:
    """What the curves of a metric can show."""
    rows = together(table, metric)
    return [q for q in QUANTITIES if q in rows.columns and not rows[q].is_null().all()]


def bands(table: pl.DataFrame, metric: str, place: Place, quantity: str = "effect") -> Bands:
    """The curves of a metric at a place, one a direction, all its numbers together."""
    import polars as pl

    here = (pl.col("unit") == place[0]) & (pl.col("position") == place[1])
    rows = together(table, metric).filter(here)
    tell = apart(rows)
    lines = []
    for part in rows.partition_by(tell, maintain_order=True) if tell else [rows]:
        points = part.filter(pl.col(quantity).is_not_null() & pl.col("length").is_not_null())
        if not len(points):
            continue
        held = tuple(points.sort("length", maintain_order=True).iter_rows(named=True))
        whole = tuple(part.filter(pl.col("length").is_null()).iter_rows(named=True))
        name = ", ".join(str(part[column][0]) for column in tell if part[column][0] is not None)
        lines.append(Band(name, tuple(_point(row, quantity) for row in held), held, whole))
    found = QUANTITIES[quantity]
    return Bands(named(place), _axis(rows), quantity, tuple(lines), found[2] if found else "")


def together(table: pl.DataFrame, metric: str) -> pl.DataFrame:
    """The rows of a metric that are of all directions of a kind together."""
    import polars as pl

    return table.filter(pl.col("metric") == metric, pl.col("number").is_null())


def apart(rows: pl.DataFrame) -> list[str]:
    """The columns that tell curves of a metric apart, beside the place."""
    return [name for name in extra_columns(rows) if name not in POINT]


def named(place: Place) -> str:
    """A place as the language writes it."""
    unit, position = place
    return unit if position == "all" else f"{unit} at {position}"


def length(value: float | None, scale: str) -> float | None:
    """A length as it is counted on an axis: shares of a norm in percent."""
    return 100 * value if value is not None and scale == "norm" else value


def _point(row: Row, quantity: str) -> Point:
    found = QUANTITIES[quantity]
    low, high = (row[found[0]], row[found[1]]) if found else (None, None)
    x = length(float(row["length"]), row["scale"])
    assert x is not None
    return Point(x, row[quantity], low, high)


def _axis(rows: pl.DataFrame) -> str:
    if "slope" in rows.columns:
        return "share of the way"
    return AXES.get(rows["scale"][0] if len(rows) else "l2", "length")
