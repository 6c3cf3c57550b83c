"""Rank: the components of a step by the size of their effect, both signs kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual import on

from interp_dsl.tui.describe import described
from interp_dsl.tui.examples import examples_of
from interp_dsl.tui.ranking import TABLE_ROW, ranking
from interp_dsl.tui.screens.examples import ExamplesScreen
from interp_dsl.tui.screens.tabled import TabledScreen
from interp_dsl.tui.widgets.detail import Detail
from interp_dsl.tui.widgets.frame import FrameModel
from interp_dsl.tui.widgets.table import Table


class RankScreen(TabledScreen):
    """The tables of the run's steps."""

    HELP: ClassVar[str] = (
        "The step's table, one row a component. The bar goes right for effects above 0 and left "
        "for those below; brackets hold the 95 % interval over examples. `/` takes units as the "
        "language writes them: `heads layers 7..11`, `at S2`, `L3H0 | mlps`, "
        "`heads where noising.gap.effect < 0`. Marked rows are copied as a `units` statement."
    )

    def step_names(self) -> list[str]:
        return self.folder.steps

    def load(self, step: str, metric: str | None) -> tuple[FrameModel, list[str], str | None]:
        found = ranking(self.folder.read_table(step), metric)
        return found.model, found.metrics, found.lead

    def show_detail(self, row: Mapping[str, object] | None) -> None:
        pane = self.query_one(Detail)
        if not self.has_class("-wide") or row is None or self.step is None:
            return
        title, lines = described(row, self._examples(row), self.home.tones, pane.room)
        pane.show(title, lines)

    def _examples(self, row: Mapping[str, object]) -> list[float] | str:
        """The effects of single examples, or why there are none."""
        at = row.get(TABLE_ROW)
        if not isinstance(at, int) or self.step is None:
            return "this table has no examples"
        found = examples_of(self.folder, self.step, at)
        if found.frame is None:
            return found.reason
        column = "value" if found.frame["effect"].is_null().all() else "effect"
        return [float(v) for v in found.frame[column] if v is not None]

    @on(Table.Chosen)
    def _on_chosen(self, event: Table.Chosen) -> None:
        row = self.row()
        at = None if row is None else row.get(TABLE_ROW)
        if row is None or not isinstance(at, int) or self.step is None:
            return
        found = examples_of(self.folder, self.step, at)
        if found.frame is None:
            self.notify(found.reason, severity="warning", markup=False)
            return
        title, lines = described(row, "", self.home.tones, 60)
        name = f"{self.step} · {title} · {self.metric}"
        self.app.push_screen(ExamplesScreen(name, lines, found.frame))
