"""Watch: the run as it goes, and how it ended."""

from __future__ import annotations

from time import monotonic
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.timer import Timer
from textual.widgets import Static

from interp_dsl.plan.tasks import Plan
from interp_dsl.runs.events import Event
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.live import Status, TaskLive
from interp_dsl.runs.training import step_of
from interp_dsl.tui import pictures
from interp_dsl.tui.banner import banner
from interp_dsl.tui.base import WIDTHS, RunScreen
from interp_dsl.tui.place import Place
from interp_dsl.tui.plans import read_plan
from interp_dsl.tui.safe import plain
from interp_dsl.tui.screens.confirm import Confirm
from interp_dsl.tui.tasks import TaskRows
from interp_dsl.tui.widgets.choices import Choices, Group
from interp_dsl.tui.widgets.panes import LogPane, Pane
from interp_dsl.tui.widgets.settings import turned
from interp_dsl.tui.widgets.table import Table

PATIENCE = 0.3
"""Seconds between two pictures of the panes."""
PANES = ("leading", "curves", "claims", "log")
OTHERS = "other tasks"
"""Beside dictionaries: the curves that are no training."""


class WatchScreen(RunScreen):
    """Tasks; beside or below them curves, leading components, claims, log."""

    HELP: ClassVar[str] = (
        "What the run is at. ● is worked at, ✓ done, ○ waits, ■ stopped, ✗ failed. Enter opens and "
        "closes a group of tasks, and shows a step's table, as far as there is one. Space holds "
        "the picture still while the run goes on. `[` and `]` go through the dictionaries whose "
        "curves are shown. A run that somebody else started, or that has died, is shown just the "
        "same; when it is taken up again, the picture follows."
    )
    HORIZONTAL_BREAKPOINTS = WIDTHS
    DEFAULT_CSS = """
    WatchScreen #banner { height: auto; max-height: 5; padding: 0 1; display: none; }
    WatchScreen #banner.-told { display: block; }
    WatchScreen Table { border: round $foreground 25%; border-title-color: $foreground;
                        border-subtitle-color: $text-muted; height: 2fr; }
    WatchScreen Table { scrollbar-size-horizontal: 0; }
    WatchScreen Table:focus { border: round $primary; }
    WatchScreen #panes { height: 9; max-height: 45%; }
    WatchScreen #panes > * { display: none; height: 1fr; }
    WatchScreen.-wide #main { layout: horizontal; }
    WatchScreen.-wide #choice { display: none; }
    WatchScreen.-wide #left { width: 1fr; }
    WatchScreen.-wide #panes { width: 54; height: 1fr; max-height: 100%; }
    WatchScreen.-wide #panes > * { display: block; }
    WatchScreen.-wide #leading { height: 2fr; max-height: 13; }
    WatchScreen.-wide #claims { height: 2fr; max-height: 12; }
    WatchScreen.-wide #curves { height: 3fr; }
    WatchScreen #left > LogPane { display: none; }
    WatchScreen.-wide #left > LogPane { display: block; height: 1fr; max-height: 12; }
    WatchScreen.-wide #panes > LogPane { display: none; }
    WatchScreen.-leading #panes > #leading, WatchScreen.-curves #panes > #curves,
    WatchScreen.-claims #panes > #claims, WatchScreen.-log #panes > #log { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "pause", "Pause", key_display="space", tooltip="hold the picture still"),
        Binding("X", "cancel", "Cancel run", key_display="X"),
        Binding("t", "pane(1)", "Next pane", show=False),
        Binding("T", "pane(-1)", "Pane before", show=False, key_display="T"),
        Binding("left_square_bracket", "fit(-1)", "Curves before", show=False, key_display="["),
        Binding("right_square_bracket", "fit(1)", "Curves after", show=False, key_display="]"),
    ]

    def __init__(self, folder: RunFolder) -> None:
        super().__init__(folder)
        self._status: Status | None = None
        self._redraw: Timer | None = None
        self._drawn = 0.0
        self._toggled: set[str] = set()
        self._followed = 0
        """The line that the cursor was put on; it goes on with the work until somebody moves it."""
        self._chosen_pane: int | None = None
        self._chosen_fit: str | None = None
        self._plan: Plan | None = None

    def body(self) -> ComposeResult:
        yield Static(id="banner", markup=False)
        with Vertical(id="main"):
            with Vertical(id="left"):
                yield Table(sortable=False, id="tasks")
                yield LogPane(id="log-left")
            yield Choices(id="choice")
            with Vertical(id="panes"):
                yield Pane(id="leading")
                yield Pane(id="curves")
                yield Pane(id="claims")
                yield LogPane(id="log")

    def on_mount(self) -> None:
        self._plan = read_plan(self.folder)
        self._show_pane()
        self.query_one(Table).focus()

    # ---- the picture

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self.home.status == "running" if action == "cancel" else True

    def on_run_events(self, events: list[Event]) -> None:
        if self._status != self.home.status:
            self._status = self.home.status
            self.refresh_bindings()
        self._show_tasks()
        self._show_banner()
        if not self.has_class(f"-{PANES[self._pane]}"):
            self._show_pane()
        self._show_panes_soon()
        for pane in self.query(LogPane):
            pane.follow(self.live.log, self.live.lines, self.home.tones)

    def on_resize(self) -> None:
        self.call_after_refresh(self.on_run_events, [])

    @on(Pane.Sized)
    def _on_sized(self) -> None:
        self._show_panes()

    def _show_tasks(self) -> None:
        table = self.query_one("#tasks", Table)
        rows = TaskRows(self._tasks(), self._toggled)
        if len(rows) >= table.size.height:
            rows = TaskRows(self._tasks(), self._toggled, short=True)
        is_followed = table.cursor == self._followed
        table.show(rows, keep=True)
        at_work = rows.at_work()
        if at_work is not None and is_followed:
            table.go_to(at_work)
        if is_followed:
            self._followed = table.cursor
        n = sum(rows.groups.values())
        table.border_title = plain(f"tasks · {self.live.n_ended:,} of {n:,}" if n else "tasks")
        table.nothing = "" if n else "no task yet; they appear when the run begins"
        attempts = self.live.attempts
        table.border_subtitle = plain(f"begun {attempts} times") if attempts > 1 else None

    def _tasks(self) -> list[TaskLive]:
        """The run's tasks; before it has begun, those of its plan."""
        if self.live.tasks or self._plan is None:
            return list(self.live.tasks.values())
        return [
            TaskLive(task.id, type(task).__name__, getattr(task, "step", None))
            for task in self._plan.tasks
        ]

    def _show_banner(self) -> None:
        line = self.query_one("#banner", Static)
        text = banner(self.folder, self.home.status, self.live, self.home.tones)
        line.set_class(bool(text), "-told")
        line.update(text)

    def _show_panes_soon(self) -> None:
        """At once, unless that was less than PATIENCE ago: drawing takes most of the time."""
        since = monotonic() - self._drawn
        if since >= PATIENCE:
            self._show_panes()
        elif self._redraw is None:
            self._redraw = self.set_timer(PATIENCE - since, self._show_panes)

    def _show_panes(self) -> None:
        if self._redraw is not None:
            self._redraw.stop()
        self._redraw, self._drawn = None, monotonic()
        tones, live = self.home.tones, self.live
        pane = self.query_one("#leading", Pane)
        step = next(reversed(live.leading), "")
        going = any(task.step == step for task in live.working)
        title = f"leading · {step}{' so far' if going else ''}" if step else "leading"
        rows = live.leading.get(step, [])
        pane.show(title, pictures.leading(rows, tones, pane.room[0]))
        self._show_curves(self.query_one("#curves", Pane))
        expected = [claim.text for claim in self._plan.claims] if self._plan else []
        told = live.claims or self.folder.claims
        self.query_one("#claims", Pane).show(*pictures.claims(told, expected, tones))

    def _show_curves(self, pane: Pane) -> None:
        """The training of one of the dictionaries, or what other tasks and searches draw."""
        live, tones = self.live, self.home.tones
        names, fit = self._fits(), self._fit
        if fit is None or fit == OTHERS:
            title, lines = "curves", pictures.curves(live, tones, *pane.room)
        else:
            title = f"curves over tokens · {fit}"
            lines = pictures.training(live.fits[fit], tones, *pane.room)
        at = f"{names.index(fit) + 1}/{len(names)} · [ ] others" if fit and len(names) > 1 else ""
        pane.show(title, lines, at)

    def _fits(self) -> list[str]:
        """What the curves can be of, where dictionaries are fitted."""
        live = self.live
        return [*live.fits, *([OTHERS] if live.curves else [])] if live.fits else []

    @property
    def _fit(self) -> str | None:
        """What the curves are of: what was chosen, else the newest fit's first dictionary."""
        names = self._fits()
        if not names or self._chosen_fit in names:
            return self._chosen_fit if names else None
        newest = step_of([*self.live.fits][-1])
        return next(name for name in names if step_of(name) == newest)

    @property
    def _pane(self) -> int:
        """The pane below the tasks: the one chosen, else what there is most to see in."""
        if self._chosen_pane is not None:
            return self._chosen_pane
        return PANES.index("curves") if self.live.fits and not self.live.leading else 0

    def _show_pane(self) -> None:
        self.show_one(PANES, self._pane)
        self.query_one("#choice", Choices).show(Group("below", "t T", PANES, self._pane))

    # ---- keys

    def action_pane(self, by: int) -> None:
        self._chosen_pane = (self._pane + by) % len(PANES)
        self._show_pane()

    @on(Choices.Picked)
    def _on_picked(self, event: Choices.Picked) -> None:
        self._chosen_pane = event.index
        self._show_pane()

    def action_fit(self, by: int) -> None:
        """The curves of another dictionary, or of the other tasks."""
        names = self._fits()
        if self._fit is not None:
            self._chosen_fit = turned(names, self._fit, by)
            self._show_panes()

    @on(Table.Chosen)
    def _on_chosen(self, event: Table.Chosen) -> None:
        rows = event.table.model
        if not isinstance(rows, TaskRows):
            return
        group = rows.group_at(event.row)
        if group is not None:
            self._toggled ^= {group}
            self._show_tasks()
            return
        step = rows.step_at(event.row)
        if step in (*self.folder.steps, *self.folder.unfinished):
            self.place = Place(step)
            self.home.action_show("rank")
        elif step is not None:
            self.notify(f"{step} has no table yet", severity="warning", markup=False)

    def action_pause(self) -> None:
        self.home.toggle_pause()

    def action_cancel(self) -> None:
        """Ask, then ask the run to stop; what is finished is kept."""
        question = "Cancel this run? It finishes the shard in hand and keeps all that is finished."
        self.app.push_screen(Confirm(question, "Cancel the run"), self._cancel)

    def _cancel(self, is_sure: bool | None) -> None:
        if is_sure:
            self.folder.cancel()
            self.notify("asked to stop; it finishes the shard in hand first")
