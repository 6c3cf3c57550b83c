"""A dialog with the values of single examples behind a row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from interp_dsl.plan.tasks import Plan
from interp_dsl.runs import example_prompts
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.prompts import pair_names, read_pairs
from interp_dsl.runs.text import count, printable
from interp_dsl.tui.base import WIDTHS
from interp_dsl.tui.safe import plain
from interp_dsl.tui.widgets.columns import BarColumn, Column, NumberColumn, TextColumn
from interp_dsl.tui.widgets.frame import FrameModel
from interp_dsl.tui.widgets.table import Table

if TYPE_CHECKING:
    import polars as pl


@dataclass
class Behind:
    """What a run has kept of the prompts behind the `n` examples of a step."""

    folder: RunFolder
    plan: Plan | None
    step: str
    metric: str
    n: int

    @cached_property
    def texts(self) -> dict[int, str]:
        """The prompts by the numbers of the examples."""
        return example_prompts.prompt_texts(self.folder, self.plan, self.step)

    @cached_property
    def pairs(self) -> int:
        """How many of the examples, from the first on, are kept with all that the view of prompts
        shows."""
        name = example_prompts.data_of(self.plan, self.step)
        return len(read_pairs(self.folder, name)) if name in pair_names(self.folder) else 0

    def words(self, example: int) -> tuple[str, str]:
        """A prompt, or in words that it is not kept; and the line that would keep more."""
        run = example_prompts.run_of(self.plan, self.step)
        if self.plan is None or run is None:
            return f"which prompts {self.step} measured is not known", ""
        if example in self.texts:
            return self.texts[example], "" if example < self.pairs else self.remedy(example)
        return "this prompt was not kept", example_prompts.recording(self.plan, run, self.n)

    def remedy(self, example: int) -> str:
        """The lines that would keep an example's tokens, attention and effects."""
        run = example_prompts.run_of(self.plan, self.step)
        if self.plan is None or run is None:
            return ""
        measure = example_prompts.measured(self.folder, self.metric)
        return example_prompts.keeping(self.plan, run, example, measure)


class ExamplesScreen(ModalScreen[int]):
    """The examples by the size of their effect; `s` sorts, Enter looks at the prompt, Escape
    closes."""

    HORIZONTAL_BREAKPOINTS = WIDTHS
    DEFAULT_CSS = """
    ExamplesScreen { align: center middle; }
    ExamplesScreen #box { width: 90%; max-width: 110; height: 85%; background: $background;
                          border: round $border; padding: 0 1;
                          border-title-color: $foreground; border-subtitle-color: $text-muted; }
    ExamplesScreen #row { width: 34; padding: 1 1 0 0; display: none; }
    ExamplesScreen.-wide #row { display: block; }
    ExamplesScreen Table { width: 1fr; height: 1fr; }
    ExamplesScreen #prompt { height: auto; max-height: 5; border-top: solid $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss", "Close"),
    ]

    def __init__(self, title: str, row: Text, frame: pl.DataFrame, behind: Behind) -> None:
        super().__init__()
        self._title, self._row, self._frame, self._behind = title, row, frame, behind

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            with Horizontal():
                yield Static(self._row, id="row")
                yield Table(id="examples")
            yield Static(id="prompt", markup=False)

    def on_mount(self) -> None:
        box = self.query_one("#box")
        box.border_title = plain(self._title)
        keys = "s sorts · enter looks at the prompt · esc closes"
        box.border_subtitle = plain(f"{count(len(self._frame), 'example')} · {keys}")
        table = self.query_one("#examples", Table)
        table.show(example_rows(self._frame))
        table.focus()
        self._show_prompt()

    @property
    def example(self) -> int | None:
        """The number of the example under the cursor."""
        table = self.query_one("#examples", Table)
        model = table.model
        if not isinstance(model, FrameModel) or not len(model):
            return None
        return int(model.shown["example"][table.cursor])

    @on(Table.Moved)
    def _show_prompt(self) -> None:
        example = self.example
        if example is None:
            return
        said, remedy = self._behind.words(example)
        text = Text(printable(said))
        if remedy:
            text.append(f"\nadd: {remedy}", "dim")
        self.query_one("#prompt", Static).update(text)

    @on(Table.Chosen)
    def _on_chosen(self) -> None:
        example = self.example
        if example is None:
            return
        if example < self._behind.pairs:
            self.dismiss(example)
            return
        remedy = self._behind.remedy(example)
        said = f"add to the experiment:\n{remedy}" if remedy else "its prompt is not known"
        self.notify(said, title="this example is not kept", severity="warning", markup=False)


def example_rows(frame: pl.DataFrame) -> FrameModel:
    """The examples of a row as a table's model, the largest first."""
    by = "value" if frame["effect"].is_null().all() else "effect"
    columns: list[Column] = [TextColumn.of(frame, "example")]
    for name in ("base", "value"):
        if not frame[name].is_null().all():
            columns.append(NumberColumn.of(frame, name, signed=False))
    if by == "effect":
        columns.append(NumberColumn.of(frame, "effect"))
    columns.append(BarColumn.of(frame, by))
    return FrameModel(frame, columns, by)
