"""Pictures of planes through three activations, read from the table that `interpolate … using
slice=N` leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interp_dsl.runs.folder import RunFolder

if TYPE_CHECKING:
    import polars as pl

CORNERS = ("a", "b", "c")
APART = ("unit", "position", "side", "model", "under", "prompt")
"""What tells pictures of a table apart."""
Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Pixel:
    """A point of a plane: how alike the output there is to those of a, b and c; the likeliest."""

    alike: tuple[float, float, float]
    nearest: str
    token: str

    @property
    def colour(self) -> Colour:
        """Red as far as it is alike to a, green to b, blue to c."""
        red, green, blue = (round(255 * min(1.0, max(0.0, x))) for x in self.alike)
        return red, green, blue


@dataclass(frozen=True, slots=True)
class Picture:
    """Points by row from the bottom and column, `along` and `across` where they lie; `tokens` that
    are likeliest somewhere, the most frequent first; `corners` the pixels nearest to a, b and c."""

    title: str
    along: tuple[float, ...]
    across: tuple[float, ...]
    pixels: tuple[tuple[Pixel, ...], ...]

    @property
    def tokens(self) -> list[tuple[str, float]]:
        """Tokens that are likeliest somewhere, and on which share of the plane."""
        held = [pixel.token for row in self.pixels for pixel in row]
        counts = {token: held.count(token) for token in dict.fromkeys(held)}
        return sorted(((t, n / len(held)) for t, n in counts.items()), key=lambda one: -one[1])


def is_plane_table(table: pl.DataFrame) -> bool:
    return {"along", "across", "nearest", *CORNERS} <= set(table.columns)


def pictures(table: pl.DataFrame) -> list[Picture]:
    """The pictures of a table, in its order."""
    apart = [name for name in APART if name in table.columns]
    return [_picture(part, apart) for part in table.partition_by(apart, maintain_order=True)]


def _picture(rows: pl.DataFrame, apart: Sequence[str]) -> Picture:
    first = rows.row(0, named=True)
    place = (
        first["unit"] if first["position"] == "all" else f"{first['unit']} at {first['position']}"
    )
    others = [
        f"{n} {first[n]}" for n in apart if n not in ("unit", "position") and first[n] is not None
    ]
    along = tuple(sorted(set(rows["along"])))
    across = tuple(sorted(set(rows["across"])))
    held = {
        (t, s): Pixel((a, b, c), nearest, token)
        for s, t, a, b, c, nearest, token in rows.select(
            "along", "across", *CORNERS, "nearest", "token"
        ).iter_rows()
    }
    pixels = tuple(tuple(held[t, s] for s in along) for t in across)
    return Picture(", ".join([place, *others]), along, across, pixels)


def plane_tables(folder: RunFolder) -> list[str]:
    """The tables of a run that hold pictures."""
    return [step for step in folder.steps if step.endswith(".planes")]
