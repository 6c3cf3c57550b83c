"""Which curves a run has, and which of them are looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from interp_dsl.runs.bands import Bands, Place, bands, places, quantities
from interp_dsl.runs.curves import is_curve_table
from interp_dsl.runs.rank import metrics
from interp_dsl.runs.schema import is_score_table
from interp_dsl.tui.stepped import Stepped, kept

if TYPE_CHECKING:
    import polars as pl


@dataclass
class Curved(Stepped):
    """Curves; `step`, `metric`, `quantity` and `spot` say which of them are looked at."""

    metric: str = ""
    quantity: str = ""
    spot: Place | None = None

    def makes_pictures(self, step: str, table: pl.DataFrame) -> bool:
        return is_score_table(table) and is_curve_table(table) and len(table) > 0

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
        self.metric = kept(metric or self.metric, self.metrics)
        self.spot = kept(spot or self.spot, self.spots)
        self.quantity = kept(quantity or self.quantity, self.quantities or ["effect"])

    @property
    def bands(self) -> Bands:
        """The picture that is chosen."""
        assert self.spot is not None
        return bands(self.table, self.metric, self.spot, self.quantity)
