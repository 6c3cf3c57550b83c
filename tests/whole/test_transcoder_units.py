"""Features of transcoders changed from a file: what is lost without them is what `inspect` measures
by passes of its own, estimates are checked by real patches, and a loaded one is as a fitted one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import interp_dsl
from interp_dsl.check import check_source, plan_experiment
from interp_dsl.cli.app import main
from interp_dsl.language.source import Source
from interp_dsl.plan.explain import explain
from interp_dsl.runs.folder import RunFolder

HEAD = """model m = bundled("text-1l-512")
dataset text = task("text-1l-512", n=200)
dataset held = task("text-1l-512", n=6, seed=5)
dataset same = repeated_tokens(pairs=6, half=20, seed=0)
"""
FIT = """step mlp = fit batch_topk(width=96, k=12, batch=512, lr=5e-3) on L0.mlp_in to L0.mlp
           of text until tokens=40k
"""
STEPS = """step often = inspect mlp[0..15] by density() on same.clean
step lost = inspect mlp[0..15] by ablation(prompts=6) on same.clean
step off = ablate mlp[0..15] at all - first with zero on same.clean measure loss()
step near = attribute features(mlp) | errors(mlp) by atp(verify=top(3)) from zero into held
            measure loss()
step best = ablate top(near, 2) with zero on held measure loss()
step high = ablate mlp[3] with 30
step bare = ablate errors(mlp) with zero
step told = evaluate m on held under high, together(bare, high), bare measure loss()
step spliced = evaluate mlp on held measure ce_loss_score()
step some = search mlp[0..5] | errors(mlp) by greedy(n=3) from zero into held measure loss()
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    place = tmp_path_factory.mktemp("transcoder")
    (place / "x.interp").write_text(HEAD + FIT + STEPS)
    return RunFolder(interp_dsl.run(place / "x.interp", runs=place, device="cpu").path)


def _agree(run: RunFolder) -> None:
    """What `lost` tells of features is what `off` measures without them; with `often`, which tells
    how many tokens there are in the six prompts."""
    lost, off = run.read_table("lost"), run.read_tensors("off")
    changes = (off["value"] - off["base"]).astype(float)
    known = dict(zip(run.read_table("off")["index"], changes, strict=True))
    length = run.read_table("often")["n"][0] / 6
    for row in lost.to_dicts():
        total = row["n"] * (row["loss"] or 0.0) + row["n_after"] * (row["after"] or 0.0)
        wanted = float(known[row["feature"]].sum()) * length
        assert total == pytest.approx(wanted, rel=2e-3, abs=2e-3)
    assert (lost["n"] * lost["loss"].abs() > 0.1).sum() >= 3


def test_losses_are_those_that_inspect_measures(run: RunFolder) -> None:
    _agree(run)


def test_without_its_error_the_model_says_what_it_says_with_the_transcoder_spliced_in(
    run: RunFolder,
) -> None:
    """But for the first token, which a splice leaves as it is."""
    told = run.read_table("told")
    loss = dict(zip(told["under"], told["value"], strict=True))
    spliced = run.read_table("spliced")
    with_sae = spliced.filter(metric="ce_loss_with_sae")["value"][0]
    assert loss["bare"] == pytest.approx(with_sae, rel=0.02)
    assert loss["high"] > run.read_table("near")["base"][0] + 0.05
    assert abs(loss["together(bare, high)"] - loss["bare"]) > 0.05


def test_estimates_are_checked_by_real_patches(run: RunFolder) -> None:
    near, best = run.read_table("near"), run.read_table("best")
    assert len(near) == 97 and near["verified"].is_not_null().sum() == 3
    real = dict(zip(near["unit"], near["verified"], strict=True))
    assert best["unit"].to_list()[0] == "errors(mlp)"
    for row in best.to_dicts():
        assert row["effect"] == pytest.approx(real[row["unit"]], rel=1e-4)
    assert run.read_table("some").filter(pl.col("kept")).height == 3


def test_a_loaded_one_is_as_a_fitted_one(run: RunFolder) -> None:
    place = run.path.parent
    out = place / "given"
    assert main(["export", str(run.path), "mlp", "--format", "saelens", "-o", str(out)]) == 0
    text = f'{HEAD}let mlp = load("given")\n{STEPS.partition("step near")[0]}'
    (place / "y.interp").write_text(text)
    again = interp_dsl.run(place / "y.interp", runs=place, device="cpu").folder
    ours, theirs = run.read_tensors("off")["value"], again.read_tensors("off")["value"]
    np.testing.assert_allclose(theirs, ours, rtol=1e-4)


def test_the_plan_starts_where_they_write() -> None:
    experiment = check_source(Source(HEAD + FIT + STEPS)).experiment
    assert experiment is not None
    told = explain(plan_experiment(experiment, "cpu"))
    assert "step off: 16 units, set to zero" in told
    assert "starts at layer 0, behind the attention (late)" in told


def test_a_claim_reads_them(tmp_path: Path) -> None:
    text = HEAD + FIT + "step off = ablate mlp[3] with 30 on held measure loss()\n"
    (tmp_path / "x.interp").write_text(text + "expect off[mlp[3]].loss.effect > 0.05\n")
    run = interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "run", device="cpu")
    assert [c["ok"] for c in run.claims] == [True]


def test_features_of_a_crosscoder_are_changed_at_all_its_places(tmp_path: Path) -> None:
    text = f"""{HEAD}
step both = fit batch_topk(width=96, k=12, batch=512, lr=5e-3)
            on together(L0.resid_pre, L0.resid_post) of text until tokens=20k
step often = inspect both[0..15] by density() on same.clean
step lost = inspect both[0..15] by ablation(prompts=6) on same.clean
step off = ablate both[0..15] at all - first with zero on same.clean measure loss()
step parts = patch together(features(both) | errors(both)) from same.corrupt into same.clean
             measure loss()
step whole = patch together(L0.resid_pre | L0.resid_post) from same.corrupt into same.clean
             measure loss()
step kept = search both[0..3] by greedy(n=2) from zero into held measure loss()
"""
    (tmp_path / "x.interp").write_text(text)
    run = interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "run", device="cpu").folder
    _agree(run)
    parts, whole = run.read_tensors("parts"), run.read_tensors("whole")
    np.testing.assert_allclose(parts["value"], whole["value"], rtol=1e-4)
    assert np.abs(whole["value"] - whole["base"]).max() > 0.05
    assert run.read_table("kept").filter(pl.col("kept")).height == 2
