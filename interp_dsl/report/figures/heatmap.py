"""Heat maps of scores: rows are layers, columns heads or positions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from interp_dsl.report.figures import style
from interp_dsl.report.figures.style import element, words
from interp_dsl.runs.text import decimals, number

LEGEND = 150
MOST_WIDE, WIDEST, HIGHEST, LEAST = 760, 46, 30, 6
ANNOTATED = 200
"""Cells of a map that still has its numbers written in."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A score: `name` is its unit and position, `note` what else there is to say."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Grid:
    """Scores by row and column; a pair without a cell was not measured."""

    title: str
    quantity: str
    row_axis: str
    column_axis: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: Mapping[tuple[int, int], Cell]

    @cached_property
    def largest(self) -> float:
        """The largest |value|: the two ends of the scale."""
        return max((abs(c.value) for c in self.cells.values()), default=0.0)

    @cached_property
    def places(self) -> int:
        return decimals(c.value for c in self.cells.values())

    def said(self, cell: Cell) -> str:
        """The cell in words: its name, exact value and interval."""
        bounds = ""
        if cell.low is not None and cell.high is not None:
            low, high = number(cell.low, self.places), number(cell.high, self.places)
            bounds = f" [{low}, {high}]"
        return f"{cell.name}: {number(cell.value, self.places)}{bounds}{cell.note}"


def heatmap(grid: Grid) -> str:
    """The map as SVG, its scale centred at zero."""
    return _Map(grid).text()


class _Map:
    """One drawing: places and parts."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.wide = max(LEAST, min(WIDEST, MOST_WIDE / max(1, len(grid.columns))))
        self.high = max(LEAST, min(HIGHEST, self.wide * 0.72))
        longest = max(map(len, grid.columns), default=0)
        self.turned = longest * style.WIDE > self.wide * (5 if longest < 4 else 1)
        self.left = 26 + max(map(len, grid.rows), default=0) * style.WIDE + 8
        self.top = 38.0
        self.below = (longest * 5.2 + 10 if self.turned else 16) + 18
        self.bottom = self.top + len(grid.rows) * self.high
        self.right = self.left + len(grid.columns) * self.wide
        titled = len(grid.title) * 7.4 + 24
        self.width = max(self.right + 16, self.left + LEGEND + 190, titled)
        self.height = self.bottom + self.below + 44

    def text(self) -> str:
        parts = [
            words(12, 20, self.grid.title, 13, font_weight="600"),
            *self.frame(),
            *self.cells(),
            *self.axes(),
            *self.legend(),
        ]
        return style.picture(self.width, self.height, self.grid.title, parts)

    def frame(self) -> Iterator[str]:
        yield element(
            "rect",
            class_="frame",
            x=self.left - 0.5,
            y=self.top - 0.5,
            width=self.right - self.left + 1,
            height=self.bottom - self.top + 1,
            fill="none",
            stroke=style.RULE,
        )

    def cells(self) -> Iterator[str]:
        grid, largest = self.grid, self.grid.largest
        places = max(0, min(2, grid.places))
        written = [number(c.value, places) for c in grid.cells.values()]
        fits = max(map(len, written), default=0) * 5.4 <= self.wide - 4 and self.high >= 14
        annotated = fits and len(written) <= ANNOTATED
        for ((row, column), cell), said in zip(grid.cells.items(), written, strict=True):
            share = abs(cell.value) / largest if largest else 0.0
            x, y = self.left + column * self.wide, self.top + row * self.high
            kind, colour = style.sign(cell.value)
            yield element(
                "rect",
                style.tooltip(grid.said(cell)),
                class_=f"cell {kind}",
                x=x + 0.5,
                y=y + 0.5,
                width=self.wide - 1,
                height=self.high - 1,
                fill=colour,
                fill_opacity=share,
            )
            if annotated:
                place = (x + self.wide / 2, y + self.high / 2 + 3.5)
                fill = style.PAPER if share > 0.55 else style.INK
                yield words(*place, said, 9.5, fill, "middle", pointer_events="none")

    def axes(self) -> Iterator[str]:
        grid = self.grid
        every = max(1, round(11 / self.high + 0.49))
        for i, name in enumerate(grid.rows):
            if i % every == 0:
                y = self.top + (i + 0.5) * self.high + 3.5
                yield words(self.left - 7, y, name, 10.5, style.INK, "end")
        across = 11.0 if self.turned else max(map(len, grid.columns), default=1) * style.WIDE + 4
        every = max(1, round(across / self.wide + 0.49))
        for i, name in enumerate(grid.columns):
            if i % every == 0:
                x, y = self.left + (i + 0.5) * self.wide, self.bottom + 14
                turn = f"rotate(-55 {x:.1f} {y:.1f})" if self.turned else None
                anchor = "end" if self.turned else "middle"
                yield words(x, y, name, 10.5, style.INK, anchor, transform=turn)
        x, y = (self.left + self.right) / 2, self.bottom + self.below
        yield words(x, y, grid.column_axis, 11, style.FAINT, "middle")
        x, y = 16.0, (self.top + self.bottom) / 2
        turn = f"rotate(-90 {x:.1f} {y:.1f})"
        yield words(x, y, grid.row_axis, 11, style.FAINT, "middle", transform=turn)

    def legend(self) -> Iterator[str]:
        """The scale: from the most negative through zero to the most positive."""
        x, y, steps = self.left, self.bottom + self.below + 14, 24
        for i in range(steps):
            share = (i + 0.5) / steps * 2 - 1
            kind, colour = style.sign(share)
            yield element(
                "rect",
                class_=kind,
                x=x + i * LEGEND / steps,
                y=y,
                width=LEGEND / steps + 0.2,
                height=8,
                fill=colour,
                fill_opacity=abs(share),
            )
        largest = self.grid.largest
        ends = ((0.0, -largest, "start"), (0.5, 0.0, "middle"), (1.0, largest, "end"))
        for share, value, anchor in ends:
            said = number(value, self.grid.places).replace("-", "−") if value else "0"
            yield words(x + share * LEGEND, y + 20, said, 9.5, style.FAINT, anchor)
        yield words(x + LEGEND + 12, y + 8, self.grid.quantity, 11, style.FAINT)
