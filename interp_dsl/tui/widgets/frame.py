"""A polars frame as the rows of a table: sorted, filtered, each row with a number that stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from interp_dsl.tui.tones import Tones
from interp_dsl.tui.widgets.cells import Cell
from interp_dsl.tui.widgets.columns import Column

if TYPE_CHECKING:
    import polars as pl

ROW = "#row"
Order = Literal["size", "down", "up"]
ARROWS: dict[Order, str] = {"size": " ▾", "down": " ↓", "up": " ↑"}
"""`size`: the largest |number| first."""


class FrameModel:
    """`frame` has all rows, `shown` those that pass the filter, in order."""

    def __init__(
        self, frame: pl.DataFrame, columns: Sequence[Column], by: str | None = None
    ) -> None:
        self.frame = frame.with_row_index(ROW)
        self.headings = list(columns)
        self.order: tuple[str, Order] | None = None
        self._passing: pl.Series | None = None
        self.shown = self.frame
        if by is not None:
            self.order = (by, "size")
            self._arrange()

    def __len__(self) -> int:
        return len(self.shown)

    def cells(self, start: int, stop: int, tones: Tones) -> list[list[Cell]]:
        rows = self.shown.slice(start, stop - start)
        columns = [column.cells(rows, tones) for column in self.headings]
        return [list(row) for row in zip(*columns, strict=True)]

    def key(self, row: int) -> int:
        return int(self.shown[ROW][row])

    def row_of(self, key: int) -> int | None:
        found = self.shown[ROW].index_of(key)
        return None if found is None else int(found)

    def arrow(self, column: int) -> str:
        if self.order is None or self.headings[column].by != self.order[0]:
            return ""
        if column and any(h.by == self.order[0] for h in self.headings[:column]):
            return ""
        return ARROWS[self.order[1]]

    def sort(self, column: int) -> None:
        """By a column; again and again: by size, down, up, as far as these differ."""
        heading = self.headings[column]
        orders: list[Order] = ["size", "down", "up"] if heading.signed else ["down", "up"]
        if not self.frame.schema[heading.by].is_numeric():
            orders = ["up", "down"]
        now = self.order[1] if self.order and self.order[0] == heading.by else None
        at = orders.index(now) if now in orders else -1
        self.order = (heading.by, orders[(at + 1) % len(orders)])
        self._arrange()

    def keep(self, passing: pl.Series | None) -> None:
        """Show the rows for which a series of truth values, one a row of `frame`, holds; None: all
        rows."""
        if passing is not None or self._passing is not None:
            self._passing = passing
            self._arrange()

    def _arrange(self) -> None:
        import polars as pl

        rows = self.frame if self._passing is None else self.frame.filter(self._passing)
        if self.order is not None:
            by, order = self.order
            key = pl.col(by)
            if rows.schema[by].is_float():
                key = key.fill_nan(None)
            key = key.abs() if order == "size" and rows.schema[by].is_numeric() else key
            rows = rows.sort(key, descending=order != "up", nulls_last=True, maintain_order=True)
        self.shown = rows
