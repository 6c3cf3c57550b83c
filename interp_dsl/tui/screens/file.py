"""A file before it is run: what the checker says, the text, the plan; `r` runs it."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from interp_dsl.language.render import render
from interp_dsl.runs.text import count
from interp_dsl.tui.checking import Looked, look, options_of
from interp_dsl.tui.files import free_path
from interp_dsl.tui.highlight import highlighted, planned
from interp_dsl.tui.screens.sides import Sides
from interp_dsl.tui.widgets.panes import Pane

EVERY = 1.0


class FileScreen(Sides):
    """The file is looked at anew whenever it changes on disk."""

    HELP: ClassVar[str] = (
        "The file, checked anew whenever you save it. Errors and warnings stand above; the plan is "
        "what a run would do, nothing has been executed. `r` runs the file in a process of its "
        "own: it goes on when you quit here."
    )
    DEFAULT_CSS = """
    FileScreen #found { height: auto; max-height: 45%; display: none; }
    FileScreen #found.-told { display: block; }
    FileScreen #found.-wrong { border: round $error; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("r", "run", "Run")]

    def __init__(self, path: Path, starts: bool = False) -> None:
        super().__init__()
        self.path = path
        self.looked: Looked | None = None
        self._starts = starts
        self._seen: float | None = None
        self._is_starting = False

    def body(self) -> ComposeResult:
        yield Pane(id="found")
        yield from super().body()

    def on_mount(self) -> None:
        self.text.show(self.path.name, Text("checking …"))
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
        if self.app.is_running:
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
        self.text.show(self.path.name, highlighted(found.text, tones))
        if found.plan is None:
            self.plan.show("plan", Text("no plan while there are errors", tones.muted))
        else:
            title = f"plan · {count(found.n_tasks, 'task')}"
            self.plan.show(title, planned(found.plan, tones), "r runs it")
        if self._starts and found.plan is not None:
            self._starts = False
            self.action_run()

    def action_run(self) -> None:
        """Run the file in a process of its own and watch it."""
        if self.looked is None or self.looked.plan is None:
            self.notify("the file has errors; nothing is run", severity="warning")
        elif not self._is_starting:
            self._is_starting = True
            self.plan.border_subtitle = "starting …"
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
