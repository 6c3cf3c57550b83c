"""What keys and the mouse do."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from interp_dsl.runs.folder import RunFolder
from interp_dsl.tui.app import InterpApp
from interp_dsl.tui.screens.rank import RankScreen
from interp_dsl.tui.widgets.table import Table
from tests.tui import made
from tests.tui.screens import driven, grid, settled, typed, units, until

App = InterpApp
P = Pilot[int]


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


def test_the_palette_goes_to_a_table(place: Path) -> None:
    folder = made.done(Path("runs"))

    async def drive(app: App, pilot: P) -> None:
        await pilot.press("colon")
        await until(pilot, lambda: "View: Rank" in grid(app))
        await pilot.press(*"table:", "space", *"circ")
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
