"""Samples: the plain text, the steered one and its control beside each other, prompt by prompt."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.schema import TEXT_COLUMNS, polars_types, score_table
from interp_dsl.tui.app import InterpApp
from interp_dsl.tui.place import Place
from interp_dsl.tui.screens.samples import SamplesScreen
from interp_dsl.tui.widgets.listing import Listing
from interp_dsl.tui.widgets.panes import Pane
from tests.runs.writing import WHEN, WRITTEN, written
from tests.tui.made import HOSTILE
from tests.tui.screens import SIZES, after, driven, grid, typed
from tests.tui.test_grids import same

App = InterpApp
P = Pilot[int]


def samples(app: App) -> SamplesScreen:
    assert isinstance(app.screen, SamplesScreen)
    return app.screen


def run(step: str = "spoken", **more: tuple[str, ...]) -> RunFolder:
    """The run of `tests.runs.writing`, and of one more step's texts where they are given."""
    folder = written(Path("runs"), step)
    folder.write_experiment('model m = bundled("text-1l-512")\n')
    if more:
        rows = [
            {"prompt": i, "under": under, "before": "", "text": text, "n": 1}
            | {"logprob": -1.0, "own_logprob": -1.0, "kl": 0.0}
            for under, texts in more.items()
            for i, text in enumerate(texts)
        ]
        folder.write_table("other.texts", pl.DataFrame(rows, polars_types(TEXT_COLUMNS)))
        score = {"unit": "model", "position": "all", "metric": "kl", "value": 0.0}
        scores = [score | {"under": under} for under in more]
        folder.write_table("other", score_table(scores, {"under": "text"}))
        folder.finish_step("other", "key")
    folder.update_manifest(status="done")
    return folder


def shown(app: App) -> dict[str, str]:
    """The panes in sight, by title, with the text of the first prompt."""
    panes = [p for p in app.screen.query("#texts Pane").results(Pane) if p.display]
    return {str(p.border_title): str(p.query_one(Static).content) for p in panes}


def test_plain_steered_and_control_stand_beside_each_other(place: Path) -> None:
    folder = run()

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["S"])
        for number in (0, 1, 0):
            for under, texts in WRITTEN.items():
                assert shown(app)[under] == f"prompt {number}: {texts[number]}"
            assert [*shown(app)] == ["plain", "happy", "random(happy)"]
            assert f"{number + 1}/2" in grid(app)
            await typed(app, pilot, ["n"])

    driven(folder.path, drive)


def test_what_the_plain_text_has_not_is_underlined(place: Path) -> None:
    folder = run()

    async def drive(app: App, pilot: P) -> list[str]:
        await typed(app, pilot, ["S"])
        lines = app.screen._compositor.render_strips()
        return [s.text.strip() for line in lines for s in line if s.style and s.style.underline]

    assert driven(folder.path, drive) == ["danced", "!", "It"]


@pytest.mark.parametrize("size", SIZES)
def test_several_prompts_stand_below_each_other_where_there_is_room(size: str, place: Path) -> None:
    folder = run()

    async def drive(app: App, pilot: P) -> dict[str, str]:
        await typed(app, pilot, ["S"])
        return shown(app)

    found = driven(folder.path, drive, SIZES[size])
    for under, texts in WRITTEN.items():
        assert (f"prompt 1: {texts[1]}" in found[under]) == (size == "140x50")
        lines = [text.split("\n") for text in found.values()]
        assert len({*map(len, lines)}) == 1, "as high as those beside them"


def test_steps_and_interventions_are_chosen(place: Path) -> None:
    folder = run(**{"plain": ("x",), "up": ("y",), "down": ("z",), "random(up)": ("w",)})

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["S", "right_square_bracket"])
        assert shown(app) == {"plain": "x", "up": "y", "random(up)": "w"}
        await typed(app, pilot, ["full_stop"])
        assert shown(app) == {"plain": "x", "down": "z"}
        means = app.screen.query_one("#means", Listing)
        means.focus()
        assert means.item(means.cursor).texts[0] == "down"
        await typed(app, pilot, ["down"])  # random(up)
        assert shown(app) == {"plain": "x", "up": "y", "random(up)": "w"}
        assert means.item(means.cursor).texts[0] == "random(up)"
        app.place = Place("spoken")
        await typed(app, pilot, ["w", "S"])
        assert [*shown(app)] == [*WRITTEN]

    driven(folder.path, drive, SIZES["140x50"])


def test_a_run_that_generates_nothing_has_no_such_view(place: Path) -> None:
    folder = RunFolder.create(Path("runs"), "x", WHEN)
    assert "Samples" not in driven(folder.path, after([]), SIZES["140x50"])


def test_text_from_data_stays_text(place: Path) -> None:
    folder = run(plain=(HOSTILE,), up=(f"{HOSTILE} and more",))
    found = driven(folder.path, after(["S", "right_square_bracket"]), SIZES["140x50"])
    assert "\x1b" not in found and "\u202e" not in found
    assert "[red]L0H0[/]" in found and "[@click=app.quit]x[/] and more" in found


def test_texts_are_exported(place: Path) -> None:
    folder = run()
    driven(folder.path, after(["S", "e"]))
    (path,) = place.glob("*.csv")
    assert pl.read_csv(path)["text"].to_list() == [t for texts in WRITTEN.values() for t in texts]


@pytest.mark.parametrize("size", SIZES)
def test_grid(size: str, place: Path, request: pytest.FixtureRequest) -> None:
    folder = run()
    found = driven(folder.path, after(["S"]), SIZES[size])
    same(re.sub(r"x-\d+-\d+", "run", found), f"samples-{size}", request)
