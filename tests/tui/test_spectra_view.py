"""Spectra: values at a direction, ablations and findings are those of the tables; the graph of
modules can be walked."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from interp_dsl.runs.bases import modules
from interp_dsl.tui.app import InterpApp
from interp_dsl.tui.screens.spectra import SpectraScreen
from interp_dsl.tui.widgets.listing import Listing
from interp_dsl.tui.widgets.modules import drawn
from tests.runs import curved
from tests.tui import viewed
from tests.tui.screens import SIZES, after, driven, typed
from tests.tui.test_curves_view import factored_run, theme
from tests.tui.test_grids import same

App = InterpApp
P = Pilot[int]


def spectra(app: App) -> SpectraScreen:
    assert isinstance(app.screen, SpectraScreen)
    return app.screen


def said(app: App) -> str:
    return str(app.screen.query_one("#readout", Static).content)


def findings(app: App) -> list[tuple[str, ...]]:
    held = app.screen.query_one("#found", Listing)
    return [held.item(i).texts for i in range(held.count)]


def test_every_direction_says_its_eigenvalues(place: Path) -> None:
    folder = factored_run(Path("runs"))

    async def drive(app: App, pilot: P) -> list[str]:
        await typed(app, pilot, ["n", "home"])
        found = []
        for _ in range(5):
            found.append(said(app))
            await pilot.press("right")
            await pilot.pause()
        return found

    for k, text in enumerate(driven(folder.path, drive)):
        assert text.startswith(f"direction {k + 1}   ● interaction {0.1**k:.4g}"), text
        assert f"▲ pca {0.5**k:.4g}" in text


def test_findings_are_those_of_the_place_and_of_all(place: Path) -> None:
    folder = factored_run(Path("runs"))

    async def drive(app: App, pilot: P) -> tuple[list[tuple[str, ...]], ...]:
        await typed(app, pilot, ["n"])
        first = findings(app)
        await typed(app, pilot, ["right_curly_bracket", "right_curly_bracket"])
        last = findings(app)
        await typed(app, pilot, ["right_square_bracket"])
        return first, last, findings(app)

    first, last, ranks = driven(folder.path, drive)
    assert ("modularity", "0.500", "0.375") in first and ("edges_required", "4", "100") in first
    assert last == [("modularity", "0.500", "0.375"), ("directions", "4", "5")]
    assert ("activation_rank", "4", "3", "·") in ranks


def test_ablations_and_modules_follow(place: Path) -> None:
    folder = factored_run(Path("runs"))

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["n", "v", "home", "right"])
        assert spectra(app).held.picture == "ablation"
        assert said(app).startswith("directions kept 2   ● interaction 1   ▲ pca 0.5")
        await typed(app, pilot, ["v"])
        assert spectra(app).held.names == list(curved.BASES)
        node = spectra(app).graph.node
        assert node == ("L0.resid_pre", 0)
        assert said(app).startswith("L0.resid_pre 0   module A   2 edges   ↑ L0.resid_mid 0: 1e+03")
        for key, wanted in (
            ("up", ("L0.resid_mid", 0)),
            ("right", ("L0.resid_mid", 1)),
            ("right", ("L0.resid_mid", 2)),
            ("down", ("L0.resid_pre", 2)),
            ("right", ("L0.resid_pre", 3)),
            ("right", ("L0.resid_pre", 3)),
        ):
            await typed(app, pilot, [key])
            assert spectra(app).graph.node == wanted, key
        assert "in no module" in said(app) and "1 edge " in said(app)
        await typed(app, pilot, ["v"])
        assert spectra(app).held.picture == "spectra"

    driven(folder.path, drive)


def test_letters_stand_in_their_places_and_strong_edges_are_dense(place: Path) -> None:
    """Two directions, one edge a pair: straight up, and every dot of the strongest is there."""
    one = curved.edges().filter(pl.col("source_k") == 0, pl.col("target_k") == 0)
    graph = modules(one, curved.modules(), "pca")
    lines = drawn(graph, None, 40, 9, theme(place)).plain.split("\n")
    margin = len("L0.resid_post") + 2
    assert [line[:margin].strip() for line in lines] == [
        "L0.resid_post", "", "", "", "L0.resid_mid", "", "", "", "L0.resid_pre",
    ]  # fmt: skip
    column = lines[0].index("A", margin)
    assert [line[column] for line in lines[::4]] == ["A", "A", "A"]
    assert all(line[column] in "⡇⢸" for i, line in enumerate(lines) if i % 4)


def test_a_graph_without_room_says_so(place: Path) -> None:
    graph = modules(curved.edges(), curved.modules(), "pca")
    assert drawn(graph, None, 12, 4, theme(place)).plain == "no room for the graph here"


def test_findings_are_written(place: Path) -> None:
    driven(factored_run(Path("runs")).path, after(["n", "e"]))
    (path,) = place.glob("*-bases.csv")
    held = pl.read_csv(path)
    row = held.filter(pl.col("finding") == "edges_required", pl.col("unit") == "L0.resid_mid")
    assert row.select("interaction", "pca").row(0) == (4, 100)


def test_a_run_without_factorings_says_so(place: Path) -> None:
    text = driven(viewed.viewed(Path("runs")).path, after(["n"]))
    assert "no step of factor has ended" in text


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("name", "keys"),
    [("spectra", []), ("ablation", ["v"]), ("modules", ["v", "v", "up"]), ("ranks", ["]"])],
)
def test_grid(
    name: str, keys: list[str], size: str, place: Path, request: pytest.FixtureRequest
) -> None:
    pressed = ["right_square_bracket" if key == "]" else key for key in keys]
    found = driven(factored_run(Path("runs")).path, after(["n", *pressed]), SIZES[size])
    same(found, f"spectra-{name}-{size}", request)
