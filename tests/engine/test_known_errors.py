"""Curves along what dictionaries give where the answer is known: one that makes no error, and dead
features that nothing behind the place reads."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import torch

from interp_dsl.dictionaries.dictionary import Dictionary
from interp_dsl.dictionaries.formats.writing import Origin, encoded
from interp_dsl.engine.errors import rounding
from interp_dsl.engine.statistics import compared
from interp_dsl.plan.dictionaries import DictionaryOf, Fitted, LoadDictionary
from interp_dsl.plan.paths import Decoders, Drawn, Rebuilt, Sized
from interp_dsl.plan.paths import Path as Way
from interp_dsl.plan.places import Site, Target
from interp_dsl.plan.tasks import Plan, Reach

from .curving import DISTANCE, KL, plan, unit
from .plans import CLEAN, END, Ran, run
from .tiny import Tiny, pairs

LAST = Site("resid_post", 1)
FITTED = Fitted("", Target(LAST), "relu", (("width", 16),), 8)
OF = (DictionaryOf("sae", (FITTED,)),)
EYE = torch.eye(8)


def identity() -> Dictionary:
    """x = relu(x) - relu(-x), to the last bit."""
    tensors = {"W_enc": torch.cat([EYE, -EYE], 1), "W_dec": torch.cat([EYE, -EYE])}
    return Dictionary("relu", {**tensors, "b_enc": torch.zeros(16), "b_dec": torch.zeros(8)})


def partly_dead() -> Dictionary:
    """Features along the last two coordinates are never on, all others always."""
    whole = identity().tensors
    bias = torch.full((16,), 1e3)
    bias[[6, 7, 14, 15]] = -1e3
    return Dictionary("relu", {**whole, "b_enc": bias})


def curves(path: Path, held: Dictionary, model: Tiny, *ways: Way, scale: str = "l2") -> Ran:
    folder = path / "sae"
    folder.mkdir()
    for name, data in encoded(held, "saelens", Origin("m", "blocks.1.hook_resid_post")).items():
        (folder / name).write_bytes(data)
    against = tuple((way.name, ways[-1].name) for way in ways)
    made = plan(
        *ways,
        units=(unit(LAST, END),),
        lengths=(0.0, 1.0, 2.0),
        scale=scale,
        metrics=(KL, DISTANCE),
        curves=Reach((0.5,), against),
    )
    *before, step = made.tasks
    loading = LoadDictionary("l", "sae", str(folder), FITTED)
    return run(Plan((*before, loading, step)), model, path / "run", d=pairs())


def test_a_dictionary_without_error_moves_nothing_and_has_no_ratio(tmp_path: Path) -> None:
    """Nor do directions that are as long as its error, and 0 of 0 is told as no ratio."""
    ways = (Rebuilt("error", OF), Sized(Drawn("random", "random"), OF))
    found = curves(tmp_path, identity(), Tiny(), *ways, scale="own")
    points = found.table.filter(pl.col("length").is_not_null())
    assert set(points["direction"]) == {"error", "random"} and len(points) == 12
    assert points["effect"].abs().max() < 1e-15
    assert points["ratio"].is_null().all()
    told = found.folder.read_table("who.errors")
    assert told["direction"].to_list() == ["error", "random"] * 2
    assert told["error"].to_list() == [0.0] * 4 and told["ratio"].is_null().all()


def test_dead_features_that_nothing_reads_change_no_prediction(tmp_path: Path) -> None:
    """The unembedding reads the first six coordinates alone, dead features write the others: they
    move the stream as far as any direction, and the prediction not at all."""
    model = Tiny()
    model.unembed[6:] = 0
    ways = (Decoders("dead", OF, CLEAN, "dead", 2), Drawn("random", "random", 2))
    found = curves(tmp_path, partly_dead(), model, *ways)
    points = found.table.filter(pl.col("length") == 2, pl.col("number").is_null())
    told = {(r["direction"], r["metric"]): r["effect"] for r in points.to_dicts()}
    assert abs(told["dead", "kl"]) < 1e-12 < 1e-3 < told["random", "kl"]
    assert abs(told["dead", "distance"] - 2) < 1e-6


def test_what_rounding_makes_of_nothing_depends_on_the_metric() -> None:
    over, under = torch.full((8,), 0.5), torch.full((8,), 2e-6)
    assert compared(over, under, 0, rounding(DISTANCE)) == {}
    told = compared(over, under, 0, rounding(KL))
    assert told["ratio"] == pytest.approx(2.5e5) == told["ratio_low"]
