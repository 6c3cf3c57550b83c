"""The table of a step that has not ended: the rows of its finished shards, in their places among
all those that its plan asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interp_dsl.language.diagnostics import InterpError
from interp_dsl.plan.algebra import Run
from interp_dsl.plan.expressions import Row
from interp_dsl.plan.tasks import BuildData, Plan, Sweep
from interp_dsl.plan.units import expand
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.schema import extra_columns, is_score_table, unit_columns

if TYPE_CHECKING:
    import polars as pl


class SoFar:
    """One step of a run as its shards finish. `table` has a row for each unit, metric and variant
    that the plan names; the numbers of those that were not measured yet are null. Where the plan
    can't tell which there will be, it has the measured ones alone."""

    def __init__(self, folder: RunFolder, plan: Plan | None, step: str) -> None:
        self._folder, self._plan, self._step = folder, plan, step
        self._frame: pl.DataFrame | None = None
        self._shards = 0

    def read(self) -> pl.DataFrame | None:
        """The table as it is now; None where no shard has finished since the last time."""
        shards = self._folder.finished_shards(self._step)
        if shards == self._shards:
            return None
        table = self._folder.read_so_far(self._step)
        if table is None:
            return None
        self._shards = shards
        return self._placed(table) if is_score_table(table) else table

    def _placed(self, table: pl.DataFrame) -> pl.DataFrame:
        """The rows in their places among those that are to come."""
        if self._frame is None:
            self._frame = self._all_rows(table)
        keys = ["unit", "position", *extra_columns(table), "metric"]
        numbers = table.select(*keys, *(n for n in table.columns if n not in self._frame.columns))
        whole = self._frame.join(
            numbers, on=keys, how="left", nulls_equal=True, maintain_order="left"
        )
        measured = len(whole) - int(whole["n"].null_count())
        return whole.select(table.columns) if measured == len(table) else table

    def _all_rows(self, table: pl.DataFrame) -> pl.DataFrame:
        """What a row says before its numbers, for every row that is to come."""
        import polars as pl

        names = [*_ABOUT, *extra_columns(table), "metric"]
        try:
            rows = self._expected()
        except (InterpError, OSError):  # the units are those that another step will have found
            rows = []
        schema = {name: table.schema[name] for name in names}
        return pl.DataFrame({n: [row.get(n) for row in rows] for n in names}, schema=schema)

    def _expected(self) -> list[dict[str, Any]]:
        task = self._task()
        if task is None or task.curves is not None:
            return []
        return [
            {**unit_columns(unit), **dict(variant.columns), "metric": metric.name}
            for variant in task.variants
            for unit in expand(task.intervention.units, self._rows, self._width(variant.into))
            for metric in task.metrics
        ]

    def _task(self) -> Sweep | None:
        tasks = self._plan.tasks if self._plan else ()
        return next((t for t in tasks if isinstance(t, Sweep) and t.step == self._step), None)

    def _rows(self, step: str) -> list[Row]:
        return list(self._folder.read_table(step).iter_rows(named=True))

    def _width(self, run: Run) -> int | None:
        """The tokens of a side's longest prompt, as far as the plan knows."""
        tasks = self._plan.tasks if self._plan else ()
        built = (t for t in tasks if isinstance(t, BuildData) and t.id == run.data)
        return next((t.size.width for t in built if t.size is not None), None)


_ABOUT = ("unit", "layer", "head", "index", "position")
