"""Which curves a run has, and which of them are looked at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from interp_dsl.runs.bands import Bands, Place, bands, places, quantities
from interp_dsl.runs.curves import is_curve_table
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.rank import metrics
from interp_dsl.runs.schema import is_score_table

if TYPE_CHECKING:
    import polars as pl


@dataclass
class Curved:
    """The steps of a run that are curves; `step`, `metric`, `quantity` and `spot` say which picture
    it is. `read` takes in what the run has finished meanwhile."""

    folder: RunFolder
    tables: dict[str, pl.DataFrame] = field(default_factory=dict)
    step: str = ""
    metric: str = ""
    quantity: str = ""
    spot: Place | None = None
    _seen: set[str] = field(default_factory=set)

    def read(self) -> bool:
        """Read the tables that are new; whether one is of curves."""
        new = [step for step in self.folder.steps if step not in self._seen]
        self._seen |= {*new}
        before = len(self.tables)
        for step in new:
            table = self.folder.read_table(step)
            if is_score_table(table) and is_curve_table(table) and len(table):
                self.tables[step] = table
        if self.tables and not self.step:
            self.choose(step=next(iter(self.tables)))
        return len(self.tables) > before

    @property
    def steps(self) -> list[str]:
        return list(self.tables)

    @property
    def table(self) -> pl.DataFrame:
        return self.tables[self.step]

    @property
    def metrics(self) -> list[str]:
        return metrics(self.table)

    @property
    def quantities(self) -> list[str]:
        return quantities(self.table, self.metric)

    @property
    def spots(self) -> list[Place]:
        """Units and positions."""
        return places(self.table, self.metric)

    def choose(
        self,
        step: str | None = None,
        metric: str | None = None,
        quantity: str | None = None,
        spot: Place | None = None,
    ) -> None:
        """Choose another step, metric, quantity or place; the rest stays as far as it can."""
        self.step = step or self.step
        wanted, known = metric or self.metric, self.metrics
        self.metric = wanted if wanted in known else known[0]
        asked, there = spot or self.spot, self.spots
        self.spot = asked if asked in there else there[0]
        wanted, known = quantity or self.quantity, self.quantities
        self.quantity = wanted if wanted in known else known[0] if known else "effect"

    @property
    def bands(self) -> Bands:
        """The picture that is chosen."""
        assert self.spot is not None
        return bands(self.table, self.metric, self.spot, self.quantity)
