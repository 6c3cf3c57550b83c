"""Compare: this run beside another, what changed most first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType

from interp_dsl.runs.find import list_runs
from interp_dsl.runs.folder import RunFolder
from interp_dsl.tui.comparing import compared, in_words
from interp_dsl.tui.describe import facts_text
from interp_dsl.tui.screens.pick import PickRun
from interp_dsl.tui.screens.tabled import TabledScreen
from interp_dsl.tui.widgets.choices import Group
from interp_dsl.tui.widgets.detail import Detail
from interp_dsl.tui.widgets.frame import FrameModel


class CompareScreen(TabledScreen):
    """`other` is the run before (a); the run that is open is b."""

    HELP: ClassVar[str] = (
        "Two runs of the same step: a is the other run, b the one that is open. ✱ marks "
        "differences whose interval leaves 0 out (the runs taken as independent; over the same "
        "examples the intervals are too wide). Ranks are by |effect|; a sign that flips is clear "
        "where both intervals leave 0 out too. Of a circuit, the edges that one run keeps alone "
        "come first. `o` chooses the other run."
    )
    BINDINGS: ClassVar[list[BindingType]] = [Binding("o", "other", "Other run")]

    def __init__(self, folder: RunFolder) -> None:
        super().__init__(folder)
        self.other = nearest(folder)

    def step_names(self) -> list[str]:
        theirs = self.other.steps if self.other else []
        shared = [step for step in self.folder.steps if step in theirs]
        return [step for step in shared if self._is_comparable(step)]

    def _is_comparable(self, step: str) -> bool:
        import polars as pl

        from interp_dsl.runs.circuit_table import EDGE_COLUMNS
        from interp_dsl.runs.schema import SCORE_COLUMNS

        held = pl.read_parquet_schema(self.folder.path / "tables" / f"{step}.parquet")
        return any(columns.keys() <= held.keys() for columns in (SCORE_COLUMNS, EDGE_COLUMNS))

    def load(self, step: str, metric: str | None) -> tuple[FrameModel, list[str], str | None]:
        assert self.other is not None
        return compared(self.other.read_table(step), self.folder.read_table(step), metric)

    def groups(self) -> Sequence[Group]:
        names = [self.other.path.name] if self.other else []
        return [*super().groups(), Group("a is", "o", names, 0 if names else None)]

    def show_detail(self, row: Mapping[str, object] | None) -> None:
        pane = self.query_one(Detail)
        if not self.has_class("-wide") or self.model is None:
            return
        tones = self.home.tones
        text = Text()
        text.append(in_words(self.model, self.metric).replace(", ", "\n") + "\n\n", tones.muted)
        if row is not None:
            text.append_text(facts_text(row, tones))
        pane.show("how they agree", text)

    def action_other(self) -> None:
        """Choose the run to compare with."""
        others = [f for f in list_runs(self.folder.path.parent) if f.path != self.folder.path]
        self.app.push_screen(PickRun("compare with", others), self._chosen_other)

    def _chosen_other(self, folder: RunFolder | None) -> None:
        if folder is not None:
            self.other = folder
            self.step = None
            self.on_run_events([])


def nearest(folder: RunFolder) -> RunFolder | None:
    """The run that a run is compared with at first: the newest of the same file that is older,
    else the newest other of the same file, else the newest other."""
    others = [f for f in list_runs(folder.path.parent) if f.path != folder.path]
    with_tables = [f for f in others if f.steps]
    same = [f for f in with_tables if f.stem == folder.stem]
    made = str(folder.manifest["created"])
    older = [f for f in same if str(f.manifest["created"]) < made]
    return next(iter([*older, *same, *with_tables]), None)
