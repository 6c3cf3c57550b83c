"""Rank: the components of a step by the size of their effect, both signs kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual import on

from interp_dsl.runs.schema import is_training_table
from interp_dsl.runs.training import Curves, dictionary_name, training_curves
from interp_dsl.tui import pictures
from interp_dsl.tui.describe import described
from interp_dsl.tui.examples import examples_of, show_examples
from interp_dsl.tui.ranking import TABLE_ROW, ranking
from interp_dsl.tui.screens.tabled import TabledScreen
from interp_dsl.tui.screens.training import TrainingScreen
from interp_dsl.tui.widgets.detail import Detail
from interp_dsl.tui.widgets.frame import ROW, FrameModel
from interp_dsl.tui.widgets.table import Table


class RankScreen(TabledScreen):
    """The tables of the run's steps."""

    HELP: ClassVar[str] = (
        "The step's table, one row a component. The bar goes right for effects above 0 and left "
        "for those below; brackets hold the 95 % interval over examples. `/` takes units as the "
        "language writes them: `heads layers 7..11`, `at S2`, `L3H0 | mlps`, "
        "`heads where noising.gap.effect < 0`. Marked rows are copied as a `units` statement. "
        "Of a fit the table is its training; Enter shows it as curves."
    )

    def step_names(self) -> list[str]:
        return [*self.folder.steps, *self.folder.unfinished]

    def is_so_far(self, step: str) -> bool:
        return not self.folder.has_table(step)

    def load(self, step: str, metric: str | None) -> tuple[FrameModel, list[str], str | None]:
        table = None if self.folder.has_table(step) else self.folder.read_so_far(step)
        found = ranking(self.folder.read_table(step) if table is None else table, metric)
        return found.model, found.metrics, found.lead

    def show_detail(self, row: Mapping[str, object] | None) -> None:
        pane = self.query_one(Detail)
        if not self.has_class("-wide") or row is None or self.step is None:
            return
        if self._is_training:
            name, curves = self._training(row)
            height = max(1, pane.size.height)
            lines = pictures.training(curves, self.home.tones, pane.room, height)
            pane.show(f"{name} · over tokens", lines)
            return
        title, lines = described(row, self._examples(row), self.home.tones, pane.room)
        pane.show(title, lines)

    @property
    def _is_training(self) -> bool:
        """Whether the table is that of a fit."""
        return self.model is not None and is_training_table(self.model.frame.drop(ROW))

    def _training(self, row: Mapping[str, object]) -> tuple[str, Curves]:
        """The dictionary of a row of training, and its curves."""
        assert self.model is not None and self.step is not None
        label = row["dictionary"]
        name = dictionary_name(self.step, label if isinstance(label, str) else None)
        return name, training_curves(self.model.frame, self.step)[name]

    def _examples(self, row: Mapping[str, object]) -> list[float] | str:
        """The effects of single examples, or why there are none."""
        at = row.get(TABLE_ROW)
        if self.step is not None and self.is_so_far(self.step):
            return "its examples can be seen when the step has ended"
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
        if row is not None and self._is_training:
            assert self.model is not None and self.step is not None
            held = training_curves(self.model.frame, self.step)
            self.app.push_screen(TrainingScreen(held, self._training(row)[0]))
            return
        at = None if row is None else row.get(TABLE_ROW)
        if row is None or not isinstance(at, int) or self.step is None:
            return
        show_examples(self, self.step, at)
