"""Effects of single pairs: on their tokens, and all pairs of a component sorted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from textual.pilot import Pilot
from textual.widgets import Static

import interp_dsl as interp
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.schema import score_table
from interp_dsl.runs.text import exact
from interp_dsl.tui.app import InterpApp
from interp_dsl.tui.screens.examples import ExamplesScreen
from interp_dsl.tui.screens.prompt import PromptScreen
from interp_dsl.tui.widgets.frame import FrameModel
from interp_dsl.tui.widgets.table import Table
from tests.tui import viewed
from tests.tui.screens import SIZES, driven, typed

App = InterpApp
P = Pilot[int]
TEXT = """
model   m = bundled("ioi-3l")
dataset ioi = task("ioi-3l", n=32, seed=0)
metric  gap = logit_diff()
step noising = patch heads at END from ioi.corrupt into ioi.clean measure gap, kl()
step other = patch heads at END from (ioi where index < 4).corrupt into (ioi where index < 4).clean
             measure gap
"""
KEPT = len(viewed.CLEAN)


def run(has_values: bool = True) -> tuple[RunFolder, NDArray[np.float32]]:
    """A run with all values of `noising`, and the effects of single pairs [rows, n]."""
    folder = viewed.bare(Path("runs"))
    folder.write_experiment(TEXT)
    folder.write_plan(interp.plan(TEXT))
    rows = viewed.heads()
    spread = np.random.default_rng(3).normal(size=(len(rows), viewed.N)).astype(np.float32)
    effects = np.array([r["effect"] for r in rows], dtype=np.float32)[:, None] + spread
    folder.write_table("noising", score_table(rows))
    folder.write_table("other", score_table(rows))
    if has_values:
        base = np.full_like(effects, 10.0)
        folder.write_tensors("noising", {"base": base, "value": base + effects})
    viewed.write_pairs(folder)
    return viewed.ended(folder, "noising", "other"), effects


def prompt(app: App) -> PromptScreen:
    assert isinstance(app.screen, PromptScreen)
    return app.screen


def said(app: App) -> str:
    return " ".join(str(app.screen.query_one("#effects", Static).content).split())


def dialog(app: App) -> tuple[ExamplesScreen, FrameModel]:
    assert isinstance(app.screen, ExamplesScreen)
    model = app.screen.query_one("#examples", Table).model
    assert isinstance(model, FrameModel)
    return app.screen, model


def below(app: App) -> str:
    return str(app.screen.query_one("#prompt", Static).content)


def test_a_pair_shows_its_own_effect_beside_the_mean(place: Path) -> None:
    folder, effects = run()
    rows = viewed.heads()

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["p"])
        layer = prompt(app).laid.layer
        assert layer is not None
        row = next(i for i, r in enumerate(rows) if (r["unit"], r["metric"]) == (layer.unit, "gap"))
        for example in (0, 1):
            shown = prompt(app).laid.shown(prompt(app).prompts()[0], example)
            assert shown[9].value == rows[row]["effect"], "the mean at END"
            assert f"{layer.unit} here {exact(rows[row]['effect'])}, mean of 32" in said(app)
            assert f"{layer.unit} {exact(effects[row, example])} in this pair" in said(app)
            await typed(app, pilot, ["v"])
            shown = prompt(app).laid.shown(prompt(app).prompts()[0], example)
            assert shown[9].value == pytest.approx(effects[row, example], abs=1e-5)
            await typed(app, pilot, ["v", "n"])

    driven(folder.path, drive)


def test_of_any_unit_the_largest_of_the_pair_is_shown(place: Path) -> None:
    folder, effects = run()
    rows = viewed.heads()
    gap = [i for i, row in enumerate(rows) if row["metric"] == "gap"]

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["p", "v"])
        prompt(app).laid.at = 0  # any unit's, of gap
        for example in range(KEPT):
            strongest = max(gap, key=lambda row: abs(effects[row, example]))
            shown = prompt(app).laid.shown(prompt(app).prompts()[0], example)
            assert shown[9].unit == rows[strongest]["unit"]
            assert shown[9].value == pytest.approx(effects[strongest, example], abs=1e-5)

    driven(folder.path, drive)


def test_steps_on_other_data_are_not_laid_on_these_tokens(place: Path) -> None:
    folder, _ = run()

    async def drive(app: App, pilot: P) -> set[str]:
        await typed(app, pilot, ["p"])
        return {layer.step for layer in prompt(app).laid.found}

    assert driven(folder.path, drive) == {"noising"}


def test_what_was_not_kept_is_said(place: Path) -> None:
    folder, _ = run(has_values=False)

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["p"])
        assert "noising keeps no values of single pairs" in said(app)
        await typed(app, pilot, ["v"])
        assert "mean of 32" in said(app), "the means stay"

    driven(folder.path, drive)


@pytest.mark.parametrize("keys", [["r"], ["m"], ["p"]])
def test_the_pairs_of_a_component_are_sorted_and_looked_at(keys: list[str], place: Path) -> None:
    folder, effects = run()
    rows = viewed.heads()
    gap = [i for i, row in enumerate(rows) if row["metric"] == "gap"]
    row = max(gap, key=lambda i: abs(rows[i]["effect"]))
    order = sorted(range(viewed.N), key=lambda i: -abs(effects[row, i]))

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, [*keys, "x" if keys == ["p"] else "enter"])
        screen, model = dialog(app)
        assert f"noising · {rows[row]['unit']} at END · gap" in str(
            screen.query_one("#box").border_title
        )
        assert model.shown["example"].to_list() == order
        np.testing.assert_allclose(model.shown["effect"], effects[row, order], atol=1e-5)
        table = screen.query_one("#examples", Table)
        unkept = next(at for at, example in enumerate(order) if example >= KEPT)
        table.go_to(unkept)
        await pilot.pause()
        assert "this prompt was not kept" in below(app) and "record resid_pre" in below(app)
        await typed(app, pilot, ["enter"])
        assert app.screen is screen, "there is nothing to look at"
        table.go_to(order.index(1))
        await pilot.pause()
        assert below(app) == "".join(viewed.WORDS[i] for i in viewed.CLEAN[1])
        await typed(app, pilot, ["enter"])
        assert prompt(app).example == 1 and prompt(app).laid.is_own
        layer = prompt(app).laid.layer
        assert layer is not None and layer.unit == rows[row]["unit"]
        assert f"{exact(effects[row, 1])} in this pair" in said(app)

    driven(folder.path, drive, SIZES["140x50"])


def test_the_line_that_would_keep_a_pair_is_said(place: Path) -> None:
    folder, _ = run()

    async def drive(app: App, pilot: P) -> str:
        await typed(app, pilot, ["r", "enter"])
        screen, model = dialog(app)
        table = screen.query_one("#examples", Table)
        table.go_to(model.shown["example"].to_list().index(7))
        await pilot.pause()
        await pilot.press("enter")
        await pilot.pause()
        return "\n".join(note.message for note in app._notifications)

    lines = driven(folder.path, drive).partition("\n")[2]
    assert lines.startswith("let number_7 = ioi where index == 7\nstep at_7 = patch heads at each")
    assert [d for d in interp.check(TEXT + lines) if d.severity == "error"] == []
