"""The app: which run is looked at, in which view, and what its events have told so far."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import App
from textual.binding import Binding, BindingType
from textual.command import Provider
from textual.theme import BUILTIN_THEMES

from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.language.suggest import suggest
from interp_dsl.runs.find import latest
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.live import RunLive, Status, status_of
from interp_dsl.runs.names import holds_run
from interp_dsl.runs.samples import sample_steps
from interp_dsl.runs.text import duration
from interp_dsl.tui.base import InterpScreen, RunScreen
from interp_dsl.tui.child import Child, ChildBegan, ChildEnded
from interp_dsl.tui.feed import Feed, RunMoved
from interp_dsl.tui.place import Place
from interp_dsl.tui.plans import read_plan
from interp_dsl.tui.tones import Tones, tones
from interp_dsl.tui.views import VIEWS, View, concerns_all, view
from interp_dsl.tui.widgets.head import Head

FORMS = {"heatmap": "maps", "graph": "circuit", "curves": "curves"}
"""The view that shows a form of `show`; the others are ranked."""
ENDINGS = ("task_finished", "run_finished", "failed")


def require_theme(name: str) -> None:
    """InterpError E718 where there is no theme of a name."""
    if name not in BUILTIN_THEMES:
        near = suggest(name, list(BUILTIN_THEMES))
        raise InterpError(
            Diagnostic(
                "E718",
                f"there is no theme {name}",
                notes=(f"there are: {', '.join(BUILTIN_THEMES)}",),
                help=f"did you mean {near}?" if near else None,
            )
        )


def lacking(one: View, folder: RunFolder) -> str | None:
    """Why a view has nothing to show of a run, which somebody may have deleted meanwhile."""
    if not holds_run(folder.path) and one.name != "runs":
        return f"{folder.path} is gone"
    return None if one.name == "runs" else one.missing(folder)


def commands() -> type[Provider]:
    """The palette's commands, imported when it is opened."""
    from interp_dsl.tui.commands import InterpCommands

    return InterpCommands


class InterpApp(App[int]):
    """One run at a time: `folder`, `live`, `status`; `place` is what the reader's eye is on.

    `command` are options for `interp run`; `starts`: a file that checks is run at once. `started`
    is the folder of a run that was started here, `child_code` the exit code of its process;
    `has_read`: the log of the run has been read up to now. `views` are those that have to do with
    the run."""

    TITLE = "interp"
    COMMANDS = App.COMMANDS | {commands}
    CSS_PATH = "app.tcss"
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
        starts: bool = False,
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
        self.has_read = False
        self.started: Path | None = None
        self.child_code: int | None = None
        self._target, self._starts = target, starts
        self._ground: InterpScreen | None = None
        self._child: Child | None = None
        self._made = 0
        self._feed: Feed | None = None
        self._held: list[RunMoved] = []
        self._screens: dict[str, RunScreen] = {}
        self._missing: dict[str, str | None] = {}
        self.views = [one for one in VIEWS if one.concerns is concerns_all]
        self._tones: tuple[str, Tones] | None = None
        if theme is not None:
            self.theme = theme

    def on_mount(self) -> None:
        self.theme_changed_signal.subscribe(self, lambda _: self._recolor())
        target = self._target
        if target is None:
            newest = latest(self.runs)
            target = newest.path if newest else self.runs
        if holds_run(target):
            self.open_run(RunFolder(target))
            return
        if target.suffix == ".interp":
            from interp_dsl.tui.screens.file import FileScreen

            self._ground = FileScreen(target, self._starts)
        else:
            from interp_dsl.tui.screens.runs import RunsScreen

            self._ground = RunsScreen(RunFolder(target))
        self.install_screen(self._ground, "ground")
        self.push_screen("ground")

    def on_unmount(self) -> None:
        self._stop_feed()

    # ---- a run

    def open_run(self, folder: RunFolder, name: str | None = None) -> None:
        """Look at a run, first in the view of a name, else in the one that suits it."""
        self._stop_feed()
        old = list(self._screens.values())
        self.folder, self.live, self.place = folder, RunLive(), Place()
        self.status, self.is_paused, self._held = status_of(folder), False, []
        self._screens, self.view_name, self.has_read = {}, "", False
        self._look()
        self.action_show(name or self._first_view(folder))
        self._feed = Feed(folder, self.post_message)
        self._feed.start()
        if old:
            self.call_later(self._drop, old)

    def _first_view(self, folder: RunFolder) -> str:
        """Of a run that is done what its first `show` asks for, else the first table; of any other
        how it goes."""
        if self.status != "done" or not folder.steps:
            return "watch"
        plan, written = read_plan(folder), sample_steps(folder)
        for shown in plan.views if plan else ():
            name = "samples" if shown.step in written else FORMS.get(shown.form, "rank")
            if name in {one.name for one in VIEWS} and lacking(view(name), folder) is None:
                self.place = Place(shown.step)
                return name
        return "rank"

    async def _drop(self, screens: list[RunScreen]) -> None:
        """Take away the screens of the run before."""
        for screen in screens:
            if screen not in self.screen_stack:
                self.uninstall_screen(screen)
                await screen.remove()

    def _stop_feed(self) -> None:
        if self._feed is not None:
            self._feed.stop()
            self._feed = None

    @on(RunMoved)
    def _moved(self, message: RunMoved) -> None:
        if message.feed is not self._feed or not self.is_running:  # the last news while it quits
            return
        if self.is_paused:
            self._held.append(message)
        else:
            self._take(message)
        self.has_read = True
        self.refresh_head()

    def _take(self, *messages: RunMoved) -> None:
        events = [event for message in messages for event in message.events]
        for event in events:
            self.live.apply(event)
        before, self.status = self.status, messages[-1].status
        if self.status != "running":
            self.live.finish(self.status)
        if before != self.status or any(event["event"] in ENDINGS for event in events):
            self._look()
        if isinstance(self.screen, RunScreen):
            self.screen.tell(events)

    def _look(self) -> None:
        """See anew which views have something to show."""
        if self.folder is not None:
            self._missing = {one.name: lacking(one, self.folder) for one in VIEWS}
            self.views = [one for one in VIEWS if one.concerns(self.folder)]

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

    # ---- a run of our own

    def start_run(self, path: Path) -> None:
        """Run a file in a process of its own; its folder is opened as soon as there is one."""
        if self._child is not None and self._child.is_running:
            self.notify("the run that was started here is still going on", severity="warning")
            return
        self._child = Child(path, self.command, self.post_message)
        self._child.start()

    @on(ChildBegan)
    def _on_child_began(self, message: ChildBegan) -> None:
        self.started = message.path
        self.open_run(RunFolder(message.path), "watch")

    @on(ChildEnded)
    def _on_child_ended(self, message: ChildEnded) -> None:
        from interp_dsl.tui.screens.file import FileScreen

        self.child_code = message.code
        if not message.began and isinstance(self._ground, FileScreen):
            self._ground.not_started(message.said)

    @property
    def has_child(self) -> bool:
        """Whether a run that was started here goes on."""
        return self._child is not None and self._child.is_running

    # ---- views

    def action_show(self, name: str) -> None:
        """Show a view of the run; one that has nothing to show says why."""
        if self.folder is None or self._has_dialog:
            return
        one = view(name)
        missing = lacking(one, self.folder)
        if missing is not None and self.view_name:
            self.notify(missing, title=one.title, severity="warning", markup=False)
            return
        if name not in self._screens:
            screen = self._screens[name] = one.screen(self.folder)
            screen.view_name = name
            self._made += 1
            self.install_screen(screen, f"{self._made}:{name}")
        self.view_name = name
        self._switch(self._screens[name])

    def _switch(self, screen: InterpScreen) -> None:
        if len(self.screen_stack) == 1:
            self.push_screen(screen)
        elif self.screen is not screen:
            self.switch_screen(screen)
        elif isinstance(screen, RunScreen):
            screen.tell([])  # it is shown already, perhaps at another place
        self.call_after_refresh(self.refresh_head)

    @property
    def _has_dialog(self) -> bool:
        """Whether a dialog stands over the view."""
        return len(self.screen_stack) > 2

    async def action_back(self) -> None:
        """From a view to how the run goes, from there to the list or file that it was opened
        from."""
        if self._has_dialog:
            self.pop_screen()
        elif isinstance(self.screen, InterpScreen) and self.screen.close_inner():
            return
        elif (self.folder is not None and self.screen is self._ground) or self.view_name not in (
            "",
            "watch",
        ):
            self.action_show("watch")
        elif self._ground is not None:
            self.view_name = ""
            self._switch(self._ground)

    def action_help(self) -> None:
        """The keys of the screen."""
        from interp_dsl.tui.screens.help import HelpScreen

        if not self._has_dialog:
            self.push_screen(HelpScreen(self.screen, self.tones))

    def action_light(self) -> None:
        """The light theme, or the dark one."""
        is_dark = self.current_theme.dark
        self.theme = "textual-light" if is_dark else "textual-dark"

    def _recolor(self) -> None:
        """Text that was made with the old colours is made anew."""
        if isinstance(self.screen, RunScreen):
            self.screen.tell([])

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
