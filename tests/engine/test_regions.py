"""Curves from end to end of a path, of planted plateaus and borders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from interp_dsl.geometry import directions
from interp_dsl.plan.algebra import (
    FromRun,
    Metric,
    Resample,
)
from interp_dsl.plan.paths import (
    Between,
    Toward,
)
from interp_dsl.plan.paths import Path as Way
from interp_dsl.plan.places import Positions, Site
from interp_dsl.plan.tasks import Regions, Variant

from .curving import DISTANCE, plan, unit
from .plans import CLEAN, CORRUPT, run
from .planted import Plateaus, prompts


def regions(
    model: Plateaus,
    tmp_path: Path,
    *ways: Way,
    rounds: int = 8,
    floor: float = 1e-2,
    metrics: tuple[Metric, ...] = (DISTANCE,),
    data: Any = None,
) -> Any:
    return run(
        plan(
            *(ways or (Between("line", (CLEAN, CORRUPT)),)),
            units=(unit(Site("resid_post", 0), Positions("last")),),
            lengths=tuple(i / 20 for i in range(21)),
            scale="own",
            metrics=metrics,
            curves=Regions(rounds, floor=floor),
            variants=(
                Variant(CLEAN, None, (("side", "clean"),)),
                Variant(CORRUPT, None, (("side", "corrupt"),)),
            ),
            rows=50,
        ),
        model,
        tmp_path,
        d=data or prompts(),
    )


def ends(model: Plateaus, data: Any = None) -> tuple[Tensor, Tensor]:
    data = data or prompts()
    return tuple(  # type: ignore[return-value]
        model.embed[torch.from_numpy(data.sides[s].tokens[:, -1])] @ model.w
        for s in ("clean", "corrupt")
    )


@pytest.mark.parametrize("steepness", [0.5, 8.0])
def test_a_planted_plateau_has_its_slope_place_and_width(steepness: float, tmp_path: Path) -> None:
    """F = tanh(k w·x) v: what r is between tanh(k a) and tanh(k c), in closed form."""
    model = Plateaus(steepness)
    found = regions(model, tmp_path)
    start, end = ends(model)
    k = (steepness * (end - start)).abs().numpy()
    a, c = ((steepness * x).tanh().numpy() for x in (start, end))
    span = np.abs(c - a)
    crosses = (start * end < 0).numpy()
    inner = np.where(crosses, 1.0, 1 - np.minimum(a**2, c**2))
    slope, place = k * inner / span, np.abs(start.numpy()) / np.abs((end - start).numpy())
    sign = np.sign(c - a)
    tenth, ninth = (np.arctanh(np.clip(a + s * (c - a), -1 + 1e-12, 1 - 1e-12)) for s in (0.1, 0.9))
    width = (ninth - tenth) * sign / k
    kept = span * float(model.v.norm()) > 1e-2
    tensors = found.folder.read_tensors("who")
    rows = found.table.with_row_index("row").filter(pl.col("length").is_null()).to_dicts()
    assert [r["side"] for r in rows] == ["clean", "corrupt"]
    for row in rows:
        slopes, places, widths = (tensors[x][row["row"]] for x in ("slope", "location", "width"))
        np.testing.assert_allclose(slopes[kept], slope[kept], rtol=1e-2)
        np.testing.assert_allclose(widths[kept], width[kept], rtol=1e-2)
        there = place if row["side"] == "clean" else 1 - place
        np.testing.assert_allclose(places[crosses], there[crosses], atol=2e-2)
        assert row["slope"] == pytest.approx(np.median(slope[kept]), rel=1e-2)
        assert (row["n"], row["dropped"]) == (kept.sum(), (~kept).sum())
        assert np.isnan(slopes[~kept]).all() and kept.sum() >= 6


def test_a_straight_read_out_has_slope_one(tmp_path: Path) -> None:
    found = regions(Plateaus(1e-3), tmp_path, floor=1e-6)
    whole = found.table.filter(pl.col("length").is_null())
    assert whole["slope"].to_list() == pytest.approx([1, 1], abs=1e-3)
    assert whole["jumps"].to_list() == [0, 0]
    points = found.table.filter(pl.col("length").is_not_null())
    np.testing.assert_allclose(points["relative"], points["length"], atol=1e-4)


def test_looks_find_what_the_grid_clips(tmp_path: Path) -> None:
    model = Plateaus(200.0)
    coarse = regions(model, tmp_path / "a", rounds=0)
    close = regions(model, tmp_path / "b", rounds=8)
    a, b = (t.table.filter(pl.col("length").is_null())["slope"][0] for t in (coarse, close))
    assert a <= 20.0001 < b


def test_two_borders_are_two_jumps(tmp_path: Path) -> None:
    """Paths across both of two borders: two jumps, the steepest place on a border, flat between."""
    model = Plateaus(60.0, (-0.5, 0.5))
    order = (model.embed @ model.w)[1:].argsort() + 1
    data = prompts(6)
    for name, tokens in (("clean", order[:6]), ("corrupt", order[-6:])):
        data.sides[name].tokens[:, -1] = tokens.numpy()
    start, end = ends(model, data)
    assert (start < -0.7).all() and (end > 0.7).all()
    found = regions(model, tmp_path, data=data)
    row = found.table.with_row_index("row").filter(pl.col("length").is_null()).to_dicts()[0]
    assert row["side"] == "clean" and row["jumps"] == 2 and row["plateau"] > 0.6
    tensors = found.folder.read_tensors("who")
    at = (start + torch.from_numpy(tensors["location"][row["row"]]) * (end - start)).abs()
    np.testing.assert_allclose(at, 0.5, atol=2e-2)
    across = (tensors["width"][row["row"]] * (end - start).numpy()).astype(float)
    np.testing.assert_allclose(across, 1 + 2 * np.arctanh(0.6) / 60, rtol=2e-2)


def test_ends_that_are_alike_are_left_out(tmp_path: Path) -> None:
    found = regions(Plateaus(8.0), tmp_path, Toward("line", FromRun(CLEAN)))
    clean = found.table.filter(pl.col("length").is_null(), pl.col("side") == "clean").to_dicts()[0]
    assert (clean["n"], clean["dropped"], clean["slope"]) == (0, 12, None)


def test_an_arc_keeps_its_norm_and_ends_where_the_line_does(tmp_path: Path) -> None:
    model = Plateaus(3.0)
    pair = (CLEAN, CORRUPT)
    found = regions(model, tmp_path, Between("line", pair), Between("arc", pair, "arc"))
    clean = found.table.filter(pl.col("side") == "clean", pl.col("length").is_not_null())
    line, arc = (
        clean.filter(pl.col("direction") == d)["value"].to_numpy() for d in ("line", "arc")
    )
    np.testing.assert_allclose(line[[0, -1]], arc[[0, -1]], atol=1e-5)
    assert np.abs(line - arc).max() > 1e-3
    data = prompts()
    a, b = (
        model.embed[torch.from_numpy(data.sides[s].tokens[:, -1])] for s in ("clean", "corrupt")
    )
    half = directions.along_arc(a, b, torch.tensor(0.5))
    expected = (model.stream(half) - model.stream(a)).norm(dim=1)
    assert arc[10] == pytest.approx(float(expected.mean()), rel=1e-4)


def test_paths_to_drawn_examples(tmp_path: Path) -> None:
    """From each prompt to another of its side, drawn once."""
    from interp_dsl.engine.sources import draws
    from interp_dsl.engine.state import State

    model, data = Plateaus(3.0), prompts()
    found = regions(model, tmp_path, Toward("line", Resample(CLEAN, 4)))
    state = State(0, data={"d": data})
    other = draws(CLEAN, CLEAN, 4, state)
    x = model.embed[torch.from_numpy(data.sides["clean"].tokens[:, -1])]
    expected = (model.stream(x[other]) - model.stream(x)).norm(dim=1).mean()
    end = found.table.filter(pl.col("side") == "clean", pl.col("length") == 1)
    assert end["value"].item() == pytest.approx(float(expected), rel=1e-4)
