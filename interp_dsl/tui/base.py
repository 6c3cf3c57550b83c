"""What every view of a run is built on: the head, the keys that work everywhere, how news comes.

A view's screen derives from `RunScreen` and gives

- `body()`: its widgets, between head and footer
- `on_run_events(events)`: called while the screen is shown whenever the run has moved on, and once
  with no events when the screen is shown (again), the first time when its frame has gone out; what
  the run is at stands in `self.live`
- `export()`: the file that `e` writes; without one, a picture of the screen
- `HELP`: what `?` says above the keys
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen

from interp_dsl.runs.events import Event
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.live import RunLive
from interp_dsl.tui.files import free_path
from interp_dsl.tui.place import Place
from interp_dsl.tui.widgets.foot import Foot
from interp_dsl.tui.widgets.head import Head

if TYPE_CHECKING:
    from interp_dsl.tui.app import InterpApp

WIDTHS: list[tuple[int, str]] | None = [(0, "-narrow"), (112, "-wide")]
"""For a screen's HORIZONTAL_BREAKPOINTS: from how many columns on it has which class."""


NEWS = ("task_finished", "top")
"""Events behind which a step has more rows: it has ended, or a shard of it has."""
PATIENCE = 0.5
"""Seconds between news of a step's rows and the look at them: more news may come."""


def is_news(events: list[Event]) -> bool:
    """Whether there may be new tables: a task has ended, or the screen is shown (again)."""
    return not events or any(event["event"] == "task_finished" for event in events)


class Pictures(Protocol):
    """Steps that make pictures of a kind, and which of them is looked at: "" before there is one.
    `read` takes in what the run has finished, and tells whether there is something new."""

    step: str

    @property
    def steps(self) -> list[str]: ...

    def read(self) -> object: ...

    def choose(self, step: str) -> None: ...


class InterpScreen(Screen[Any]):
    """A screen that is no dialog: head, body, footer."""

    HELP: ClassVar[str] = ""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e", "export", "Export", tooltip="the table or a picture, to a file here"),
    ]

    @property
    def home(self) -> InterpApp:
        return cast("InterpApp", self.app)

    def compose(self) -> ComposeResult:
        yield Head()
        yield from self.body()
        yield Foot()

    def body(self) -> ComposeResult:
        """The widgets between head and footer."""
        raise NotImplementedError

    def show_one(self, names: Sequence[str], at: int) -> None:
        """Give the screen the class of one of its parts: where there is no room for all of them,
        that one is shown."""
        for i, name in enumerate(names):
            self.set_class(i == at, f"-{name}")

    def export(self) -> Path | None:
        """Write the screen's table or picture and return where; None where there is nothing to
        write. Use `self.export_path(suffix)` for the name."""
        path = self.export_path(".svg")
        path.write_text(self.app.export_screenshot(), encoding="utf-8")
        return path

    def export_path(self, suffix: str) -> Path:
        """A name in the current folder that no file has yet."""
        return free_path(Path.cwd(), "interp", suffix)

    def on_screen_resume(self) -> None:
        self.home.refresh_head()

    def close_inner(self) -> bool:
        """Whether Escape had something of the screen itself to close."""
        return False

    def action_export(self) -> None:
        try:
            path = self.export()
        except OSError as error:
            self.notify(f"nothing written: {error}", severity="error", markup=False)
            return
        if path is None:
            self.notify("there is nothing to export here yet", severity="warning", markup=False)
        else:
            self.notify(f"written: {path}", markup=False)


class RunScreen(InterpScreen):
    """A view of one run. `name` is the view's name in `views.VIEWS`."""

    def __init__(self, folder: RunFolder) -> None:
        super().__init__()
        self.folder = folder
        self.view_name = ""
        self._is_out = False
        """Whether the frame has been painted: what is to be read first would hold it up."""

    @property
    def live(self) -> RunLive:
        """The run as its events have told it so far."""
        return self.home.live

    @property
    def place(self) -> Place:
        """The row that the reader's eye is on, whichever view it was chosen in."""
        return self.home.place

    @place.setter
    def place(self, place: Place) -> None:
        self.home.place = place

    def on_run_events(self, events: list[Event]) -> None:
        """The run has moved on (or the screen is shown again: no events then)."""

    def take_in(self, held: Pictures, events: list[Event]) -> tuple[bool, bool]:
        """Read what the run has finished of a screen's pictures, and choose the step that other
        views look at when the screen is shown (again): whether these are the first, and whether
        there is something else to show."""
        first = not held.step
        is_new = bool(held.read()) or not events
        self.set_class(not held.step, "empty")
        if not events and self.place.step in held.steps:
            held.choose(step=self.place.step)
        return first and bool(held.step), is_new

    def tell(self, events: list[Event]) -> None:
        """Hand events on, once there is a frame."""
        if self._is_out:
            self.on_run_events(events)

    def on_screen_resume(self) -> None:
        """That of `InterpScreen` is called by Textual too."""
        if not self.is_current:  # a dialog has closed over it and led on to another view
            return
        if self._is_out:
            self.on_run_events([])
        else:  # the app paints nothing while it starts, and has come to its next message then
            self.app.call_later(self.call_after_refresh, self._begin)

    def _begin(self) -> None:
        if not self._is_out:
            self._is_out = True
            self.on_run_events([])

    def export_path(self, suffix: str) -> Path:
        return free_path(Path.cwd(), f"{self.folder.path.name}-{self.view_name}", suffix)
