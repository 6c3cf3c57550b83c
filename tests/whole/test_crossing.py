"""A crosscoder between two models from a file: planned, fitted, judged in each and looked at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

import interp_dsl
from interp_dsl.check import check_source, plan_experiment
from interp_dsl.cli.app import main
from interp_dsl.language.source import Source
from interp_dsl.plan.dictionaries import Fit
from interp_dsl.plan.explain import explain
from interp_dsl.plan.sizes import sizes
from interp_dsl.plan.training import fit_plain
from interp_dsl.runs.feature_effects import elsewhere
from interp_dsl.runs.features import dictionaries

HEAD = """model early = bundled("induction-2l", step=200)
model late  = bundled("induction-2l")
dataset seqs = repeated_tokens(pairs=128, half=16)
dataset held = repeated_tokens(pairs=12, half=16, seed=1)
"""
BOTH = "together(early.L1.resid_post, late.L1.resid_post)"
TEXT = f"""{HEAD}
step diff = fit batch_topk(width=64, k=[4, 8], batch=128, lr=1e-2) on {BOTH}
            of seqs.clean until tokens=16k
step same = fit batch_topk(width=64, k=8, batch=128, lr=1e-2)
            on late.L1.resid_post of seqs.clean until tokens=16k
step judged = evaluate diff on held.clean
              measure l0(), fvu(), loss_recovered(), exclusive(least=0.7)
step sides = inspect features(diff[k=8]) by norms()
step seen = inspect diff[k=8, 0..7] by examples(top=2, intervals=0) on held.clean
step often = inspect features(diff[k=8]) by density() on held.clean
expect judged[model=late, k=8].fvu.value < judged[model=late, k=4].fvu.value
expect judged[model=late, k=8].loss_recovered.value > 0.7
expect judged[k=4].l0.value < 8
"""


def test_two_steps_of_a_training_are_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.interp").write_text(TEXT)
    run = interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "run", device="cpu")
    assert [c["ok"] for c in run.claims] == [True] * 3, run.claims
    scores = run.scores("judged")
    by_model = scores.filter(dictionary="k=8", metric="fvu")
    assert by_model["model"].to_list() == ["early", "late"]
    assert scores.filter(dictionary="k=8", metric="l0")["model"].to_list() == [None]

    norms = run.folder.read_table("sides")
    assert norms.columns == ["feature", "place", "norm", "relative_norm", "cosine"]
    sums = norms.group_by("feature").agg(pl.col("relative_norm").sum())
    assert sums["relative_norm"].to_list() == pytest.approx([1.0] * 64)
    early = norms.filter(place="early.L1.resid_post")
    assert early["cosine"].to_list() == pytest.approx([1.0] * 64)
    told = list(elsewhere(run.folder.read_plan(), run.folder, "diff[k=8]").of(3))
    share = norms.filter(feature=3)["relative_norm"].to_list()
    wanted = f"early.L1.resid_post {share[0]:.0%} · late.L1.resid_post {share[1]:.0%}"
    assert told == [f"sides: {wanted}"]
    for read in dictionaries(run.folder.read_plan(), run.folder):
        assert not check_source(Source(f"{TEXT}{read.remedy('cofiring')}\n")).diagnostics

    assert main(["show", str(run.folder.path), "sides"]) == 0
    shown = capsys.readouterr().out
    head, names, first, *_ = shown.splitlines()
    assert "relative norms of 64 features, those that write most at late.L1.resid_post" in head
    assert names.split() == ["feature", "early.L1.resid_post", "late.L1.resid_post"]
    most = norms.filter(place="late.L1.resid_post").sort("relative_norm")[-1]
    assert first.split()[0] == str(most["feature"][0])
    page = tmp_path / "page.html"
    assert main(["report", str(run.folder.path), "-o", str(page)]) == 0
    assert wanted in page.read_text("utf-8")


def test_taken_over_where_nothing_has_changed(tmp_path: Path) -> None:
    line = f"fit topk(width=16, k=2, batch=64) on {BOTH} of seqs.clean until tokens=1k"
    text = f"{HEAD}step diff = {line}\n"
    (tmp_path / "x.interp").write_text(text)
    runs = tmp_path / "runs"
    interp_dsl.run(tmp_path / "x.interp", runs=runs, device="cpu")
    renamed = text.replace("early", "before")
    (tmp_path / "x.interp").write_text(renamed)
    again = interp_dsl.run(tmp_path / "x.interp", runs=runs, device="cpu")
    other = renamed.replace("step=200", "step=300")
    (tmp_path / "x.interp").write_text(other)
    anew = interp_dsl.run(tmp_path / "x.interp", runs=runs, device="cpu")
    taken = ["taken_from" in r.folder.step_facts("diff") for r in (again, anew)]
    assert taken == [True, False]


def test_the_plan_tells_both_models() -> None:
    experiment = check_source(Source(TEXT)).experiment
    assert experiment is not None
    plan = plan_experiment(experiment, "cpu")
    told = explain(plan)
    fit = next(task for task in plan.tasks if isinstance(task, Fit))
    both, one = (fit_plain(t, sizes(plan)) for t in (fit, replace(fit, beside=())))
    assert both.passes == 2 * (one.passes or 0) > 0
    assert "on seqs@early.clean and seqs@late.clean: one pass of each model, which ends" in told
    assert f"{BOTH}: 128 → 64, batch_topk(k=4" in told
    assert "on held@early.clean and held@late.clean: l0, fvu, loss_recovered, exclusive" in told


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("relate diff[k=8], diff[k=8] on seqs.clean by similarity()", "E306"),
        ("ablate diff[k=8, 3] with zero on held.clean measure kl()", "E306"),
        ("inspect diff[k=8, 0] by logits()", "E306"),
        ("evaluate diff on held.clean measure fvu(), exclusive(least=2)", "E302"),
        ("evaluate same on held.clean measure universality(diff[k=8])", "E307"),
        (f"patch {BOTH} from held.corrupt into held.clean measure kl()", "E307"),
        (f"fit topk(width=64, k=8) on {BOTH} to early.L0H0 of seqs.clean until tokens=1M",
         "E306"),
        (f"fit topk(width=64, k=8) on {BOTH}, early.L0H0 of seqs.clean until tokens=1M",
         "E306"),
        (f"fit topk(width=64, k=8) on {BOTH.replace('late.L1', 'late.L4')} of seqs.clean"
         " until tokens=1M", "E201"),
    ],
)  # fmt: skip
def test_what_cannot_be_between_models_is_refused(line: str, code: str) -> None:
    before = TEXT.partition("expect")[0]
    found = check_source(Source(f"{before}step ended = {line}\n")).diagnostics
    assert [d.code for d in found] == [code], found


def test_what_has_no_model_is_asked_for() -> None:
    before = TEXT.partition("expect")[0]
    claims = "expect judged[k=8].fvu.value < 1\nexpect judged[model=mid, k=8].fvu.value < 1\n"
    found = check_source(Source(f"{before}{claims}")).diagnostics
    assert [d.code for d in found] == ["E310", "E311"]
    assert "which of them: early, late?" in str(found[0].label)
