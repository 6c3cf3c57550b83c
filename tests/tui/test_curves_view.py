"""Curves: what the table and the line below say at a length is what the step's table holds; lines
are where their points are, and told apart without colour."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from interp_dsl.plan.tasks import Plan, View
from interp_dsl.runs.bands import bands
from interp_dsl.runs.folder import RunFolder
from interp_dsl.tui.app import InterpApp
from interp_dsl.tui.place import Place
from interp_dsl.tui.screens.curves import CurvesScreen, whole_columns
from interp_dsl.tui.widgets.bands import MARKS, BandChart, Frame, drawn
from interp_dsl.tui.widgets.listing import Listing
from interp_dsl.tui.widgets.scale import Scale, scale
from tests.runs import curved
from tests.tui import viewed
from tests.tui.screens import SIZES, after, driven, grid, settled, typed
from tests.tui.test_grids import same

App = InterpApp
P = Pilot[int]


def factored_run(root: Path, views: tuple[View, ...] = ()) -> RunFolder:
    """A run with curves and factorings."""
    folder = RunFolder.create(root, "bent", viewed.WHEN)
    folder.write_experiment("# made by hand\n")
    folder.write_plan(Plan((), views=views))
    tables = curved.everything()
    for name, table in tables.items():
        folder.write_table(name, table)
    return viewed.ended(folder, *(name for name in tables if "." not in name))


def curves(app: App) -> CurvesScreen:
    assert isinstance(app.screen, CurvesScreen)
    return app.screen


def said(app: App) -> str:
    return str(app.screen.query_one("#readout", Static).content)


def rows(app: App) -> list[list[str]]:
    """The texts of the table, headings first."""
    held = app.screen.query_one("#lines", Listing)
    items = [list(held.item(i).texts) for i in range(held.count)]
    return [[h.name for h in held.headings], *items]


def test_every_length_says_what_the_table_holds(place: Path) -> None:
    folder = factored_run(Path("runs"))

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["b", "home"])
        for length in curved.LENGTHS:
            for mark, direction in zip(MARKS, curved.DIRECTIONS, strict=False):
                effect = curved.DIRECTIONS[direction] * length**2
                table = {row[1]: row for row in rows(app)[1:]}
                assert table[direction][0] == mark
                assert float(table[direction][2]) == pytest.approx(effect, abs=6e-4)
                text = said(app)
                assert text.startswith(
                    f"{direction}   at {100 * length:g}%   effect +{effect:.4f}"[:-2]
                )
                if direction != "toward_zero":
                    await pilot.press("down")
                    await pilot.pause()
            await typed(app, pilot, ["up", "up", "right"])

    driven(folder.path, drive, (140, 50))


def test_whole_curves_stand_beside_their_values(place: Path) -> None:
    folder = factored_run(Path("runs"))

    async def drive(app: App, pilot: P) -> tuple[list[list[str]], list[list[str]]]:
        await typed(app, pilot, ["b"])
        first = rows(app)
        await typed(app, pilot, ["right_square_bracket"])
        return first, rows(app)

    reached, steep = driven(folder.path, drive)
    assert reached[0][3:] == ["reached 0.5", "reached 2"]
    assert [row[3:] for row in reached[1:]] == [
        ["70.7%", "·"],
        ["50.0%", "100.0%"],
        ["35.4%", "70.7%"],
    ]
    assert steep[0][3:] == ["slope", "location", "width", "plateau", "jumps"]
    assert steep[2][1:] == ["line, corrupt", "4.000", "2.00", "0.50", "0.40", "0.50", "1.00"]


def test_metric_place_and_value_are_chosen_by_keys(place: Path) -> None:
    folder = factored_run(Path("runs"))

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["b", "full_stop"])
        held = curves(app).curved
        assert (held.metric, held.quantity) == ("distance", "effect")
        await typed(app, pilot, ["right_curly_bracket"])
        assert held.spot == ("L1.resid_pre", "END") and app.place == Place(
            "sens", "distance", *held.spot
        )
        seen = []
        for _ in range(3):
            await typed(app, pilot, ["v"])
            seen.append(held.quantity)
        assert seen == ["median", "ratio", "effect"]
        await typed(app, pilot, ["right_square_bracket", "v", "v"])
        assert (held.step, held.metric, held.quantity) == ("regions", "distance", "relative")

    driven(folder.path, drive)


def test_the_view_goes_where_another_has_gone(place: Path) -> None:
    folder = factored_run(Path("runs"))

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["r"])
        app.place = Place("sens", "distance", "L1.resid_pre", "END")
        await typed(app, pilot, ["b"])
        held = curves(app).curved
        assert (held.step, held.metric, held.spot) == ("sens", "distance", ("L1.resid_pre", "END"))

    driven(folder.path, drive)


def test_show_as_curves_opens_it(place: Path) -> None:
    folder = factored_run(Path("runs"), (View("regions", "curves"),))

    async def drive(app: App, pilot: P) -> str:
        return curves(app).curved.step

    assert driven(folder.path, drive) == "regions"


def test_the_rows_of_the_picture_are_written(place: Path) -> None:
    folder = factored_run(Path("runs"))
    driven(folder.path, after(["b", "e"]))
    (path,) = place.glob("*.csv")
    held = pl.read_csv(path, infer_schema_length=None)
    wanted = curved.sensitive().filter(
        pl.col("unit") == "L0.resid_pre", pl.col("metric") == "kl", pl.col("number").is_null()
    )
    assert sorted(held["effect"].drop_nulls()) == sorted(wanted["effect"].drop_nulls())
    assert held["reached"].drop_nulls().len() == wanted["reached"].drop_nulls().len()


def test_a_run_without_curves_says_so(place: Path) -> None:
    folder = viewed.viewed(Path("runs"))
    assert "no step of perturb or interpolate has ended" in driven(folder.path, after(["b"]))


def test_a_step_that_ends_meanwhile_can_be_chosen(place: Path) -> None:
    folder = factored_run(Path("runs"))

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["b", "down"])
        folder.write_table("later", curved.regions())
        curves(app).on_run_events([{"event": "task_finished", "time": 0}])
        await settled(app, pilot)
        assert curves(app).curved.steps == ["sens", "regions", "later"]
        assert curves(app).curved.step == "sens" and curves(app).chart.chosen == 1

    driven(folder.path, drive)


def theme(place: Path) -> Scale:
    folder = viewed.viewed(Path("runs"))

    async def drive(app: App, pilot: P) -> Scale:
        return scale(app)

    return driven(folder.path, drive)


def test_marks_stand_where_points_are_and_shade_where_the_band_is(place: Path) -> None:
    """A single line on a chart whose cells are counted by hand."""
    table = curved.sensitive().filter(pl.col("direction") == "covariance")
    found = bands(table, "kl", ("L0.resid_pre", "END"), "median")
    frame = Frame(found, 41 + 2, 22)
    assert frame.margin == 2 and (frame.columns, frame.rows) == (41, 20)
    lines = drawn(found, 0, 50.0, 43, 22, theme(place)).plain.split("\n")[1:-1]
    assert (lines[0][:2], lines[-1][:2]) == ("3 ", "0 ")
    top, quarters = 3.0, 4 * 20 - 1
    for x in (0, 25, 50, 75, 100):
        y = 2 * (x / 100) ** 2
        row = round((1 - y / top) * quarters) // 4
        column = round(x / 100 * 40) + 2
        assert lines[row][column] == "●", (x, row)
    last = [row for row in range(20) if lines[row][-1:] == "░"]
    high, low = ((1 - y / top) * quarters for y in (3.0, 1.0))
    assert min(last) == 0 and all(high - 2.1 <= 4 * row + 1.5 <= low + 0.6 for row in last)
    assert lines[0][22] == "│"


def test_without_colour_marks_tell_lines_apart(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    text = driven(factored_run(Path("runs")).path, after(["b"]))
    for mark, direction in zip(MARKS, curved.DIRECTIONS, strict=False):
        assert f"{mark} {direction}" in text and text.count(mark) > 3


def test_the_mouse_goes_to_the_nearest_length(place: Path) -> None:
    folder = factored_run(Path("runs"))

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["b", "home"])
        chart = app.screen.query_one(BandChart)
        await pilot.click(BandChart, offset=(chart.size.width - 2, 4))
        await settled(app, pilot)
        assert chart.x == 100

    driven(folder.path, drive)


def test_a_threshold_without_a_curve_has_no_column() -> None:
    table = curved.sensitive().filter(pl.col("length").is_not_null())
    assert whole_columns(bands(table, "kl", ("L0.resid_pre", "END"))) == []


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("effect", []),
        ("median", ["v", "down", "down", "right", "right"]),
        ("regions", ["right_square_bracket", "v", "v"]),
    ],
)
def test_grid(
    name: str, keys: list[str], size: str, place: Path, request: pytest.FixtureRequest
) -> None:
    folder = factored_run(Path("runs"))
    found = driven(folder.path, after(["b", *keys]), SIZES[size])
    same(found, f"curves-{name}-{size}", request)


def test_text_from_data_stays_text(place: Path) -> None:
    folder = factored_run(Path("runs"))
    evil = "[red]x[/]\x1b[31m"
    table = curved.regions().with_columns(pl.lit(evil).alias("direction"))
    folder.write_table("regions", table.with_columns(pl.lit(evil).alias("unit")))

    async def drive(app: App, pilot: P) -> str:
        await typed(app, pilot, ["b", "right_square_bracket"])
        return grid(app)

    text = driven(folder.path, drive, (140, 50))
    assert "\x1b" not in text and "[red]x[/]" in text
