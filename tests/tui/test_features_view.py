"""The features of dictionaries on the screens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from textual.pilot import Pilot

import interp_dsl
from interp_dsl import check
from interp_dsl.runs.features import dictionaries, feature_units
from interp_dsl.runs.schema import score_table
from interp_dsl.tui.app import InterpApp
from interp_dsl.tui.screens.features import FeaturesScreen
from interp_dsl.tui.widgets.table import Table
from tests.runs import dictionaries as made
from tests.tui.fitted import begun, finished, fitting, left
from tests.tui.made import HOSTILE, Writer, done
from tests.tui.screens import SIZES, after, driven, grid, pane, typed, until
from tests.tui.test_grids import same

App = InterpApp
P = Pilot[int]


def features(app: App) -> FeaturesScreen:
    assert isinstance(app.screen, FeaturesScreen)
    return app.screen


def numbers(app: App) -> list[int]:
    """The features in the list, in order."""
    model = features(app).model
    assert model is not None
    return model.shown["feature"].to_list()


# ** grids **


SHOTS: dict[str, list[str]] = {
    "features-first": ["i"],
    "features-meaning": ["i", "down", "t"],
    "features-neighbours": ["i", "enter"],
    "features-density": ["i", "down", "t", "t"],
    "features-search": ["i", "slash", "'=", "enter"],
    "features-unread": ["i", "right_square_bracket", "right_square_bracket"],
    "features-training": ["r", "right_square_bracket", "enter"],
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shot", SHOTS)
def test_grid(shot: str, size: str, place: Path, request: pytest.FixtureRequest) -> None:
    folder = finished(Path("runs"))
    same(driven(folder.path, after(SHOTS[shot]), SIZES[size]), f"{shot}-{size}", request)


# ** the list **


def test_the_list_has_what_the_tables_have(place: Path) -> None:
    async def drive(app: App, pilot: P) -> list[str]:
        await typed(app, pilot, ["i"])
        assert numbers(app) == [0, 2, 5, 1, 3, 4]  # by maximum, those that never fire last
        return grid(app).splitlines()

    lines = driven(finished(Path("runs")).path, drive)
    (row,) = [line for line in lines if line.startswith("│›")]
    assert row.split()[1:7] == ["0", "25.0%", "2.000", "def", "1.000", "0.50"]


def test_sorting_by_density(place: Path) -> None:
    async def drive(app: App, pilot: P) -> list[int]:
        await typed(app, pilot, ["i", "right", "s"])
        return numbers(app)

    assert driven(finished(Path("runs")).path, drive)[:3] == [0, 2, 5]

    async def twice(app: App, pilot: P) -> list[int]:
        await typed(app, pilot, ["i", "right", "s", "s"])
        return numbers(app)

    assert driven(finished(Path("runs")).path, twice)[-3:] == [5, 2, 0]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2", [2]),
        ("0..2", [0, 2, 1]),
        ("def", [0]),
        ("=", [2]),
        ('"12"', [5]),
        ('" !"', [2]),
        ("zz", []),
    ],
)
def test_searching_by_number_or_token(place: Path, text: str, found: list[int]) -> None:
    async def drive(app: App, pilot: P) -> tuple[list[int], list[int]]:
        await typed(app, pilot, ["i", "slash"])
        app.screen.query_one("FilterBar Input").value = text  # type: ignore[attr-defined]
        await typed(app, pilot, ["enter"])
        searched = numbers(app)
        assert ("no feature passes" in pane(app, "contexts")) == (not searched)
        await typed(app, pilot, ["slash", "escape"])
        return searched, numbers(app)

    searched, everything = driven(finished(Path("runs")).path, drive)
    assert searched == found and len(everything) == 6


def test_marked_features_are_copied_as_units_that_the_language_takes(place: Path) -> None:
    async def drive(app: App, pilot: P) -> tuple[str, str]:
        await typed(app, pilot, ["i", "down", "y"])
        one = app.clipboard
        await typed(app, pilot, ["home", "space", "space", "y"])
        return one, app.clipboard

    one, two = driven(finished(Path("runs")).path, drive)
    assert (one, two) == ("sae[2]", "sae[0, 2]")
    for units in (one, two, feature_units("many[k=4]", [3, 5])):
        step = f"step off = ablate {units} with zero on held measure loss()"
        assert [d for d in check(f"{made.TEXT}\n{step}\n") if d.severity == "error"] == []


# ** one feature **


def test_contexts_have_their_token_marked_without_colour(place: Path) -> None:
    async def drive(app: App, pilot: P) -> str:
        await typed(app, pilot, ["i"])
        return grid(app)

    shown = driven(finished(Path("runs")).path, drive, (140, 50))
    for _, value, before, token, behind in made.CONTEXTS[0]:
        end = before.replace("\n", "⏎")[-6:]
        assert f"{end}«{token}»{behind}" in shown
        assert f"{value:.3f} " in shown
    marks = {line.index("«") for line in shown.splitlines() if "«" in line}
    assert len(marks) == 1
    assert "25.0% of 1,000 tokens" in shown
    assert "one of each of 2 equal parts" in shown


def test_a_dead_feature_and_the_histogram(place: Path) -> None:
    async def drive(app: App, pilot: P) -> tuple[str, str, str]:
        await typed(app, pilot, ["i"])
        histogram = pane(app, "density")
        await typed(app, pilot, ["end"])
        return histogram, pane(app, "density"), pane(app, "contexts")

    alive, dead, contexts = driven(finished(Path("runs")).path, drive, (140, 50))
    assert "3 features by density (log scale), 3 never fire" in alive
    assert "0.01%" in alive and "100%" in alive
    assert "▲" in alive and "▲" not in dead
    assert "it never fires on this data" in contexts


def test_what_was_not_recorded_is_said_with_the_step_that_would(place: Path) -> None:
    async def drive(app: App, pilot: P) -> list[str]:
        await typed(app, pilot, ["i", "right_square_bracket"])
        found = [pane(app, "contexts"), pane(app, "density")]
        await typed(app, pilot, ["right_square_bracket"])
        return [*found, pane(app, "contexts"), pane(app, "density")]

    few, density, *unread = driven(finished(Path("runs")).path, drive, (140, 50))
    example = "step many_examples = inspect features(many[k=4]) by examples() on held"
    assert few.endswith(example) and "2 features by density" in density
    assert unread[0].endswith("inspect features(many[k=16]) by examples() on seen")
    assert unread[1].endswith("inspect features(many[k=16]) by density() on seen")
    for said in (few, *unread):
        step = said.splitlines()[-1]
        assert [d for d in check(f"{made.TEXT}\n{step}\n") if d.severity == "error"] == []


def test_a_feature_that_the_examples_leave_out(place: Path) -> None:
    folder = finished(Path("runs"))
    held = {0: made.CONTEXTS[0]}
    made.examples(held).write_parquet(folder.path / "tables" / "fires.parquet")

    async def drive(app: App, pilot: P) -> str:
        await typed(app, pilot, ["i", "down"])
        return pane(app, "contexts")

    assert driven(folder.path, drive).endswith("inspect sae[2] by examples() on held")


def test_what_a_feature_writes_and_what_is_lost_without_it(place: Path) -> None:
    async def drive(app: App, pilot: P) -> tuple[str, str]:
        await typed(app, pilot, ["i"])
        first = pane(app, "meaning")
        await typed(app, pilot, ["end"])
        return first, pane(app, "meaning")

    first, last = driven(finished(Path("runs")).path, drive, (140, 50))
    lines = first.splitlines()
    assert lines[0].startswith("without it loss +0.0500 [+0.0100, +0.0900] · kl 0.0300 · 12 tokens")
    pairs = [line.split() for line in lines[2:5]]
    assert [(p[0], p[-2]) for p in pairs] == [
        ("+3.000", "-3.000"),
        ("+2.000", "-2.000"),
        ("+1.000", "-1.000"),
    ]
    assert [p[1] for p in pairs] == ["⏎", "日本", "def"]
    assert [line.split()[0] for line in lines[6:]] == ["1", "3", "2"]
    assert "cosine +0.75" in lines[6] and "jaccard +0.25" in lines[8] and "lift 3.0x" in lines[8]
    assert "by logits()" in last  # features 4 and 5 were not looked at


def test_what_other_steps_measured_is_told_too(place: Path) -> None:
    folder = finished(Path("runs"))
    step = "step off = ablate sae[0] with zero on held measure loss()"
    folder.write_plan(interp_dsl.plan(f"{made.TEXT}\n{step}\n"))
    row = {"unit": "sae[0]", "position": "all", "metric": "loss", "effect": 0.25}
    folder.write_table("off", score_table([row]))

    async def drive(app: App, pilot: P) -> tuple[str, str]:
        await typed(app, pilot, ["i"])
        first = pane(app, "meaning")
        await typed(app, pilot, ["down"])
        return first, pane(app, "meaning")

    first, second = driven(folder.path, drive, (140, 50))
    assert first.splitlines()[1] == "off: loss +0.2500" and "off" not in second


def test_going_to_a_neighbour_and_back(place: Path) -> None:
    async def drive(app: App, pilot: P) -> list[int]:
        await typed(app, pilot, ["i"])
        where = []

        def here() -> None:
            row = features(app).row()
            assert row is not None
            where.append(int(str(row["feature"])))

        await typed(app, pilot, ["enter", "down", "down", "enter"])
        here()
        await typed(app, pilot, ["enter", "enter"])
        here()
        for _ in range(2):
            await typed(app, pilot, ["b"])
            here()
        await typed(app, pilot, ["enter", "escape"])
        here()
        return where

    assert driven(finished(Path("runs")).path, drive) == [2, 3, 2, 0, 0]


def test_a_neighbour_that_the_search_hides_is_gone_to(place: Path) -> None:
    async def drive(app: App, pilot: P) -> tuple[int, list[int]]:
        await typed(app, pilot, ["i", "slash", "'0", "enter"])
        assert numbers(app) == [0]
        await typed(app, pilot, ["enter", "enter"])
        row = features(app).row()
        assert row is not None
        return int(str(row["feature"])), numbers(app)

    feature, shown = driven(finished(Path("runs")).path, drive)
    assert feature == 1 and len(shown) == 6


def test_features_without_neighbours_say_what_would_find_them(place: Path) -> None:
    async def drive(app: App, pilot: P) -> list[str]:
        await typed(app, pilot, ["i", "right_square_bracket", "enter", "b"])
        return [n.message for n in app._notifications]

    found, back = driven(finished(Path("runs")).path, drive)
    assert found.endswith("step many_nearest = inspect features(many[k=4]) by nearest()")
    assert "no jump" in back
    step = found.splitlines()[-1]
    assert [d for d in check(f"{made.TEXT}\n{step}\n") if d.severity == "error"] == []


# ** the view among the others **


def test_runs_without_dictionaries_have_no_such_tab(place: Path) -> None:
    async def drive(app: App, pilot: P) -> tuple[str, list[str]]:
        await typed(app, pilot, ["i"])
        notes = [n.message for n in app._notifications]
        return grid(app), notes

    shown, notes = driven(done(Path("runs")).path, drive)
    assert "Features" not in shown.splitlines()[1]
    assert notes == ["this run neither fits nor reads a dictionary"]


def test_before_anything_is_read_the_tab_says_what_would(place: Path) -> None:
    folder = fitting(Path("runs"))

    async def drive(app: App, pilot: P) -> tuple[str, list[str]]:
        await typed(app, pilot, ["i"])
        return grid(app), [n.message for n in app._notifications]

    try:
        shown, (note,) = driven(folder.path, drive)
    finally:
        left(folder)
    assert "i Features" in shown.splitlines()[1]
    (first, *_) = dictionaries(made.plan(), folder)
    assert note.endswith(first.remedy("examples"))


def test_the_view_follows_while_steps_end(place: Path) -> None:
    folder = begun(Path("runs"))
    made.write_tables(folder.path)
    (folder.path / "tables" / "fires.parquet").unlink()
    assert folder.acquire()
    tell = Writer(folder)
    tell("run_started", tasks=[{"id": "inspect:fires", "kind": "Inspect", "step": "fires"}])

    async def drive(app: App, pilot: P) -> tuple[str, str]:
        await typed(app, pilot, ["i"])
        before = pane(app, "contexts")
        made.examples().write_parquet(folder.path / "tables" / "fires.parquet")
        ended: dict[str, Any] = {"seconds": 1.0, "memory": None, "reused": False}
        tell("task_finished", task="inspect:fires", step="fires", **ended)
        await until(pilot, lambda: "«" in pane(app, "contexts"))
        return before, pane(app, "contexts")

    try:
        before, later = driven(folder.path, drive)
    finally:
        left(folder)
    assert "by examples() on held" in before and "«def»" in later


def test_nothing_in_the_data_breaks_the_screen(place: Path) -> None:
    folder = finished(Path("runs"))
    hostile = {i: [(None, 1.0, HOSTILE, HOSTILE, HOSTILE)] for i in range(3)}
    made.examples(hostile).write_parquet(folder.path / "tables" / "fires.parquet")

    async def drive(app: App, pilot: P) -> str:
        await typed(app, pilot, ["i"])
        app.screen.query_one("#features", Table).focus()
        return grid(app)

    for size in SIZES.values():
        shown = driven(folder.path, drive, size)
        assert "\x1b" not in shown and "\u202e" not in shown
        assert "[red]L0H0[/]" in shown
        assert all(len(line) <= size[0] for line in shown.splitlines())


def test_a_large_table_opens_and_exports(place: Path) -> None:
    folder = finished(Path("runs"))
    n = 4_096
    many = pl.concat(
        [
            made.examples({5: made.CONTEXTS[0]}).with_columns(feature=pl.lit(i, pl.Int64))
            for i in range(n)
        ]
    )
    many.write_parquet(folder.path / "tables" / "fires.parquet")
    made.density([0.001 + i / 1e5 for i in range(n)]).write_parquet(
        folder.path / "tables" / "often.parquet"
    )

    async def drive(app: App, pilot: P) -> list[int]:
        await typed(app, pilot, ["i", "slash", "'4000..4010", "enter", "e"])
        return numbers(app)

    assert driven(folder.path, drive) == [*range(4010, 3999, -1)]
    (path,) = Path.cwd().glob("*features-sae.csv")
    held = pl.read_csv(path)
    assert held["feature"].to_list() == [*range(4010, 3999, -1)]
    assert held["tokens"].to_list() == ["def"] * 11
