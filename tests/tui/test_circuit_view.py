"""Circuit: the edges shown are the table's; cuts and turns by brute force; keys and mouse."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from textual.pilot import Pilot
from textual.widgets import Static

import interp_dsl
from interp_dsl.runs.circuit import Circuit, Fingerprint
from interp_dsl.runs.circuit_file import circuit_path
from interp_dsl.runs.circuit_table import KEY
from interp_dsl.runs.cuts import Curve, Point
from interp_dsl.runs.folder import RunFolder
from interp_dsl.tui.app import InterpApp
from interp_dsl.tui.screens.circuit import CircuitScreen
from interp_dsl.tui.screens.maps import MapsScreen
from interp_dsl.tui.screens.prompt import PromptScreen
from interp_dsl.tui.widgets.chart import plot
from interp_dsl.tui.widgets.graph import Graph
from interp_dsl.tui.widgets.listing import Listing
from interp_dsl.tui.widgets.slider import Slider
from tests.runs.circuits import INDUCTION, by_chance, circuit, table
from tests.tui import viewed
from tests.tui.made import HOSTILE
from tests.tui.screens import SIZES, after, driven, grid, settled, typed, until
from tests.tui.test_grids import same

App = InterpApp
P = Pilot[int]
Edge = tuple[str, str, str]


def screen(app: App) -> CircuitScreen:
    assert isinstance(app.screen, CircuitScreen)
    return app.screen


def graph(app: App) -> Graph:
    return app.screen.query_one(Graph)


def rows(app: App) -> list[tuple[str, ...]]:
    listing = app.screen.query_one(Listing)
    return [listing.item(row).texts for row in range(listing.count)]


def words(app: App) -> str:
    return app.screen.query_one(Slider).words


def found(root: Path, one: Circuit, step: str = "found") -> RunFolder:
    """A run whose one step found a circuit."""
    folder = viewed.bare(root)
    one.save(circuit_path(folder.path, step))
    folder.write_table(step, one.table)
    return viewed.ended(folder, step)


def test_every_node_has_its_edges(place: Path) -> None:
    folder = viewed.viewed(Path("runs"))
    effects = {edge[:3]: edge[3] for edge in INDUCTION}

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["c"])
        for node in ("logits", "L1.mlp", "L1H1", "L0H2", "embed", "pos_embed"):
            graph(app)._go(node)
            await pilot.pause()
            wanted = [
                (f"← {s}{f' {c}' if c in 'qkv' else ''}", effect)
                for (s, t, c), effect in effects.items()
                if t == node
            ]
            wanted += [
                (f"→ {t}{f' {c}' if c in 'qkv' else ''}", effect)
                for (s, t, c), effect in effects.items()
                if s == node
            ]
            shown = [(texts[0], float(texts[1])) for texts in rows(app)]
            assert sorted(shown) == sorted(wanted)
            into = [abs(value) for name, value in shown if name.startswith("←")]
            assert into == sorted(into, reverse=True)

    driven(folder.path, drive)


def test_edges_say_at_which_positions_they_stand(place: Path) -> None:
    edges = [("embed", "L0H0", "v", 1.0), ("embed", "L0H0", "v", -3.0), ("embed", "L0H0", "q", 2.0)]
    names = pl.Series("position", ["S1", "END", "S1"])
    folder = found(Path("runs"), circuit(table(edges).with_columns(names)))

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["c"])
        graph(app)._go("L0H0")
        await pilot.pause()
        assert [(texts[0], float(texts[1])) for texts in rows(app)] == [
            ("← embed v at S1, END", -3.0),
            ("← embed q at S1", 2.0),
        ]

    driven(folder.path, drive)


def test_arrows_walk_and_edges_are_gone_along(place: Path) -> None:
    folder = viewed.viewed(Path("runs"))

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["c"])
        assert graph(app).node == "logits"
        await typed(app, pilot, ["down", "down"])
        assert graph(app).node == "L1H1" and app.place.unit == "L1H1"
        await typed(app, pilot, ["tab", "enter"])  # the first edge: from L0H2, by keys
        assert graph(app).node == "L0H2"
        await typed(app, pilot, ["shift+tab", "down", "right", "left", "up"])
        assert graph(app).node == "L0H2"

    driven(folder.path, drive)


def test_a_head_of_the_circuit_is_where_maps_and_prompt_open(place: Path) -> None:
    folder = viewed.viewed(Path("runs"))

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["m", "c", "down", "down", "p"])
        assert isinstance(app.screen, PromptScreen) and app.screen.head == (1, 1)
        await typed(app, pilot, ["m"])
        assert isinstance(app.screen, MapsScreen) and app.screen.map.cursor == (1, 1)

    driven(folder.path, drive)


def test_a_click_on_a_node_looks_at_it(place: Path) -> None:
    folder = viewed.viewed(Path("runs"))

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["c"])
        for name in ("embed", "L1.mlp", "pos_embed"):
            lines = grid(app).splitlines()
            y, line = next((i, t) for i, t in enumerate(lines) if name in t[:46] and i > 2)
            await pilot.click(offset=(line.index(name) + 1, y))
            await settled(app, pilot)
            assert graph(app).node == name

    driven(folder.path, drive)


def test_the_slider_cuts_by_strength(place: Path) -> None:
    folder = viewed.viewed(Path("runs"))
    sizes = sorted(abs(effect or 0) for *_, effect in INDUCTION)

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["c"])
        for level in sizes:
            kept = {e[:3] for e in INDUCTION if abs(e[3] or 0) >= level}
            assert screen(app).shown() == kept
            assert words(app).startswith(f"|effect| ≥ {level:.3g} · {len(kept)} of 305 edges")
            await typed(app, pilot, ["."])
        await typed(app, pilot, [",", ","])
        assert len(screen(app).shown()) == 3

    driven(folder.path, drive)


def test_thresholds_of_a_search_with_their_faithfulness(place: Path) -> None:
    folder = viewed.viewed(Path("runs"))

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["c", "right_square_bracket"])
        assert words(app) == "threshold 0.02 · 9 of 305 edges · faithfulness 0.969"
        await typed(app, pilot, ["."])
        assert words(app) == "threshold 0.3 · 4 of 305 edges · faithfulness 0.750"
        assert screen(app).shown() == {e[:3] for e in INDUCTION if (e[3] or 0) > 0.3}
        slider = app.screen.query_one(Slider)
        start, _ = slider._line
        await pilot.click(slider, offset=(1 + start, 0))
        await settled(app, pilot)
        assert words(app).startswith("threshold 0.02")

    driven(folder.path, drive)


def test_the_search_is_replayed_turn_by_turn(place: Path) -> None:
    """A circuit of every third edge kept: after a turn those are there that were kept."""
    table = by_chance(3, 4, 24, 1).table.with_columns(kept=pl.int_range(pl.len()) % 3 == 0)
    one = circuit(table.with_columns(order=pl.Series(reversed(range(24)))))
    folder = found(Path("runs"), one)
    order = one.table.sort("order")

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["c", "t"])
        for turn in range(24):
            judged = order.head(turn + 1)
            kept = set(judged.filter("kept").select(KEY).iter_rows())
            assert screen(app).shown() == kept
            assert words(app) == f"{turn + 1} of 24 · {len(kept)} kept, {turn + 1 - len(kept)} out"
            source = order["source"][turn]
            assert str(app.screen.query_one("#said", Static).content).startswith(f"{source} -> ")
            await pilot.press("full_stop")
            await pilot.pause()
        await typed(app, pilot, ["t"])
        assert screen(app).shown() == set(one.edges.select(KEY).iter_rows())

    driven(folder.path, drive)


def test_a_replay_plays_to_its_end(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interp_dsl.tui.screens.circuit.PACE", 0.01)
    folder = viewed.viewed(Path("runs"))

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["c", "space"])
        await until(pilot, lambda: screen(app).turn == 8)
        assert len(screen(app).shown()) == 9

    driven(folder.path, drive)


def test_a_search_without_turns_says_so(place: Path) -> None:
    table = circuit(INDUCTION).table.with_columns(order=pl.lit(None, dtype=pl.Int64))
    folder = found(Path("runs"), circuit(table))
    text = driven(folder.path, after(["c", "t"]))
    assert "acdc judged no edge before another" in text


def test_a_large_circuit_stands_on_shelves_until_it_is_cut(place: Path) -> None:
    one = by_chance(12, 12, 400, 2)
    folder = found(Path("runs"), one)

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["c"])
        canvas = graph(app).canvas
        assert canvas is not None and not canvas.has_lines
        assert sorted(n for row in canvas.rows for n in row) == sorted(one.nodes)
        screen(app)._go(len(screen(app).found.cuts) - 8)
        await settled(app, pilot)
        canvas = graph(app).canvas
        assert canvas is not None and canvas.has_lines and len(screen(app).shown()) < 20

    driven(folder.path, drive, (140, 50))


def test_nothing_moves_while_edges_are_cut(place: Path) -> None:
    folder = viewed.viewed(Path("runs"))

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["c"])
        canvas = graph(app).canvas
        await typed(app, pilot, [".", "."])
        assert graph(app).canvas is canvas and len(screen(app).shown()) == 7

    driven(folder.path, drive)


def test_signs_and_weights_are_told_without_colour(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    edges = [("embed", "L0H0", "v", -1.0), ("L0H0", "logits", "logits", 0.9)]
    edges += [("embed", "L0H1", "v", 0.1), ("L0H1", "logits", "logits", -0.1)]
    text = driven(found(Path("runs"), circuit(edges)).path, after(["c"]))
    lines = [line[:46].strip() for line in text.splitlines()]
    assert "┣┄┄┄┄┄┄┄┄┄┄┄┄╮" in lines  # L0H1 to the logits: weak, below zero
    assert any(line.startswith("┏━━━━━━━━━┛") for line in lines)  # L0H0: strong
    assert "┗┅┅┅┅┅┅┅┅┅┅┅┅┳─────────╯" in lines  # strong below zero; weak above


def test_the_circuit_is_written_as_a_picture(place: Path) -> None:
    folder = viewed.viewed(Path("runs"))
    driven(folder.path, after(["c", "e"]))
    (path,) = place.glob("*.svg")
    assert path.read_text() == circuit(INDUCTION).to_svg()


def test_names_from_data_stay_text(place: Path) -> None:
    names = {"model": Fingerprint(HOSTILE, "ab" * 32), "metric": HOSTILE}
    text = driven(
        found(Path("runs"), circuit(INDUCTION, **names)).path, after(["c", "t"]), (140, 50)
    )
    assert "\x1b" not in text and "\u202e" not in text
    assert text.count("[red]L0H0[/]") == 3  # model and metric above, the metric at the chart


def test_a_circuit_without_edges(place: Path) -> None:
    folder = found(Path("runs"), circuit(table([("embed", "logits", "logits", 0.1)], kept=False)))
    text = driven(folder.path, after(["c", "down", "right", ".", "t", "t", "tab", "enter"]))
    assert "0 of 305 edges" in text and "no edges here" in text


def test_a_file_that_is_no_circuit_is_named(place: Path) -> None:
    folder = viewed.viewed(Path("runs"))
    circuit_path(folder.path, "circuit").write_text("{]")

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["c", ".", "t", "space", "e"])
        assert "this is no JSON" in grid(app) and "circuit.circuit.json" in grid(app)
        await typed(app, pilot, ["right_square_bracket"])
        assert words(app).startswith("threshold 0.02")

    driven(folder.path, drive, (140, 50))


SEARCHING = """model m = bundled("ioi-3l")
dataset d = task("ioi-3l", n=8)
step base = evaluate m on d measure logit_diff()
"""


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ("", "no step of this run searches for a circuit"),
        ("step few = search edges by acdc(0.1) from d.corrupt into d.clean measure logit_diff()",
         "no search has found a circuit yet"),
        ("step few = search heads by greedy(n=4) from zero into d.clean measure logit_diff()",
         "few searches nodes: its table says"),
    ],
)  # fmt: skip
def test_a_run_without_circuits_says_so(place: Path, step: str, told: str) -> None:
    folder = viewed.ended(viewed.bare(Path("runs")))
    folder.write_plan(interp_dsl.plan(f"{SEARCHING}{step}\n"))
    text = driven(folder.path, after(["c"]), (140, 50))
    assert told in " ".join(text.replace("│", " ").replace("▌", " ").replace("▐", " ").split())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("whole", ["down", "down"]),
        ("cut", [".", ".", "."]),
        ("thresholds", ["right_square_bracket", "."]),
        ("replay", ["t", ".", ".", "."]),
    ],
)
def test_grid(
    name: str, keys: list[str], size: str, place: Path, request: pytest.FixtureRequest
) -> None:
    folder = viewed.viewed(Path("runs"))
    same(driven(folder.path, after(["c", *keys]), SIZES[size]), f"circuit-{name}-{size}", request)


@pytest.mark.parametrize("size", SIZES)
def test_grid_of_shelves(size: str, place: Path, request: pytest.FixtureRequest) -> None:
    folder = found(Path("runs"), by_chance(12, 12, 400, 2))
    same(driven(folder.path, after(["c", "down"]), SIZES[size]), f"circuit-shelves-{size}", request)


# ---- the chart


def test_points_stand_where_their_numbers_say() -> None:
    curve = Curve((Point(0, 0.0), Point(5, 1.0), Point(10, 0.5)), "x", "y", "")
    cells = plot(curve, 5, 11, 5, 0.0, 1.0)
    assert cells[4][0] == "•" and cells[2][10] == "•"
    assert cells[0][5] == "●" and [line[5] for line in cells[1:]] == ["│"] * 4
    assert all(any(line[x] != " " for line in cells) for x in range(11))


def test_shares_and_thresholds_over_decades_stand_apart() -> None:
    curve = Curve(tuple(Point(x, x) for x in (0.001, 0.01, 1.0)), "x", "y", "")
    cells = plot(curve, None, 21, 3, 0.0, 1.0)
    columns = [x for x in range(21) for line in cells if line[x] == "•"]
    assert columns == [0, 10, 20]
