"""The training of dictionaries on the screens, as it goes and after."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from interp_dsl.tui.app import InterpApp
from interp_dsl.tui.widgets.panes import Pane
from tests.runs import dictionaries as made
from tests.tui.fitted import finished, fitting, left
from tests.tui.screens import SIZES, after, driven, grid, pane, typed, until
from tests.tui.test_grids import same

App = InterpApp
P = Pilot[int]


@pytest.mark.parametrize("size", SIZES)
def test_grid_while_it_fits(size: str, place: Path, request: pytest.FixtureRequest) -> None:
    folder = fitting(Path("runs"), 5)
    try:
        found = driven(folder.path, after([]), SIZES[size])
    finally:
        left(folder)
    same(found, f"watch-fitting-{size}", request)


def test_the_curves_are_the_newest_fits_and_the_keys_go_through_all(place: Path) -> None:
    folder = fitting(Path("runs"))

    async def drive(app: App, pilot: P) -> list[str]:
        titles = []
        for key in ("", *["]"] * 4):
            await typed(app, pilot, ["right_square_bracket"] if key else [])
            title = str(app.screen.query_one("#curves", Pane).border_title)
            titles.append(title.replace("\\", ""))
            if "k=16" in titles[-1]:
                assert "0.5000" in pane(app, "curves")  # its first loss
                assert "0.1111" in pane(app, "curves")  # its last
        return titles

    try:
        titles = driven(folder.path, drive, (140, 50))
    finally:
        left(folder)
    assert [t.rpartition(" · ")[2] for t in titles] == [
        "many[k=4]", "many[k=16]", "curves", "sae", "many[k=4]",
    ]  # fmt: skip


def test_curves_grow_while_points_come(place: Path) -> None:
    folder = fitting(Path("runs"), 2)

    async def drive(app: App, pilot: P) -> tuple[str, str]:
        before = pane(app, "curves")
        row = made.points(("k=4", "k=16"), 3)[-2] | {"loss": 0.3, "step": "many", "at": 2}
        folder.event("fit", total=made.STEPS, **row)
        await until(pilot, lambda: "0.300" in pane(app, "curves"))
        return before, pane(app, "curves")

    try:
        before, later = driven(folder.path, drive, (140, 50))
    finally:
        left(folder)
    assert "0.300" not in before and "0.300" in later


def test_a_finished_fits_table_is_seen_as_curves_too(place: Path) -> None:
    folder = finished(Path("runs"))

    async def drive(app: App, pilot: P) -> tuple[str, str]:
        await typed(app, pilot, ["r", "right_square_bracket", "down", "enter"])
        first = grid(app)
        await typed(app, pilot, ["right_square_bracket"])
        return first, grid(app)

    first, second = driven(folder.path, drive)
    assert "many[k=16] · over tokens" in first and "many[k=4] · over tokens" in second
    for word in ("loss", "L0", "FVU", "dead features"):
        assert word in first
