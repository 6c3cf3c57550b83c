"""A file before it is run: what the checker says, the text, the plan; `r` runs it."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal

from interp_dsl.language.render import render
from interp_dsl.runs.text import count
from interp_dsl.tui.base import WIDTHS, InterpScreen
from interp_dsl.tui.checking import Looked, look, options_of
from interp_dsl.tui.files import free_path
from interp_dsl.tui.highlight import highlighted, planned
from interp_dsl.tui.widgets.choices import Choices, Group
from interp_dsl.tui.widgets.panes import Pane

SIDES = ("text", "plan")
EVERY = 1.0


class FileScreen(InterpScreen):
    """The file is looked at anew whenever it changes on disk."""

    HELP: ClassVar[str] = (
        "The file, checked anew whenever you save it. Errors and warnings stand above; the plan is "
        "what a run would do, nothing has been executed. `r` runs the file in a process of its "
        "own: it goes on when you quit here."
    )
    HORIZONTAL_BREAKPOINTS = WIDTHS
    DEFAULT_CSS = """
    FileScreen #found { height: auto; max-height: 45%; display: none; }
    FileScreen #found.-told { display: block; }
    FileScreen #found.-wrong { border: round $error; }
    FileScreen #sides Pane { width: 1fr; height: 1fr; display: none; }
    FileScreen.-text #text, FileScreen.-plan #plan { display: block; }
    FileScreen.-wide #sides Pane { display: block; }
    FileScreen.-wide Choices { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "run", "Run"),
        Binding("t", "side", "Text or plan", show=False),
    ]

    def __init__(self, path: Path, starts: bool = False) -> None:
        super().__init__()
        self.path = path
        self.looked: Looked | None = None
        self._starts = starts
        self._side = 0
        self._seen: float | None = None
        self._is_starting = False

    def body(self) -> ComposeResult:
        yield Pane(id="found")
        yield Choices()
        with Horizontal(id="sides"):
            yield Pane(id="text")
            yield Pane(id="plan")

    def on_mount(self) -> None:
        self._show_side()
        self.query_one("#text", Pane).show(self.path.name, Text("checking …"))
        self.set_interval(EVERY, self._watch_file)
        self._watch_file()

    def _watch_file(self) -> None:
        try:
            changed = self.path.stat().st_mtime
        except OSError:
            changed = -1.0
        if changed != self._seen and self.is_current:
            self._seen = changed
            self.run_worker(self._look, thread=True, exclusive=True)

    def _look(self) -> None:
        found = look(self.path, options_of(self.home.command))
        self.app.call_from_thread(self._show, found)

    def _show(self, found: Looked) -> None:
        self.looked = found
        tones = self.home.tones
        pane = self.query_one("#found", Pane)
        pane.set_class(bool(found.diagnostics), "-told")
        pane.set_class(bool(found.n_errors), "-wrong")
        others = len(found.diagnostics) - found.n_errors
        words = [count(found.n_errors, "error")] if found.n_errors else []
        words += [count(others, "warning")] if others else []
        pane.show(f"✗ {', '.join(words)}" if found.n_errors else ", ".join(words), _boxes(found))
        text = self.query_one("#text", Pane)
        text.show(self.path.name, highlighted(found.text, tones))
        plan = self.query_one("#plan", Pane)
        if found.plan is None:
            plan.show("plan", Text("no plan while there are errors", tones.muted))
        else:
            title = f"plan · {count(found.n_tasks, 'task')}"
            plan.show(title, planned(found.plan, tones), "r runs it")
        if self._starts and found.plan is not None:
            self._starts = False
            self.action_run()

    def _show_side(self) -> None:
        for i, name in enumerate(SIDES):
            self.set_class(i == self._side, f"-{name}")
        self.query_one(Choices).show(Group("show", "t", SIDES, self._side))
        self.query_one(f"#{SIDES[self._side]}", Pane).focus()

    def action_side(self) -> None:
        self._side = 1 - self._side
        self._show_side()

    @on(Choices.Picked)
    def _on_picked(self, event: Choices.Picked) -> None:
        self._side = event.index
        self._show_side()

    def action_run(self) -> None:
        """Run the file in a process of its own and watch it."""
        if self.looked is None or self.looked.plan is None:
            self.notify("the file has errors; nothing is run", severity="warning")
        elif not self._is_starting:
            self._is_starting = True
            self.query_one("#plan", Pane).border_subtitle = "starting …"
            self.home.start_run(self.path)

    def not_started(self, said: str) -> None:
        """The process ended before it had a run folder."""
        self._is_starting = False
        pane = self.query_one("#found", Pane)
        pane.add_class("-told", "-wrong")
        pane.show("✗ it did not start", Text(said.strip() or "it said nothing"))

    def export(self) -> Path | None:
        """The plan as text."""
        if self.looked is None or self.looked.plan is None:
            return None
        path = free_path(Path.cwd(), f"{self.path.stem}-plan", ".txt")
        path.write_text(self.looked.plan + "\n", encoding="utf-8")
        return path


def _boxes(found: Looked) -> Text:
    return Text.from_ansi(render(found.diagnostics, color=True))
