"""What keys and the mouse do."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from textual.pilot import Pilot

from interp_dsl.runs.folder import RunFolder
from interp_dsl.tui.app import InterpApp
from interp_dsl.tui.child import Child
from interp_dsl.tui.screens.rank import RankScreen
from interp_dsl.tui.screens.tabled import TabledScreen
from interp_dsl.tui.widgets.table import Table
from tests.tui import made
from tests.tui.screens import driven, grid, settled, typed, until

App = InterpApp
P = Pilot[int]


def units(app: App) -> list[str]:
    """The units of the table in the order in which they are shown."""
    screen = app.screen
    assert isinstance(screen, TabledScreen) and screen.model is not None
    return [str(unit) for unit in screen.model.shown["unit"]]


def test_every_column_sorts_by_size_then_down_then_up(place: Path) -> None:
    folder = made.done(Path("runs"))
    by_effect = sorted(made.scores()[:8], key=lambda row: -abs(row["effect"]))

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["r"])
        assert units(app) == [row["unit"] for row in by_effect]
        await typed(app, pilot, ["right", "s"])  # effect: by size before, now down
        down = sorted(made.scores()[:8], key=lambda row: -row["effect"])
        assert units(app) == [row["unit"] for row in down]
        await typed(app, pilot, ["s"])
        assert units(app) == [row["unit"] for row in reversed(down)]
        await typed(app, pilot, ["left", "s"])
        assert units(app) == sorted(row["unit"] for row in down)

    driven(folder.path, drive, (140, 50))


def test_a_click_on_a_heading_sorts_and_one_on_a_row_goes_there(place: Path) -> None:
    folder = made.done(Path("runs"))

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["r"])
        table = app.screen.query_one(Table)
        await pilot.click(table, offset=(5, 1))  # the heading `unit`, within the border
        await settled(app, pilot)
        assert units(app) == sorted(units(app))
        await pilot.click(table, offset=(5, 4))
        await settled(app, pilot)
        assert table.cursor == 2

    driven(folder.path, drive, (140, 50))


def test_marked_rows_are_copied_as_units(place: Path) -> None:
    folder = made.done(Path("runs"))

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["r", "space", "space", "y"])
        assert app.clipboard == "units chosen = {L0H0, L1H0}"
        await typed(app, pilot, ["right_square_bracket", "y"])  # the circuit: no marks yet
        assert app.clipboard == "units chosen = {embed -> L0H1.v}"

    driven(folder.path, drive)


def test_a_filter_stays_while_metrics_change_and_escape_takes_it_away(place: Path) -> None:
    folder = made.done(Path("runs"))

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["r", "slash", "'heads layers 1..1", "enter"])
        assert {unit[:2] for unit in units(app)} == {"L1"}
        await typed(app, pilot, ["full_stop"])
        assert isinstance(app.screen, RankScreen) and app.screen.metric == "kl"
        assert {unit[:2] for unit in units(app)} == {"L1"}
        await typed(app, pilot, ["escape"])
        assert isinstance(app.screen, RankScreen) and len(units(app)) == 8
        await typed(app, pilot, ["escape"])
        assert app.view_name == "watch"

    driven(folder.path, drive)


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


def test_export_writes_the_rows_that_are_shown(place: Path) -> None:
    folder = made.done(Path("runs"))

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["r", "slash", "'{L1H3, L0H0}", "enter", "e"])
        await typed(app, pilot, ["w", "e"])

    driven(folder.path, drive)
    table = Path(f"{folder.path.name}-rank-noising.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in table] == ["unit", "L0H0", "L1H3"]
    assert Path(f"{folder.path.name}-watch.svg").read_text().startswith("<svg")


def test_from_the_list_to_a_run_and_back(place: Path) -> None:
    made.failed(Path("runs"))
    newer = made.done(Path("runs"), made.WHEN.replace(day=21))

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["enter"])
        assert app.folder is not None and app.folder.path == newer.path
        await typed(app, pilot, ["w", "escape"])
        assert "runs · 2" in grid(app)
        await typed(app, pilot, ["down", "enter"])
        assert app.status == "failed" and "E642" in grid(app)

    driven(Path("runs"), drive)


def test_with_no_target_the_newest_run_is_opened(place: Path) -> None:
    made.done(Path("runs"))
    newer = made.failed(Path("other"))

    async def drive(app: App, pilot: P) -> None:
        assert app.folder is not None and app.folder.path == newer.path

    driven(None, drive, runs=Path("other"))


def test_what_is_wrong_with_a_file_goes_when_it_is_mended(place: Path) -> None:
    path = Path("mine.interp")
    path.write_text(made.TEXT.replace("heads from", "hea ds from"))

    async def drive(app: App, pilot: P) -> None:
        assert "error[E124]" in grid(app)
        path.write_text(made.TEXT)
        await until(pilot, lambda: "error" not in grid(app))
        assert "noising" in grid(app)

    driven(path, drive)


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


def test_the_palette_goes_to_a_table(place: Path) -> None:
    folder = made.done(Path("runs"))

    async def drive(app: App, pilot: P) -> None:
        await pilot.press("colon")
        await until(pilot, lambda: "View: Rank" in grid(app))
        await pilot.press(*"circuit")
        await until(pilot, lambda: "View: Rank" not in grid(app) and "Table: circ" in grid(app))
        await pilot.press("enter")
        await until(pilot, lambda: getattr(app.screen, "step", None) == "circuit")
        assert isinstance(app.screen, RankScreen)

    driven(folder.path, drive)


def test_light_dark_and_no_color_show_the_same_characters(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made.done(Path("runs"))

    async def drive(app: App, pilot: P) -> str:
        if light:
            app.action_light()
        await typed(app, pilot, ["r"])
        return grid(app)

    light = False
    dark = driven(folder.path, drive)
    light = True
    assert driven(folder.path, drive) == dark
    monkeypatch.setenv("NO_COLOR", "1")
    assert driven(folder.path, drive) == dark
    assert "██" in dark and "-20.25" in dark and "+6.11" in dark
    assert RunFolder(folder.path).status == "done"


def test_the_mouse_goes_where_the_keys_go(place: Path) -> None:
    folder = made.done(Path("runs"))

    async def drive(app: App, pilot: P) -> None:
        async def click(word: str, line: int) -> None:
            at = grid(app).splitlines()[line].index(word)
            await pilot.click(offset=(at, line))
            await settled(app, pilot)

        await click("Watch", 1)
        assert app.view_name == "watch"
        await click("Rank", 1)
        assert isinstance(app.screen, RankScreen)
        await click("circuit", 2)
        assert app.screen.step == "circuit"
        await click("noising", 2)
        await click("kl", 2)
        assert app.screen.metric == "kl"
        await click("Help", 23)
        assert "on this screen" in grid(app)

    driven(folder.path, drive)
