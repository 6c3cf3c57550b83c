"""What rank and compare have in common: steps and metrics to choose from, a table with a filter in
the language's own unit syntax, rows to mark and to copy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.timer import Timer

from interp_dsl.runs.events import Event
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.text import count
from interp_dsl.tui.base import NEWS, PATIENCE
from interp_dsl.tui.chosen import as_units
from interp_dsl.tui.place import Place
from interp_dsl.tui.safe import plain
from interp_dsl.tui.screens.filtered import FilteredScreen
from interp_dsl.tui.widgets.choices import Choices, Group
from interp_dsl.tui.widgets.detail import Detail
from interp_dsl.tui.widgets.filterbar import FilterBar
from interp_dsl.tui.widgets.frame import FrameModel
from interp_dsl.tui.widgets.table import Table

if TYPE_CHECKING:
    import polars as pl


class TabledScreen(FilteredScreen):
    """A derived screen gives `step_names`, `load` and `detail`."""

    DEFAULT_CSS = """
    TabledScreen Table { width: 1fr; }
    TabledScreen Detail { width: 46; display: none; }
    TabledScreen.-wide Detail { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", key_display="/", tooltip="by units: heads at S2"),
        Binding("y", "copy", "Copy units", tooltip="the marked rows as a `units` statement"),
        Binding("left_square_bracket", "step(-1)", "Step before", show=False, key_display="["),
        Binding("right_square_bracket", "step(1)", "Step after", show=False, key_display="]"),
        Binding("comma", "metric(-1)", "Metric before", show=False, key_display=","),
        Binding("full_stop", "metric(1)", "Metric after", show=False, key_display="."),
    ]

    def __init__(self, folder: RunFolder) -> None:
        super().__init__(folder)
        self.step: str | None = None
        self.metrics: list[str] = []
        self.metric: str | None = None
        self._steps: list[str] = []
        self._renewal: Timer | None = None

    # ---- what a derived screen gives

    def step_names(self) -> list[str]:
        """The steps that have a table for this screen."""
        raise NotImplementedError

    def load(self, step: str, metric: str | None) -> tuple[FrameModel, list[str], str | None]:
        """A step's rows, the metrics to choose from, and the one that leads."""
        raise NotImplementedError

    def is_so_far(self, step: str) -> bool:
        """Whether more rows of a step are to come."""
        return False

    def show_detail(self, row: dict[str, object] | None) -> None:
        """Show what is known of the row under the cursor."""

    def groups(self) -> Sequence[Group]:
        """The choices above the table."""
        at = self._steps.index(self.step) if self.step in self._steps else None
        lead = self.metrics.index(self.metric) if self.metric in self.metrics else None
        return [
            Group("step", "[ ]", self._steps, at),
            Group("metric", ", .", self.metrics, lead),
        ]

    # ---- the picture

    def body(self) -> ComposeResult:
        yield Choices()
        with Horizontal(id="main"):
            yield Table(markable=True, id="table")
            yield Detail()
        yield FilterBar()

    def on_run_events(self, events: list[Event]) -> None:
        if self.step is None:
            self._open_first()
            return
        if not events:
            self._follow_place()
        told = {str(e.get("step")) for e in events if e["event"] in NEWS}
        if not told - {"None"}:
            return
        self._steps = self.step_names()
        if self.step not in told:
            self.query_one(Choices).show(*self.groups())
        elif self._renewal is None:
            self._renewal = self.set_timer(PATIENCE, self.renew_step)

    def _open_first(self) -> None:
        self._steps = self.step_names()
        wanted = self.place.step if self.place.step in self._steps else None
        first = wanted or next(iter(self._steps), None)
        if first is None:
            self.table.border_title = "no step has ended yet"
            return
        self.open_step(first, self.place.metric)
        self.table.focus()

    def _follow_place(self) -> None:
        """Go where another view has gone."""
        place = self.place
        if place.step in self._steps and (place.step, place.metric) != (self.step, self.metric):
            self.open_step(str(place.step), place.metric)
        elif place.unit is not None:
            self._go_to(place)

    def open_step(self, step: str, metric: str | None = None, keep: bool = False) -> None:
        """Show a step's rows; the filter stays."""
        try:
            self.model, self.metrics, self.metric = self.load(step, metric)
        except (OSError, ValueError) as error:
            self.model, self.metrics, self.metric = None, [], None
            self.notify(str(error), title=step, severity="error", markup=False)
        self.step = step
        place = self.place
        self.filter(self.query_one(FilterBar).text)
        self.table.show(self.model, keep=keep)
        if not keep and place.unit is not None:
            self._go_to(place)
        self.query_one(Choices).show(*self.groups())
        self.show_title()

    def renew_step(self) -> None:
        """Read the step's rows anew: more shards have ended, or all. Order, cursor and marks stay
        as they are."""
        self._renewal = None
        if self.step is None:
            return
        marked = set(self._named(sorted(self.table.marked)))
        before = self.model
        self.open_step(self.step, self.metric, keep=True)
        if self.model is not None and before is not None:
            self.model.order_like(before)
            self.table.renew()
        if self.model is not None and marked:
            names = self._named(range(len(self.model.frame)))
            self.table.marked = {row for row, name in enumerate(names) if name in marked}
            self.show_title()
        self._go_to(self.place)

    def _named(self, rows: Iterable[int]) -> list[tuple[str, str]]:
        """Units and positions of rows of the model's frame."""
        if self.model is None or not self._has_units(self.model.frame):
            return []
        return self._units_of(self.model.frame[list(rows)])

    def _go_to(self, place: Place) -> None:
        if self.model is None or not {"unit", "position"} <= set(self.model.frame.columns):
            return
        import polars as pl

        wanted = pl.col("unit") == place.unit
        if place.position is not None:
            wanted &= pl.col("position") == place.position
        at = self.model.shown.select(wanted.arg_true().first()).item()
        if at is not None:
            self.table.go_to(int(at))

    def show_title(self) -> None:
        if self.model is None or self.step is None:
            self.table.border_title = "nothing to show"
            return
        so_far = " so far" if self.is_so_far(self.step) else ""
        title = " · ".join(filter(None, (self.step, self.metric)))
        self.table.border_title = plain(title + so_far)
        self.table.border_subtitle = self.counted("row")

    # ---- moving

    def show_row(self) -> None:
        row = self.row()
        if row is not None and "unit" in row and "position" in row:
            unit, position = str(row["unit"]), str(row["position"])
            self.place = Place(self.step, self.metric, unit, position)
        self.show_title()
        self.show_detail(row)

    @on(Choices.Picked)
    def _on_picked(self, event: Choices.Picked) -> None:
        if event.group == "step":
            self.open_step(self._steps[event.index])
        elif event.group == "metric":
            self.open_step(str(self.step), self.metrics[event.index])

    def action_step(self, by: int) -> None:
        if self.step in self._steps:
            at = self._steps.index(self.step)
            self.open_step(self._steps[(at + by) % len(self._steps)])

    def action_metric(self, by: int) -> None:
        if self.step is not None and self.metric in self.metrics:
            at = self.metrics.index(self.metric)
            self.open_step(self.step, self.metrics[(at + by) % len(self.metrics)])

    # ---- the filter

    def action_filter(self) -> None:
        super().action_filter()
        self.run_worker(_warm, thread=True, exit_on_error=False)

    def filter(self, text: str) -> None:
        bar = self.query_one(FilterBar)
        if self.model is None:
            return
        if not text:
            bar.say("units, as the language writes them; without `at` at every position")
            self.model.keep(None)
            return
        if not self._has_units(self.model.frame):
            bar.say("this table is not about units", is_wrong=True)
            return
        from interp_dsl.tui.filters import filtered

        found = filtered(self.model.frame, text, self.folder)
        if found.passing is None:
            bar.say(found.problem, is_wrong=True)
            return
        self.model.keep(found.passing)
        bar.say(f"{count(found.n_units, 'unit')} named, {count(len(self.model), 'row')} here")

    def _has_units(self, frame: pl.DataFrame) -> bool:
        columns = set(frame.columns)
        return "unit" in columns or {"source", "target", "channel"} <= columns

    # ---- marks

    def action_copy(self) -> None:
        """The marked rows, or the one under the cursor, as units of the language."""
        if self.model is None or not self._has_units(self.model.frame) or not len(self.model):
            self.notify("there are no units here to copy", severity="warning")
            return
        self.copy(as_units(self._chosen()))

    def _chosen(self) -> list[tuple[str, str]]:
        assert self.model is not None
        rows = self.model.shown
        marked = self.table.marked
        if marked:
            rows = rows.filter(rows["#row"].is_in(sorted(marked)))
        else:
            rows = rows.slice(self.table.cursor, 1)
        return self._units_of(rows)

    def _units_of(self, rows: pl.DataFrame) -> list[tuple[str, str]]:
        from interp_dsl.tui.filters import unit_names

        positions = rows["position"] if "position" in rows.columns else ["all"] * len(rows)
        return list(zip(unit_names(rows), positions, strict=True))

    def export(self) -> Path | None:
        """The rows in sight of the filter, in their order, as csv."""
        if self.model is None:
            return None
        own = [name for name in self.model.shown.columns if not name.startswith("#")]
        path = self.export_path(f"-{self.step}.csv")
        self.model.shown.select(own).write_csv(path)
        return path


def _warm() -> None:
    """Make the parser while the first letters are typed."""
    from interp_dsl.check.asides import check_aside
    from interp_dsl.language.source import Source

    check_aside(Source(""), "L0H0")
