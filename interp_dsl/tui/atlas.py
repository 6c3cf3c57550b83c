"""Which heat maps a run has, and which of them is looked at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from interp_dsl.plan.names import edge_name
from interp_dsl.runs.circuit_rows import is_edge_table
from interp_dsl.runs.circuit_table import key_of
from interp_dsl.runs.grids import Grid, edge_grids, grids, value_columns
from interp_dsl.runs.rank import metrics
from interp_dsl.runs.schema import is_score_table
from interp_dsl.runs.so_far import SoFar
from interp_dsl.runs.text import decimals, exact, interval
from interp_dsl.tui.place import Place
from interp_dsl.tui.plans import read_plan
from interp_dsl.tui.stepped import Stepped, kept

if TYPE_CHECKING:
    import polars as pl


@dataclass
class Atlas(Stepped):
    """Heat maps; `step`, `metric`, `column` and `at` say which of them is looked at. Those of a
    running step have the cells of its finished shards."""

    metric: str = ""
    column: str = ""
    at: int = 0
    _grids: dict[tuple[str, str, str], list[Grid]] = field(default_factory=dict)
    _going: dict[str, SoFar] = field(default_factory=dict)

    def read(self) -> set[str]:
        """Also the rows that running steps have more than when this was last asked; the picture
        that is looked at stays."""
        title = self.grid.title if self.grid else ""
        found = super().read()
        if self.step in found:
            titles = [grid.title for grid in self.grids]
            self.choose(at=titles.index(title) if title in titles else 0)
        return found

    def new(self) -> Iterator[tuple[str, pl.DataFrame]]:
        for step, table in chain(super().new(), self._more()):
            self._grids = {key: held for key, held in self._grids.items() if key[0] != step}
            yield step, table

    def _more(self) -> Iterator[tuple[str, pl.DataFrame]]:
        """The steps of which more shards have finished, with their rows."""
        for step in self.folder.unfinished:
            if step not in self._going:
                self._going[step] = SoFar(self.folder, read_plan(self.folder), step)
            table = self._going[step].read()
            if table is not None:
                yield step, table

    def so_far(self, step: str) -> str:
        """How many of a running step's rows are there: ` so far, 12 of 48`; nothing of one that has
        ended."""
        if step in self._seen or step not in self.tables:
            return ""
        table = self.tables[step]
        there = len(table) - table["n"].null_count()
        return f" so far, {there:,} of {len(table):,}" if there < len(table) else " so far"

    def makes_pictures(self, step: str, table: pl.DataFrame) -> bool:
        if is_edge_table(table):
            return bool(value_columns(table))
        if not is_score_table(table):
            return False
        columns = value_columns(table)[:1]
        return any(self._pictures(step, table, m, c) for m in metrics(table) for c in columns)

    def _pictures(self, step: str, table: pl.DataFrame, metric: str, column: str) -> list[Grid]:
        """The pictures of a table, made once."""
        key = step, metric, column
        if key not in self._grids:
            of_edges = is_edge_table(table)
            found = edge_grids(table, column) if of_edges else grids(table, metric, column)
            self._grids[key] = found
        return self._grids[key]

    # ---- what can be chosen

    @property
    def metrics(self) -> list[str]:
        """The metrics of the step; one without a name for the edges of a search."""
        return metrics(self.table) if "metric" in self.table.columns else [""]

    @property
    def columns(self) -> list[str]:
        return value_columns(self.table)

    @property
    def grids(self) -> list[Grid]:
        """The pictures of the step, metric and column."""
        return self._pictures(self.step, self.table, self.metric, self.column)

    @property
    def grid(self) -> Grid | None:
        return self.grids[self.at] if self.step and self.at < len(self.grids) else None

    def choose(
        self,
        step: str | None = None,
        metric: str | None = None,
        column: str | None = None,
        at: int | None = None,
    ) -> None:
        """Choose another step, metric, column or picture; the rest stays as far as it can."""
        self.step = step or self.step
        self.metric = kept(metric or self.metric, self.metrics)
        self.column = kept(column or self.column, self.columns)
        there = len(self.grids)
        self.at = max(0, min(self.at if at is None else at % max(1, there), there - 1))

    # ---- places

    def find(self, place: Place) -> tuple[int, int] | None:
        """Choose the picture that holds a place, and say in which cell; None where none does."""
        if place.step not in self.tables:
            return None
        self.choose(step=place.step, metric=place.metric)
        if "unit" not in self.table.columns or place.unit is None:
            return None
        import polars as pl

        same = pl.col("unit") == place.unit
        if place.position is not None:
            same &= pl.col("position") == place.position
        held = self.table.with_row_index("row").filter(same & (pl.col("metric") == self.metric))
        for at, grid in enumerate(self.grids):
            cells = np.argwhere(np.isin(grid.rows, held["row"].to_numpy()))
            if len(cells):
                self.at = at
                return int(cells[0, 0]), int(cells[0, 1])
        return None

    def place(self, cell: tuple[int, int]) -> Place:
        """What stands in a cell, for the other views."""
        row = self.grid.at(cell) if self.grid else None
        if row is None or "unit" not in self.table.columns:
            return Place(self.step, self.metric or None)
        held = self.table.row(row, named=True)
        return Place(self.step, self.metric, held["unit"], held["position"])

    # ---- in words

    def name(self, row: int) -> str:
        """A table row as the language writes it, with its position."""
        held = self.table.row(row, named=True)
        if "unit" not in held:
            return edge_name(*(held[name] for name in key_of(self.table)))
        unit, position = str(held["unit"]), held["position"]
        return unit if position in (None, "all") else f"{unit} at {position}"

    def facts(self, row: int) -> list[tuple[str, str]]:
        """All numbers of a row by name, in words: the shown one first, then its interval and n."""
        held = self.table.row(row, named=True)
        if self.so_far(self.step) and held["n"] is None:
            return [("", "not measured yet")]
        places = max(3, decimals([held.get(self.column)]))
        said = [(self.column, exact(held[self.column]))]
        if held.get("skipped"):
            said.append(("", "not run: it cannot have an effect"))
        if held.get("low") is not None and self.column == _bounded(held):
            said.append(("95%", interval(held["low"], held["high"], places)))
        if held.get("n") is not None:
            said.append(("n", f"{held['n']:,}"))
        for name in ("normalized", "effect", "verified", "base", "value", "score", "margin"):
            if name != self.column and held.get(name) is not None:
                signed = name not in ("base", "value", "score")
                said.append((name, exact(held[name], signed)))
        if "kept" in held:
            said.append(("", "kept" if held["kept"] else "not kept"))
        return said


def _bounded(row: dict[str, object]) -> str:
    """The column that `low` and `high` are bounds of."""
    return "value" if row.get("effect") is None else "effect"
