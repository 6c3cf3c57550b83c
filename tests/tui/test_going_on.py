"""Runs that go on, die, are deleted or are begun from the screens, while one looks."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import pytest
from textual.pilot import Pilot

from interp_dsl.tui.app import InterpApp
from interp_dsl.tui.child import Child
from interp_dsl.tui.widgets.table import Table
from tests.tui import made
from tests.tui.screens import driven, grid, typed, units, until

App = InterpApp
P = Pilot[int]


def test_pause_holds_the_picture_and_lets_it_go_on(place: Path) -> None:
    folder = made.running(Path("runs"))

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["space"])
        tell = made.Writer(folder)
        tell.now = made.START + 10
        tell("note", text="something new")
        await until(pilot, lambda: "paused, 1 waiting" in grid(app))
        assert "something new" not in {line.text[6:] for line in app.live.log}
        await typed(app, pilot, ["space"])
        assert "note: something new" in {line.text for line in app.live.log}
        assert "paused" not in grid(app)

    driven(folder.path, drive)
    folder.release("done")


def test_cancel_asks_first(place: Path) -> None:
    folder = made.running(Path("runs"))

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["X", "enter"])  # the first button says no
        assert not folder.cancelled
        await typed(app, pilot, ["X", "y"])
        assert folder.cancelled

    driven(folder.path, drive)
    folder.release("cancelled")


def test_a_run_that_dies_is_said_to_have_and_its_resumption_is_followed(place: Path) -> None:
    folder = made.running(Path("runs"))

    async def drive(app: App, pilot: P) -> None:
        assert app.status == "running" and "● running" in grid(app)
        folder._lock.release()
        await until(pilot, lambda: app.status == "died")
        await until(pilot, lambda: "is gone without a word" in grid(app))
        assert app.live.tasks["sweep:noising"].stage == "stopped"
        assert folder.acquire()
        tell = made.Writer(folder)
        tell.now = made.START + 20
        tell("run_started", tasks=made.TASKS, resumed=True)
        tell("task_started", task="sweep:noising", step="noising", total=8)
        await until(pilot, lambda: app.status == "running")
        await until(pilot, lambda: "begun 2 times" in grid(app))
        assert app.live.tasks["sweep:noising"].stage == "working"
        await until(pilot, lambda: "is gone" not in grid(app))

    driven(folder.path, drive)
    folder.release("done")


def test_what_happened_behind_a_dialog_is_seen_when_it_closes(place: Path) -> None:
    folder = made.running(Path("runs"))

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["X"])
        folder.release("done")
        await until(pilot, lambda: app.status == "done")
        await typed(app, pilot, ["escape"])
        assert "✓ done" in grid(app) and "● running" not in grid(app)

    driven(folder.path, drive)


def test_a_table_that_appears_while_one_looks_is_shown(place: Path) -> None:
    folder = made.running(Path("runs"))

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["r"])
        assert app.view_name == "watch"  # there is no table yet, and that is said
        made.write_noising(folder)
        tell = made.Writer(folder)
        tell.now = made.START + 10
        tell("task_finished", task="sweep:noising", step="noising", seconds=9.0, reused=False)
        await until(pilot, lambda: app.live.n_ended == 5)
        await typed(app, pilot, ["r"])
        assert app.view_name == "rank" and len(units(app)) == 8

    driven(folder.path, drive)
    folder.release("done")


def test_rows_come_as_shards_end_and_order_cursor_and_marks_stay(place: Path) -> None:
    folder = made.running(Path("runs"))
    made.write_shard(folder, 2)  # L1H0, L1H1
    tell = made.Writer(folder)
    tell.now = made.START + 10

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["r", "s", "end", "space"])  # by unit, L1H1 marked
        assert units(app) == ["L1H0", "L1H1"] and "noising · gap so far" in grid(app)
        made.write_shard(folder, 0)  # L0H0, L0H1
        tell("top", step="noising", rows=[])
        await until(pilot, lambda: len(units(app)) == 4)
        assert units(app) == ["L0H0", "L0H1", "L1H0", "L1H1"]
        table = app.screen.query_one(Table)
        assert table.cursor == 3 and "› •L1H1".replace(" ", "") in grid(app).replace(" ", "")
        made.write_noising(folder)
        folder.drop_parts("noising")
        tell("task_finished", task="sweep:noising", step="noising", seconds=9.0, reused=False)
        await until(pilot, lambda: len(units(app)) == 8)
        assert units(app) == sorted(units(app)) and "so far" not in grid(app)
        await typed(app, pilot, ["y"])
        assert app.clipboard == "units chosen = {L1H1}"

    driven(folder.path, drive)
    folder.release("done")


class Pretended(Child):
    """A run as another process would do it: `script` instead of `interp run`."""

    script = ""

    def start(self) -> None:
        self._command = [sys.executable, "-c", self.script]
        super().start()


def test_a_file_is_run_in_a_process_of_its_own(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("mine.interp").write_text(made.TEXT)
    folder = made.running(Path("runs"))
    first = json.dumps({"event": "folder", "path": str(folder.path), "resumed": False})
    Pretended.script = f"print({first!r}, flush=True); print('x' * 10**6)"
    monkeypatch.setattr("interp_dsl.tui.app.Child", Pretended)

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["r"])
        await until(pilot, lambda: app.child_code is not None)
        assert app.started == folder.path and app.view_name == "watch"
        assert app.child_code == 0 and not app.has_child
        await typed(app, pilot, ["escape"])
        assert "mine.interp" in grid(app)

    driven(Path("mine.interp"), drive)
    folder.release("done")


def test_a_run_that_does_not_start_says_why(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("mine.interp").write_text(made.TEXT)
    Pretended.script = "import sys; sys.exit('error[E452]: [red]no weights')"
    monkeypatch.setattr("interp_dsl.tui.app.Child", Pretended)

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["r"])
        await until(pilot, lambda: "it did not start" in grid(app))
        assert "error[E452]: [red]no weights" in grid(app)
        assert app.child_code == 1

    driven(Path("mine.interp"), drive)


def test_options_of_the_command_line_reach_the_process() -> None:
    child = Child(Path("a.interp"), ("-p", "size=4", "--device", "cpu"), lambda message: None)
    assert child._command[1:] == [
        *("-m", "interp_dsl", "run", "a.interp", "--json", "-p", "size=4", "--device", "cpu")
    ]


def test_a_run_that_is_deleted_while_one_looks_is_said_to_be_gone(place: Path) -> None:
    folder = made.done(Path("runs"))

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["w"])
        folder.remove()
        await pilot.pause(1.2)
        await typed(app, pilot, ["r", "d", "g", "l", "question_mark", "escape", "e"])
        assert app.view_name == "watch"
        await typed(app, pilot, ["u"])
        assert "runs · 0 in runs" in grid(app)

    driven(folder.path, drive)


def test_it_quits_while_a_run_writes(place: Path) -> None:
    folder = made.running(Path("runs"))
    over = threading.Event()

    def write() -> None:
        tell = made.Writer(folder)
        tell.now = made.START + 10
        while not over.wait(0.002):
            tell("note", 0.002, text="still going")

    async def drive(app: App, pilot: P) -> None:
        await pilot.pause(0.5)
        await pilot.press("q")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(3):
            driven(folder.path, drive)
    finally:
        over.set()
        writer.join()
        folder.release("done")
