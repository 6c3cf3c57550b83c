"""Relations: the lists are the neighbours of the tables, and keys walk from feature to feature;
planes: the point looked at is that of the table."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from interp_dsl.plan.tasks import Plan
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.planes import pictures
from interp_dsl.tui.app import InterpApp
from interp_dsl.tui.screens.planes import PlanesScreen
from interp_dsl.tui.screens.relations import RelationsScreen
from interp_dsl.tui.widgets.listing import Listing
from interp_dsl.tui.widgets.plane import drawn
from tests.runs import related
from tests.tui import viewed
from tests.tui.screens import SIZES, after, driven, typed
from tests.tui.test_grids import same

App = InterpApp
P = Pilot[int]


def related_run(root: Path) -> RunFolder:
    folder = RunFolder.create(root, "related", viewed.WHEN)
    folder.write_experiment("# made by hand\n")
    folder.write_plan(Plan(()))
    folder.write_table("graph.pairs", related.pairs())
    folder.write_table("graph.communities", related.communities())
    folder.write_table("ways.planes", related.planes())
    return viewed.ended(folder, "graph", "ways")


def lists(app: App) -> dict[str, list[tuple[str, str]]]:
    """Letter and number of every row."""
    found = {name: app.screen.query_one(f"#{name}", Listing) for name in ("below", "here", "above")}
    return {
        name: [(one.item(i).texts[0], one.item(i).texts[1]) for i in range(one.count)]
        for name, one in found.items()
    }


def said(app: App) -> str:
    return str(app.screen.query_one("#readout", Static).content)


def test_keys_walk_from_feature_to_feature(place: Path) -> None:
    folder = related_run(Path("runs"))

    async def drive(app: App, pilot: P) -> list[object]:
        await typed(app, pilot, ["a"])
        assert isinstance(app.screen, RelationsScreen)
        found: list[object] = [lists(app)]
        await typed(app, pilot, ["right", "enter"])
        found += [lists(app), app.screen.held.node]
        await typed(app, pilot, ["left", "enter"])
        found += [app.screen.held.node]
        await typed(app, pilot, ["backspace", "backspace", "right_curly_bracket", "down"])
        found += [app.screen.held.node, said(app), lists(app)]
        await typed(app, pilot, ["full_stop", "full_stop"])
        found += [app.screen.held.measure, lists(app)]
        return found

    start, up, there, down, other, text, around, measure, by = driven(folder.path, drive)
    assert start == {
        "below": [],
        "here": [("A", "1"), ("B", "2")],
        "above": [("A", "4"), ("B", "5")],
    }
    assert there == ("L1.resid_post", 4) and down == ("L0.resid_post", 1)
    assert up == {"below": [("A", "1")], "here": [("A", "4"), ("B", "5")], "above": [("A", "7")]}
    assert other == ("L1.resid_post", 5)
    assert "community B of 2" in str(text) and "pearson 0.300" in str(text)
    assert around == {
        "below": [("B", "2"), ("A", "1")],
        "here": [("A", "4"), ("B", "5")],
        "above": [("·", "8")],
    }
    assert measure == "jaccard"
    assert by == {
        "below": [("A", "1"), ("B", "2")],
        "here": [("B", "5"), ("A", "4")],
        "above": [("·", "8")],
    }


def test_the_graph_opens_a_feature(place: Path) -> None:
    folder = related_run(Path("runs"))

    async def drive(app: App, pilot: P) -> tuple[object, object]:
        await typed(app, pilot, ["a", "v", "up", "up"])
        seen = app.screen.graph.node  # type: ignore[attr-defined]
        await typed(app, pilot, ["enter"])
        return seen, app.screen.held.node  # type: ignore[attr-defined]

    seen, opened = driven(folder.path, drive)
    assert seen == opened == ("L2.resid_post", 7)


def test_a_point_of_a_plane_says_what_the_table_holds(place: Path) -> None:
    folder = related_run(Path("runs"))

    async def drive(app: App, pilot: P) -> list[str]:
        await typed(app, pilot, ["z"])
        assert isinstance(app.screen, PlanesScreen)
        await typed(app, pilot, ["home", "down", "down", "down"])
        found = [said(app)]
        await typed(app, pilot, ["up", "right", "right", "right_curly_bracket"])
        return [*found, said(app), app.screen.pictures[app.screen.at].title]

    corner, inner, title = driven(folder.path, drive)
    assert corner.startswith("along -0.25, across -0.25   alike to a 1.00 b 0.00 c 0.00")
    assert inner.startswith("along 0.75, across 0.25   alike to a 0.00 b 0.50 c 0.25   nearest b")
    assert "next ·down" in inner and "·up 50.0%" in inner
    assert title == "L0.resid_post at last, prompt 1"


def test_half_blocks_have_the_colours_of_two_points(place: Path) -> None:
    picture = pictures(related.planes())[0]
    text = drawn(picture, (9, 9), 8, 4, coloured=True)
    lines = text.split("\n")
    assert [line.plain for line in lines] == ["▀" * 8] * 4
    spans = {(line, span.start): span.style for line, t in enumerate(lines) for span in t.spans}
    for row, column in ((0, 0), (1, 3), (3, 2)):  # from the top; each point is two by two halves
        style = spans[row, 2 * column]
        expected = picture.pixels[3 - row][column].colour
        assert tuple(style.color.triplet) == expected  # type: ignore[union-attr]
        assert tuple(style.bgcolor.triplet) == expected  # type: ignore[union-attr]
    plain = drawn(picture, (0, 0), 16, 4, coloured=False).plain.split("\n")
    assert [row.split() for row in plain] == [
        [p.nearest if (3 - i, j) != (0, 0) else "◆" for j, p in enumerate(row)]
        for i, row in enumerate(reversed(picture.pixels))
    ]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "shot", [("relations", ["a"]), ("relations-graph", ["a", "v"]), ("planes", ["z"])]
)
def test_grid(
    shot: tuple[str, list[str]], size: str, place: Path, request: pytest.FixtureRequest
) -> None:
    folder = related_run(Path("runs"))
    same(driven(folder.path, after(shot[1]), SIZES[size]), f"{shot[0]}-{size}", request)
