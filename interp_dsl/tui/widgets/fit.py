"""How large the cells of a heat map are drawn, and what stands in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Inside = Literal["numbers", "signs", "half"]


@dataclass(frozen=True, slots=True)
class Fit:
    """A cell's width in characters and its height in lines. `half`: two rows share a line."""

    inside: Inside
    width: int
    height: int = 1

    def lines(self, n_rows: int) -> int:
        return (n_rows + 1) // 2 if self.inside == "half" else n_rows * self.height


WIDEST, NARROW = 14, 3


def fit(shape: tuple[int, int], room: tuple[int, int], number: int, packs: bool = True) -> Fit:
    """The largest cells with which a grid of `shape` (rows, columns) fits into `room` (lines,
    characters): with numbers of `number` characters in them, else with signs, else two rows a line
    as `▀` (where `packs`); of what doesn't fit at all the smallest, to be scrolled. `number` 0:
    cells are plain colour, as square as can be."""
    (n_rows, n_columns), (lines, characters) = shape, room
    if not n_rows or not n_columns:
        return Fit("signs", NARROW)
    width, height = characters // n_columns, lines // n_rows
    if number and width >= number + 1 and height >= 1:
        return Fit("numbers", min(width, max(number + 4, 8), WIDEST), 3 if height >= 3 else 1)
    least = 1 if number or not packs else 2
    if width >= least and height >= 1:
        tall = 2 if packs and width >= 4 and height >= 2 else 1
        return Fit("signs", min(width, 2 * tall if not number else NARROW + 2 * (tall - 1)), tall)
    if packs:
        return Fit("half", max(1, min(width, 2 if number else 1)))
    return Fit("signs", max(1, min(width, NARROW)))
