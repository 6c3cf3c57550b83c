"""Transcoders and crosscoders from a file: planned, fitted, judged, looked at, and written for and
read from SAELens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import interp_dsl
from interp_dsl.check import check_source, plan_experiment
from interp_dsl.cli.app import main
from interp_dsl.language.source import Source
from interp_dsl.plan.explain import explain

HEAD = """model m = bundled("text-1l-512")
dataset text = task("text-1l-512", n=300)
dataset held = task("text-1l-512", n=8, seed=1)
"""
TEXT = f"""{HEAD}
step mlp = fit batch_topk(width=256, k=[2, 24], batch=256, lr=5e-3, skip=true)
           on L0.mlp_in to L0.mlp of text until tokens=16k
step cross = fit relu(width=128, l1=0.5, norm=weighted, batch=256, lr=5e-3)
             on together(L0.resid_pre, L0.resid_post) of text until tokens=8k
step swapped = evaluate mlp on held measure fvu(), ce_loss_score(ablation=mean)
step kept = evaluate cross on held measure fvu(), loss_recovered()
step seen = inspect features(cross) by density() on held
step some = inspect mlp[k=24, 0..3] by examples(top=2, intervals=0) on held
step gone = inspect mlp[k=24, 0..3] by ablation() on held
step both = inspect cross[0..3] by ablation() on held
step fires = inspect cross[0..3] by cofiring() on held
step says = inspect mlp[k=24, 0..3] by logits(top=2)
expect swapped[k=24].fvu.value < swapped[k=2].fvu.value
expect swapped[k=24].ce_loss_score.value > 0.3
expect kept.fvu.value < 0.6
"""


BEFORE = TEXT.partition("expect")[0]


def test_they_are_fitted_judged_and_looked_at(tmp_path: Path) -> None:
    (tmp_path / "x.interp").write_text(TEXT)
    run = interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "run", device="cpu")
    assert [c["ok"] for c in run.claims] == [True] * 3, run.claims
    tensors = run.tensors("mlp")
    assert tensors["k=2/W_skip"].shape == (128, 128) and np.abs(tensors["k=2/W_skip"]).max() > 0
    assert run.tensors("cross")["W_dec"].shape == (128, 256)
    assert len(run.folder.read_table("seen")) == 128
    assert set(run.folder.read_table("some")["feature"]) <= {0, 1, 2, 3}

    out = tmp_path / "given"
    command = ["export", str(run.folder.path), "mlp", "--format", "saelens", "-o", str(out)]
    assert main(command) == 0
    again = f"""{HEAD}
let  theirs = load("given/k=24")
step swapped = evaluate theirs on held measure fvu(), ce_loss_score(ablation=mean)
"""
    (tmp_path / "y.interp").write_text(again)
    read = interp_dsl.run(tmp_path / "y.interp", out=tmp_path / "again", device="cpu")
    ours = run.scores("swapped").filter(dictionary="k=24")["value"].to_numpy()
    np.testing.assert_allclose(read.scores("swapped")["value"].to_numpy(), ours, rtol=1e-4)
    command[2] = "cross"
    assert main(command) != 0


def test_the_plan_tells_both_ends() -> None:
    experiment = check_source(Source(TEXT)).experiment
    assert experiment is not None
    text = explain(plan_experiment(experiment, "cpu"))
    assert "L0.mlp_in to L0.mlp: 128 → 256 → 128, batch_topk(k=2, lr=0.005, seed=0) with a" in text
    assert "together(L0.resid_pre, L0.resid_post): 256 → 128, relu(l1=0.5" in text


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("fit topk(width=64, k=8) on L0.mlp_in to L0H1.pattern of text until tokens=1M", "E306"),
        ("fit topk(width=64, k=8) on L0.mlp_in to L0.mlp[3] of text until tokens=1M", "E306"),
        ("fit topk(width=64, k=8) on together(L0.mlp, L0.mlp_in), L0.mlp of text until tokens=1M",
         "E306"),
        ("fit relu(width=64, l1=1, norm=unit, resample=5) on L0.mlp_in to L0.mlp of text "
         "until tokens=1M",
         "E306"),
        ("fit topk(width=64, k=8) on L0.mlp_in to L3.mlp of text until tokens=1M", "E201"),
        ("relate cross, cross on text by similarity()", "E306"),
        ("evaluate mlp on held measure mmcs(cross)", "E306"),
        ("inspect cross[0] by logits()", "E306"),
        ("perturb L0.mlp_in of held along error(mlp[k=2]) by 0..1 every 0.5 measure kl()", "E306"),
        ("relate mlp, mlp on text by similarity()", "E306"),
    ],
)  # fmt: skip
def test_what_has_no_such_ends_is_refused(line: str, code: str) -> None:
    found = check_source(Source(f"{BEFORE}step ended = {line}\n")).diagnostics
    assert [d.code for d in found if d.code != "W46"] == [code], found


def test_a_store_is_planned_and_kept_beside_the_file(tmp_path: Path) -> None:
    fit = 'fit topk(width=64, k=4, batch=256, store="acts") on {} of text until tokens=4k'
    text = f"""{HEAD}
step one = {fit.format("L0.mlp_in, L0.mlp")}
step two = {fit.format("L0.mlp")}
"""
    (tmp_path / "x.interp").write_text(text)
    experiment = check_source(Source(text, tmp_path / "x.interp")).experiment
    assert experiment is not None
    told = explain(plan_experiment(experiment, "cpu"))
    assert f"activations of all the data are kept in {tmp_path / 'acts'}, at most 39.3 MB" in told
    assert f"are read from {tmp_path / 'acts'}, where step one keeps them" in told
    run = interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "run", device="cpu")
    notes = [e["text"] for e in run.folder.events() if e["event"] == "note"]
    assert f"two: activations are read from {tmp_path / 'acts'}" in notes
    assert len(list((tmp_path / "acts").glob("*/about.json"))) == 2
    outside = text.replace('store="acts"', 'store="../acts"')
    found = check_source(Source(outside, tmp_path / "x.interp")).diagnostics
    assert [d.code for d in found] == ["E502", "E502"]


THROUGH = f"""{HEAD}
step near = fit topk(width=256, k=8, batch=512, lr=5e-3) on L0.resid_mid of text until tokens=24k
step end = fit topk(width=256, k=8, batch=512, lr=5e-3, objective=kl) on L0.resid_mid of text
           until tokens=24k
step a = evaluate near on held measure kl_div_score(), mse()
step b = evaluate end on held measure kl_div_score(), mse()
expect b.kl_div_with_sae.value < a.kl_div_with_sae.value
expect b.mse.value > a.mse.value
"""


def test_end_to_end_the_model_is_kept_rather_than_the_activation(tmp_path: Path) -> None:
    (tmp_path / "x.interp").write_text(THROUGH)
    run = interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "run", device="cpu")
    assert [c["ok"] for c in run.claims] == [True] * 2, run.claims
    learned = run.folder.read_table("end")["tokens"].max()
    assert 47 * 512 <= learned < 47 * 512 + 127
    experiment = check_source(Source(THROUGH)).experiment
    assert experiment is not None
    told = explain(plan_experiment(experiment, "cpu"))
    assert "fit 1 dictionary to 24.1 k tokens" in told
    assert "47 steps of whole prompts, 512 tokens each but for what is left of a prompt" in told
    assert "the loss: the divergence of what the model says with each spliced in" in told
    assert "one plain pass for all, and for each dictionary one more, there and back" in told


@pytest.mark.parametrize(
    ("fitted", "part"),
    [
        ("gated(width=64, l1=1, objective=kl)", "what the gate rebuilds"),
        ("matryoshka(width=64, k=4, objective=ce)", "what inner prefixes rebuild"),
    ],
)
def test_a_plan_tells_what_counts_beside_the_objective(fitted: str, part: str) -> None:
    line = f"step sae = fit {fitted} on L0.mlp of text until tokens=1M"
    experiment = check_source(Source(f"{HEAD}{line}\n")).experiment
    assert experiment is not None
    told = explain(plan_experiment(experiment, "cpu"))
    assert f"and the squared error of {part} alone, as in a plain fit" in told


@pytest.mark.parametrize(
    "options",
    ["relu(width=64, l1=1, norm=unit, resample=5, ", "topk(width=64, k=4, workers=2, ",
     "matryoshka(width=64, k=4, alpha=0.1, ", 'topk(width=64, k=4, store="a", '],
)  # fmt: skip
def test_what_cannot_be_fitted_end_to_end_is_refused(options: str) -> None:
    line = f"step sae = fit {options}objective=kl) on L0.mlp of text until tokens=1M"
    found = check_source(Source(f"{HEAD}{line}\n")).diagnostics
    assert [d.code for d in found] == ["E306"]
    assert "objective=kl" in found[0].message


def test_processes_are_planned_and_take_equal_parts() -> None:
    line = "step sae = fit topk(width=64, k=4, workers={}) on L0.mlp of text until tokens=1M"
    experiment = check_source(Source(f"{HEAD}{line.format(2)}\n")).experiment
    assert experiment is not None
    told = explain(plan_experiment(experiment, "cpu"))
    assert "2 processes with all parameters, 2,048 activations of a step each" in told
    found = check_source(Source(f"{HEAD}{line.format(3)}\n")).diagnostics
    assert [d.code for d in found] == ["E302"]
