"""Maps: what a cell says is what its row says; map and table have one cursor; grids of any size."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.pilot import Pilot
from textual.widgets import Static

import interp_dsl as interp
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.schema import score_table
from interp_dsl.tui.app import InterpApp
from interp_dsl.tui.place import Place
from interp_dsl.tui.screens.maps import MapsScreen
from interp_dsl.tui.widgets.fit import Fit, fit
from interp_dsl.tui.widgets.scale import NO_VALUE, STEPS, glyph, levels, sign
from tests.tui import made, viewed
from tests.tui.made import HOSTILE
from tests.tui.screens import SIZES, after, driven, grid, settled, typed, until
from tests.tui.test_grids import same

App = InterpApp
P = Pilot[int]


def maps(app: App) -> MapsScreen:
    assert isinstance(app.screen, MapsScreen)
    return app.screen


def said(app: App, name: str) -> str:
    return str(app.screen.query_one(f"#{name}", Static).content)


def only(root: Path, *rows: dict[str, object]) -> RunFolder:
    """A run of one step with these scores."""
    folder = viewed.bare(root)
    folder.write_table("scores", score_table(list(rows)))
    return viewed.ended(folder, "scores")


def test_every_cell_says_what_its_row_says(place: Path) -> None:
    folder = viewed.viewed(Path("runs"))
    rows = [row for row in viewed.heads() if row["metric"] == "gap"]

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["m"])
        for layer, head in itertools.product(range(viewed.N_LAYERS), range(viewed.N_HEADS)):
            maps(app).map.cursor = layer, head
            await pilot.pause()
            row = rows[layer * viewed.N_HEADS + head]
            text = said(app, "readout")
            assert text.startswith(f"L{layer}H{head} at END   effect {row['effect']:+.4f}"[:-1])
            assert f"n {viewed.N}" in text
            bounds = [float(v) for v in text.partition("[")[2].partition("]")[0].split(", ")]
            np.testing.assert_allclose(bounds, [row["low"], row["high"]], atol=1e-3)

    driven(folder.path, drive)


def test_map_and_table_have_one_cursor(place: Path) -> None:
    folder = viewed.viewed(Path("runs"))
    rows = [row for row in viewed.heads() if row["metric"] == "gap"]
    ranked = sorted(rows, key=lambda row: -abs(row["effect"]))

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["m"])
        screen = maps(app)
        first = ranked[0]
        assert screen.map.cursor == (first["layer"], first["head"])  # opens on the largest
        screen.rows.focus()
        for row in ranked[1:]:
            await pilot.press("down")
            await pilot.pause()
            assert screen.map.cursor == (row["layer"], row["head"])
        screen.map.focus()
        await typed(app, pilot, ["home", "up", "up"])
        top = rows[0]
        assert screen.map.cursor == (0, 0)
        assert screen.rows.item(screen.rows.cursor).texts[0] == "L0H0 at END"
        assert screen.rows.cursor == ranked.index(top)
        assert app.place == Place("noising", "gap", "L0H0", "END")

    driven(folder.path, drive)


def test_a_click_on_a_cell_goes_there(place: Path) -> None:
    folder = viewed.viewed(Path("runs"))

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["m"])
        heat = maps(app).map
        width, height = heat.fitted.width, heat.fitted.height
        for row, column in ((2, 3), (0, 1)):
            offset = (1 + 3 + column * width + width // 2, 1 + row * height)
            await pilot.click(heat, offset=offset)
            await pilot.pause()
            assert heat.cursor == (row, column)

    driven(folder.path, drive)


def test_a_row_that_was_chosen_in_the_table_is_where_the_map_opens(place: Path) -> None:
    folder = viewed.viewed(Path("runs"))

    async def drive(app: App, pilot: P) -> None:
        app.place = Place("noising", "kl", "L1H2", "END")
        await typed(app, pilot, ["m"])
        assert maps(app).map.cursor == (1, 2) and maps(app).atlas.metric == "kl"
        app.place = Place("stream", "gap", "L2.resid_post", "S2")
        await typed(app, pilot, ["w", "m"])
        assert maps(app).atlas.step == "stream" and maps(app).map.cursor == (2, 0)

    driven(folder.path, drive)


def test_steps_metrics_and_values(place: Path) -> None:
    folder = viewed.viewed(Path("runs"))

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["m"])
        atlas, heat = maps(app).atlas, maps(app).map
        assert atlas.steps == ["noising", "stream", "circuit", "sizes"]
        await typed(app, pilot, ["."])
        assert (atlas.metric, atlas.step) == ("kl", "noising")
        await typed(app, pilot, ["v"])
        assert atlas.column == "normalized" and "normalized of kl" in said(app, "legend")
        await typed(app, pilot, ["right_square_bracket"])
        assert heat.grid is not None and heat.grid.title == "layer × position resid_post"
        np.testing.assert_allclose(heat.grid.values[:, 1] * -12, [0.5, -3.5, -7.5])
        await typed(app, pilot, ["right_square_bracket", "right_square_bracket"])
        assert heat.grid.title == "reader × sender threshold=0.02"
        await typed(app, pilot, ["f"])
        assert heat.grid.title == "reader × sender threshold=0.3"

    driven(folder.path, drive)


def test_the_rows_are_written_as_they_are_ranked(place: Path) -> None:
    folder = viewed.viewed(Path("runs"))

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["m", "e"])

    driven(folder.path, drive)
    (path,) = place.glob("*.csv")
    held = pl.read_csv(path)
    rows = [row for row in viewed.heads() if row["metric"] == "gap"]
    assert held["effect"].to_list() == sorted((r["effect"] for r in rows), key=lambda e: -abs(e))


def test_a_step_that_ends_meanwhile_can_be_chosen(place: Path) -> None:
    folder = only(Path("runs"), *viewed.heads()[:12])

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["m", "right", "right"])
        here = maps(app).map.cursor
        folder.write_table("later", score_table(viewed.stream()))
        maps(app).on_run_events([{"event": "task_finished", "time": 0}])
        await settled(app, pilot)
        assert maps(app).atlas.steps == ["scores", "later"]
        assert maps(app).atlas.step == "scores" and maps(app).map.cursor == here

    driven(folder.path, drive)


def test_the_cells_of_a_running_step_fill_as_its_shards_finish(place: Path) -> None:
    folder = made.running(Path("runs"))
    folder.write_plan(interp.plan(made.TEXT))
    tell = made.Writer(folder)
    tell.now = made.START + 10
    effects = np.array([row["effect"] for row in made.scores()[:8]]).reshape(2, 4)

    def shown(app: App) -> np.ndarray:
        grid = maps(app).atlas.grid
        assert grid is not None and grid.shape == (2, 4), "the whole map from the beginning on"
        return grid.values

    async def shard(app: App, pilot: P, number: int) -> None:
        made.write_shard(folder, number)
        tell("top", step="noising", rows=[])
        there = f"so far, {4 * number + 4} of 16"  # two heads a shard, two metrics
        await until(pilot, lambda: there in grid(app))

    async def drive(app: App, pilot: P) -> None:
        made.write_shard(folder, 0)  # L0H0, L0H1
        await typed(app, pilot, ["m"])
        assert maps(app).map.cursor == (0, 0) and "so far, 4 of 16" in grid(app)
        np.testing.assert_array_equal(shown(app)[0, :2], effects[0, :2])
        assert np.isfinite(shown(app)).sum() == 2 and maps(app).rows.count == 2
        await typed(app, pilot, ["right", "down"])
        assert said(app, "readout") == "L1H1   not measured yet"
        await shard(app, pilot, 1)  # L0H2, L0H3
        assert maps(app).map.cursor == (1, 1), "the cursor stays where it was put"
        np.testing.assert_array_equal(shown(app)[0], effects[0])
        await shard(app, pilot, 2)  # L1H0, L1H1
        assert said(app, "readout").startswith("L1H1   effect -7.80")
        made.write_noising(folder)
        folder.drop_parts("noising")
        tell("task_finished", task="sweep:noising", step="noising", seconds=9.0, reused=False)
        await until(pilot, lambda: "so far" not in grid(app))
        np.testing.assert_array_equal(shown(app), effects)
        assert maps(app).map.cursor == (1, 1) and maps(app).rows.count == 8

    try:
        driven(folder.path, drive)
    finally:
        folder.release("done")


def test_a_run_whose_steps_have_no_places(place: Path) -> None:
    row = {"unit": "model", "position": "all", "metric": "gap", "value": 1.0}
    folder = only(Path("runs"), row)
    assert "no step has scores that make a picture" in driven(folder.path, after(["m"]))


def large(root: Path, n_layers: int, n_heads: int) -> tuple[RunFolder, np.ndarray]:
    """A run with as many heads, and their effects."""
    effects = np.random.default_rng(0).normal(size=(n_layers, n_heads))
    layer, head = (at.ravel() for at in np.indices(effects.shape))
    places = {"layer": layer, "head": head, "effect": effects.ravel()}
    names = [f"L{a}H{b}" for a, b in zip(layer, head, strict=True)]
    table = pl.DataFrame({"unit": names, **places, "position": "all", "metric": "gap"})
    more = score_table([]).select(pl.exclude(table.columns))
    folder = viewed.bare(root)
    folder.write_table("scores", pl.concat([table, more], how="diagonal"))
    return viewed.ended(folder, "scores"), effects


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", [(48, 64), (200, 128)])
def test_large_grids_scroll_to_the_cursor(shape: tuple[int, int], size: str, place: Path) -> None:
    folder, effects = large(Path("runs"), *shape)

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["m"])
        heat = maps(app).map
        last = shape[0] - 1, shape[1] - 1
        for layer, head in ((0, 0), last, (shape[0] // 2, 0), (0, last[1])):
            heat.cursor = layer, head
            await settled(app, pilot)
            assert said(app, "readout").startswith(f"L{layer}H{head}   effect")
            value = float(said(app, "readout").split()[2])
            assert value == pytest.approx(effects[layer, head], abs=5e-4)
            lines = grid(app).splitlines()
            assert any(line.lstrip().startswith(f"L{layer} ") for line in lines)
            heads = next(line for line in lines if "unit" in line).partition("unit")[0].split()
            assert str(head) in heads

    driven(folder.path, drive, SIZES[size])


def test_without_colour_signs_and_shades_tell(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A map of one column for each shade on both sides of zero, read off the screen."""
    monkeypatch.setenv("NO_COLOR", "1")
    rows = viewed.heads()[:12]
    for row, effect in zip(rows, (-8, -5, -2.5, -0.5, 0.5, 2.5, 5, 8, 0, 0, 0, 0), strict=True):
        row |= {"effect": float(effect), "low": None, "high": None}
    folder = only(Path("runs"), *rows)

    async def drive(app: App, pilot: P) -> str:
        await typed(app, pilot, ["m"])
        heat = maps(app).map
        heat.styles.width = 20
        await settled(app, pilot)
        heat.cursor = (2, 3)
        await settled(app, pilot)
        return grid(app)

    lines = [line for line in driven(folder.path, drive).splitlines() if line.startswith(" L")]
    assert [line[:16].split()[:5] for line in lines[:2]] == [
        ["L0", "−#", "−≡", "−=", "−-"],
        ["L1", "+░", "+▒", "+▓", "+█"],
    ]
    assert "▌·▐" in lines[2]


def test_text_from_data_stays_text(place: Path) -> None:
    rows = viewed.heads()
    for row in rows:
        row["position"], row["metric"] = f"{HOSTILE} at", f"[bold]{row['metric']}"
    folder = only(Path("runs"), *rows)
    text = driven(folder.path, after(["m"]), (140, 50))
    assert "\x1b" not in text and "\u202e" not in text
    assert "[bold]gap" in text and "[red]L0H0[/]" in text


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("keys", [[], ["right_square_bracket"], ["right_square_bracket"] * 2])
def test_grid(keys: list[str], size: str, place: Path, request: pytest.FixtureRequest) -> None:
    folder = viewed.viewed(Path("runs"))
    found = driven(folder.path, after(["m", *keys]), SIZES[size])
    same(found, f"maps-{len(keys)}-{size}", request)


# ---- colours and sizes


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.floats(1e-3, 1e6))
def test_levels_keep_sign_and_order(values: list[float], limit: float) -> None:
    ordered = sorted(values)
    found = levels(np.array(ordered), limit).tolist()
    assert found == sorted(found)
    assert all(-STEPS <= level <= STEPS for level in found)
    assert all(level * value >= 0 for level, value in zip(found, ordered, strict=True))
    for value, level in zip(ordered, found, strict=True):
        assert level != 0 or abs(value) < 0.01 * limit
        assert abs(level) == STEPS or abs(value) < limit


def test_what_is_missing_has_a_level_of_its_own() -> None:
    found = levels(np.array([np.nan, np.inf, 0.0]), 1.0)
    assert found.tolist() == [NO_VALUE, NO_VALUE, 0]
    assert levels(np.array([0.0, 1.0]), 0.0).tolist() == [0, 0]


def test_a_glyph_tells_sign_and_size() -> None:
    shown = [glyph(level) for level in range(-STEPS, STEPS + 1)]
    assert "".join(dict.fromkeys(shown)) == "#≡=-·░▒▓█"
    assert [sign(level) for level in (-3, 0, 3, NO_VALUE)] == ["−", "·", "+", " "]


@pytest.mark.parametrize(
    ("shape", "room", "wanted"),
    [
        ((3, 4), (15, 44), Fit("numbers", 10, 3)),
        ((12, 12), (15, 44), Fit("signs", 3)),
        ((12, 12), (40, 84), Fit("numbers", 7, 3)),
        ((12, 12), (30, 61), Fit("signs", 5, 2)),
        ((48, 64), (40, 84), Fit("half", 1)),
        ((48, 64), (15, 44), Fit("half", 1)),
        ((200, 128), (40, 84), Fit("half", 1)),
        ((0, 4), (15, 44), Fit("signs", 3)),
    ],
)
def test_cells_are_as_large_as_fits(
    shape: tuple[int, int], room: tuple[int, int], wanted: Fit
) -> None:
    assert fit(shape, room, 6) == wanted


@given(
    st.tuples(st.integers(1, 300), st.integers(1, 300)),
    st.tuples(st.integers(1, 60), st.integers(1, 200)),
    st.integers(4, 9),
    st.booleans(),
)
def test_what_has_room_is_not_scrolled(
    shape: tuple[int, int], room: tuple[int, int], digits: int, packs: bool
) -> None:
    found = fit(shape, room, digits, packs)
    lines, characters = found.lines(shape[0]), found.width * shape[1]
    if shape[1] <= room[1]:
        assert characters <= room[1]
    if (shape[0] if not packs else (shape[0] + 1) // 2) <= room[0] and shape[1] <= room[1]:
        assert lines <= room[0]
    assert packs or found.inside != "half"
