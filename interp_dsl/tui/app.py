"""The app: which run is looked at, in which view, and what its events have told so far."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import App
from textual.binding import Binding, BindingType

from interp_dsl.runs.find import list_runs
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.live import RunLive, Status, status_of
from interp_dsl.runs.names import holds_run
from interp_dsl.runs.text import duration
from interp_dsl.tui.base import InterpScreen, RunScreen
from interp_dsl.tui.feed import Feed, RunMoved
from interp_dsl.tui.place import Place
from interp_dsl.tui.tones import Tones, tones
from interp_dsl.tui.views import VIEWS, View, view
from interp_dsl.tui.widgets.head import Head


class InterpApp(App[int]):
    """One run at a time: `folder`, `live`, `status`; `place` is what the reader's eye is on."""

    TITLE = "interp"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("escape", "back", "Back", key_display="esc"),
        Binding("colon", "command_palette", "Commands", show=False),
        Binding("q", "quit", "Quit"),
        *(Binding(one.key, f"show({one.name!r})", one.title, show=False) for one in VIEWS),
    ]

    def __init__(
        self,
        target: Path | None = None,
        runs: Path = Path("runs"),
        command: tuple[str, ...] = (),
        theme: str | None = None,
    ) -> None:
        super().__init__()
        self.where = target or runs
        self.runs, self.command = runs, command
        self.folder: RunFolder | None = None
        self.live = RunLive()
        self.status: Status = "created"
        self.place = Place()
        self.view_name = ""
        self.is_paused = False
        self.clock: Callable[[], float] = time.time
        self._target = target
        self._feed: Feed | None = None
        self._held: list[RunMoved] = []
        self._screens: dict[str, RunScreen] = {}
        self._missing: dict[str, str | None] = {}
        self._tones: tuple[str, Tones] | None = None
        if theme is not None:
            self.theme = theme

    def on_mount(self) -> None:
        target = self._target
        if target is None:
            newest = list_runs(self.runs)
            target = newest[0].path if newest else self.runs
        if holds_run(target):
            self.open_run(RunFolder(target))

    def on_unmount(self) -> None:
        self._stop_feed()

    # ---- a run

    def open_run(self, folder: RunFolder, name: str | None = None) -> None:
        """Look at a run, first in the view of a name, else in the one that suits it."""
        self._stop_feed()
        self.folder, self.live, self.place = folder, RunLive(), Place()
        self.status, self.is_paused, self._held = status_of(folder), False, []
        self._screens = {}
        self._look()
        self.action_show(name or "watch")
        self._feed = Feed(folder, self.post_message)
        self._feed.start()

    def _stop_feed(self) -> None:
        if self._feed is not None:
            self._feed.stop()
            self._feed = None

    @on(RunMoved)
    def _moved(self, message: RunMoved) -> None:
        if message.feed is not self._feed:
            return
        if self.is_paused:
            self._held.append(message)
        else:
            self._take(message)
        self.refresh_head()

    def _take(self, *messages: RunMoved) -> None:
        events = [event for message in messages for event in message.events]
        for event in events:
            self.live.apply(event)
        self.status = messages[-1].status
        if self.status != "running":
            self.live.finish(self.status)
        self._look()
        if isinstance(self.screen, RunScreen):
            self.screen.on_run_events(events)

    def _look(self) -> None:
        """See anew which views have something to show."""
        if self.folder is not None:
            self._missing = {one.name: one.missing(self.folder) for one in VIEWS}

    def is_missing(self, one: View) -> bool:
        return self._missing.get(one.name) is not None

    @property
    def n_waiting(self) -> int:
        """Events that came while the view was paused."""
        return sum(len(message.events) for message in self._held)

    def toggle_pause(self) -> None:
        """Hold the picture still, or let it go on with all that has come meanwhile."""
        self.is_paused = not self.is_paused
        held, self._held = self._held, []
        if held:
            self._take(*held)
        self.refresh_head()

    # ---- views

    def action_show(self, name: str) -> None:
        """Show a view of the run; one that has nothing to show says why."""
        if self.folder is None:
            return
        one = view(name)
        missing = one.missing(self.folder)
        if missing is not None and self.view_name:
            self.notify(missing, title=one.title, severity="warning", markup=False)
            return
        if len(self.screen_stack) > 2:  # a dialog is open: it goes first
            return
        if name not in self._screens:
            self._screens[name] = one.screen(self.folder)
            self._screens[name].view_name = name
            self.install_screen(self._screens[name], f"{self.folder.path}:{name}")
        self.view_name = name
        if len(self.screen_stack) == 1:
            self.push_screen(self._screens[name])
        else:
            self.switch_screen(self._screens[name])
        self.refresh_head()

    async def action_back(self) -> None:
        """Close the dialog, else go back to the run's first view."""
        if len(self.screen_stack) > 2:
            self.pop_screen()
        elif isinstance(self.screen, InterpScreen) and self.screen.close_inner():
            return
        elif self.view_name not in ("", "watch"):
            self.action_show("watch")

    # ---- what the head shows

    def refresh_head(self) -> None:
        for head in self.screen.query(Head):
            head.moved += 1

    def progress_words(self) -> str:
        """How far the run is: tasks, and time since it was begun."""
        live = self.live
        if not live.tasks:
            return ""
        words = f" {live.n_ended}/{len(live.tasks)}"
        if self.status == "running" and live.started is not None:
            words += f" · {duration(max(0.0, self.clock() - live.started))}"
        return words

    @property
    def tones(self) -> Tones:
        """The theme's colours."""
        if self._tones is None or self._tones[0] != self.theme:
            self._tones = (self.theme, tones(self.theme_variables))
        return self._tones[1]
