"""Dictionaries on the screens: their training as it goes and after, their features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from interp_dsl import check
from interp_dsl.runs.features import dictionaries, feature_units
from interp_dsl.runs.folder import RunFolder
from interp_dsl.tui.app import InterpApp
from interp_dsl.tui.screens.features import FeaturesScreen
from interp_dsl.tui.widgets.panes import Pane
from interp_dsl.tui.widgets.table import Table
from tests.runs import dictionaries as made
from tests.tui import viewed
from tests.tui.made import HOSTILE, Writer, done
from tests.tui.screens import SIZES, after, driven, grid, settled, typed
from tests.tui.test_grids import same

App = InterpApp
P = Pilot[int]
STEPS = ("sae", "many", "fires", "often", "rare")


def begun(root: Path) -> RunFolder:
    folder = viewed.bare(root, "dictionaries")
    folder.write_experiment(made.TEXT)
    folder.write_plan(made.plan())
    return folder


def finished(root: Path) -> RunFolder:
    """A run that has fitted and read its dictionaries."""
    folder = begun(root)
    made.write_tables(folder.path)
    return viewed.ended(folder, *STEPS)


def fitting(root: Path, points: int = made.STEPS) -> RunFolder:
    """A run that is at its second fit; the process is this one: release it."""
    folder = begun(root)
    assert folder.acquire()
    folder.update_manifest(pid=4242, host="gpu-07")
    tell = Writer(folder)
    tasks = [{"id": f"fit:{s}", "kind": "Fit", "step": s, "total": 4096} for s in ("sae", "many")]
    tell("run_started", tasks=tasks, resumed=False)
    for step, labels, end in (("sae", (None,), made.STEPS), ("many", ("k=4", "k=16"), points)):
        tell("task_started", task=f"fit:{step}", step=step, total=4096)
        for row in made.points(labels, end):
            told = {"at" if k == "step" else k: v for k, v in row.items()}
            tell("fit", step=step, total=made.STEPS, **told)
            tell("progress", task=f"fit:{step}", done=row["tokens"], total=4096)
        if step == "sae":
            ended = {"seconds": 2.0, "memory": 48_000_000, "reused": False}
            tell("task_finished", task="fit:sae", step="sae", **ended)
    return folder


def left(folder: RunFolder) -> None:
    folder.log.close()
    folder._lock.release()


def features(app: App) -> FeaturesScreen:
    assert isinstance(app.screen, FeaturesScreen)
    return app.screen


def pane(app: App, name: str) -> str:
    return str(app.screen.query_one(f"#{name}", Pane).query_one(Static).content)


def numbers(app: App) -> list[int]:
    """The features in the list, in order."""
    model = features(app).model
    assert model is not None
    return model.shown["feature"].to_list()


# ** grids **


SHOTS: dict[str, list[str]] = {
    "features-first": ["i"],
    "features-density": ["i", "down", "t"],
    "features-search": ["i", "slash", "'=", "enter"],
    "features-unread": ["i", "right_square_bracket", "right_square_bracket"],
    "features-training": ["r", "right_square_bracket", "enter"],
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shot", SHOTS)
def test_grid(shot: str, size: str, place: Path, request: pytest.FixtureRequest) -> None:
    folder = finished(Path("runs"))
    same(driven(folder.path, after(SHOTS[shot]), SIZES[size]), f"{shot}-{size}", request)


@pytest.mark.parametrize("size", SIZES)
def test_grid_while_it_fits(size: str, place: Path, request: pytest.FixtureRequest) -> None:
    folder = fitting(Path("runs"), 5)
    try:
        found = driven(folder.path, after([]), SIZES[size])
    finally:
        left(folder)
    same(found, f"watch-fitting-{size}", request)


# ** training **


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
        for _ in range(100):
            await pilot.pause(0.05)
            await settled(app, pilot)
            if "0.300" in pane(app, "curves"):
                break
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
        for _ in range(100):
            await pilot.pause(0.05)
            await settled(app, pilot)
            if "«" in pane(app, "contexts"):
                break
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
