"""Dictionaries fitted from a file: the plan says what is done, a killed run ends as if nobody had
disturbed it, and what is refused is refused before the run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

import interp_dsl
from interp_dsl.check import check_source, plan_experiment
from interp_dsl.cli.app import main
from interp_dsl.engine.execute import execute
from interp_dsl.language.source import Source
from interp_dsl.plan.explain import explain
from interp_dsl.plan.tasks import Fit, LoadModel
from interp_dsl.runs.folder import RunFolder

HEAD = """model m = bundled("text-1l-512")
dataset text = task("text-1l-512", n=300)
"""
TEXT = f"""{HEAD}
step sae = fit batch_topk(width=[256, 320], k=8, batch=256, buffer=2048, lr=2e-3)
           on neurons layers 0 of text until tokens=40k
"""
COMMAND = ["run", "x.interp", "--device", "cpu", "--out", "killed"]
PATIENCE = 60.0


def _start(place: Path) -> subprocess.Popen[bytes]:
    with (place / "said").open("w") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "interp_dsl", *COMMAND],
            cwd=place,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=said,
            stderr=said,
        )


def _checkpoints(place: Path) -> list[int]:
    found = (place / "killed" / "parts" / "sae").glob("*.parquet")
    return [int(p.name.split("-")[0]) for p in found if not p.name.startswith(".")]


def test_a_killed_fit_goes_on_and_ends_as_if_nothing_had_been(tmp_path: Path) -> None:
    (tmp_path / "x.interp").write_text(TEXT)
    process = _start(tmp_path)
    until = time.monotonic() + PATIENCE
    try:
        while not _checkpoints(tmp_path):
            assert process.poll() is None, (tmp_path / "said").read_text()
            assert time.monotonic() < until, "no checkpoint was written in time"
            time.sleep(0.005)
        time.sleep(0.05)  # into the next block
    finally:
        process.send_signal(signal.SIGKILL)
        code = process.wait()
    assert code == -signal.SIGKILL
    folder = RunFolder.open(tmp_path / "killed")
    assert folder.status == "interrupted" and not folder.step_keys
    done = _checkpoints(tmp_path)
    assert done and min(done) > 0

    assert _start(tmp_path).wait(PATIENCE) == 0, (tmp_path / "said").read_text()
    started = [e["resumed"] for e in folder.events() if e["event"] == "run_started"]
    assert started == [False, True] and folder.status == "done"
    events = list(folder.events())
    second = [i for i, e in enumerate(events) if e["event"] == "run_started"][1]
    assert min(e["at"] for e in events[second:] if e["event"] == "fit") >= min(done)
    fresh = interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "fresh", device="cpu").folder
    assert folder.read_table("sae").equals(fresh.read_table("sae"))
    ours, theirs = folder.read_tensors("sae"), fresh.read_tensors("sae")
    assert ours.keys() == theirs.keys() and "width=320/threshold" in ours
    for name, values in ours.items():
        np.testing.assert_array_equal(values, theirs[name])


def test_the_plan_tells_tokens_batches_and_memory() -> None:
    experiment = check_source(Source(TEXT)).experiment
    assert experiment is not None
    plan = plan_experiment(experiment, "cpu")
    (fit,) = (t for t in plan.tasks if isinstance(t, Fit))
    assert (fit.steps, fit.inputs, fit.buffer, fit.width, fit.batch) == (157, 256, 2048, 128, 16)
    text = explain(plan)
    assert "fit 2 dictionaries to 40.2 k tokens" in text
    assert "neurons layers 0: 512 → 320, batch_topk(k=8, lr=0.002, seed=0)" in text
    assert (
        "157 steps of 256 activations, shuffled in blocks of 2,048; the data is passed 1.1" in text
    )
    # 2,048 x 512 floats; seven copies of 512 x (256 + 320) matrices, twice, and biases
    assert "buffer 4.2 MB and as much for the next, parameters, moments and a checkpoint" in text


@pytest.mark.parametrize(
    ("step", "code", "told"),
    [
        ("topk(width=64, k=65) on L0.mlp of text until tokens=1M", "E302", "64 features"),
        ("topk(width=64) on L0.mlp of text until tokens=1M", "E301", "needs `k`"),
        ("topk(width=64, k=8) on L0.mlp of text until tokens=1k", "E302", "no batch of 4,096"),
        ("topk(width=64, k=8) on L0.mlp of text", "E303", "needs `until`"),
        ("topk(width=64, k=8) on L0.mlp of text until steps=9", "E205", "no argument `steps`"),
        ("topk(width=64, k=8) on L0.mlp of text until 10k", "E300", "takes options by name"),
        ("topk(width=[64, 64], k=8) on L0.mlp of text until tokens=1M", "E302", "twice"),
        ("topk(width=64, k=8) on L0.mlp[3] of text until tokens=1M", "E306", "all neurons"),
        ("topk(width=64, k=8) on L0H1.pattern of text until tokens=1M", "E306", "no dictionary"),
        ("topk(width=64, k=8) on L3.mlp of text until tokens=1M", "E201", "no place L3.mlp"),
        ("top_k(width=64, k=8) on L0.mlp of text until tokens=1M", "E203", "topk"),
        ("relu(width=64, l1=1, norm=weighted, resample=10) on L0.mlp of text until tokens=1M",
         "E306", "norms are 1"),
        ("matryoshka(width=64, k=8, prefixes=[0.5, 0.25, 1]) on L0.mlp of text until tokens=1M",
         "E302", "rise to 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_fitted_is_refused(step: str, code: str, told: str) -> None:
    found = check_source(Source(f"{HEAD}step sae = fit {step}\n")).diagnostics
    assert [d.code for d in found] == [code]
    assert told in f"{found[0].message} {found[0].label} {found[0].help}"


@pytest.mark.parametrize(
    ("options", "tokens", "steps"),
    [("", "8k", 2), ("", "4_096", 1), ("batch=80", "4k", None), ("batch=80", "3_919", 49),
     ("batch=128, objective=kl", "6k", 47), ("", "200_705", None)],
)  # fmt: skip
def test_a_fit_of_few_steps_is_warned_of(options: str, tokens: str, steps: int | None) -> None:
    line = f"step sae = fit topk(width=64, k=8, {options}) on L0.mlp of text until tokens={tokens}"
    found = check_source(Source(f"{HEAD}{line}\n".replace(", )", ")"))).diagnostics
    assert [d.code for d in found] == ([] if steps is None else ["W46"])
    said = f"this fit has {steps} training step{'' if steps == 1 else 's'}"
    assert all(d.message == said for d in found)


JUDGED = f"""{HEAD}
dataset held = task("text-1l-512", n=8, seed=1)
step sae = fit topk(width=128, k=[4, 16], batch=256, lr=5e-3) 
           on neurons layers 0 of text until tokens=12k
step both = evaluate sae on held measure fvu(), l0(), ce_loss_score(), loss_recovered(ablation=mean)
step one = evaluate sae[k=16] on held measure fvu(), dead()
expect both[k=16].fvu.value < both[k=4].fvu.value
expect both[k=4].l0.value <= 4
expect both[k=16].ce_loss_with_ablation.value > both[k=16].ce_loss_with_sae.value
expect one.fvu.value == both[k=16].fvu.value
"""


def test_dictionaries_are_judged_one_by_one_and_together(tmp_path: Path) -> None:
    (tmp_path / "x.interp").write_text(JUDGED)
    run = interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "run", device="cpu")
    assert [c["ok"] for c in run.claims] == [True] * 4
    table = run.scores("both")
    assert table["dictionary"].unique(maintain_order=True).to_list() == ["k=4", "k=16"]
    assert run.tensors("both")["k=4/density"].shape == (128,)


@pytest.mark.parametrize(
    ("line", "code", "told"),
    [
        ("step j = evaluate sae[k=5] on text measure l0()", "E311", "k=4; k=16"),
        ("step j = evaluate sae on text measure faithfulness()", "E306", "not measured"),
        ("step j = evaluate m on text measure fvu()", "E306", "is a model"),
        ("step j = evaluate sae on text measure fvu(), fvu()", "E309", "twice"),
        ("step j = evaluate sae on text measure fvu()\nexpect j.fvu.value < 1", "E310", "[k=4]"),
        ("step j = evaluate sae on text measure fvu\nexpect j.fvu.value < 1", "E300", "fvu()"),
        ("step j = evaluate sae on text measure ce_loss_score(ablation=none)", "E302", "ablation"),
        ("step j = evaluate sae on text measure fvu() under sae", "E300", "intervention"),
    ],
)
def test_what_cannot_be_judged_is_refused(line: str, code: str, told: str) -> None:
    fit = "step sae = fit topk(width=64, k=[4, 16]) on L0.mlp of text until tokens=1M"
    found = check_source(Source(f"{HEAD}{fit}\n{line}\n")).diagnostics
    assert code in [d.code for d in found]
    assert any(told in f"{d.message} {d.label} {d.help}" for d in found), found


COLLAPSED = f"""{HEAD}
step lone = fit relu(width=64, l1=[0.01, 5], norm=unit, dead_after=1M, batch=128, lr=5e-3)
            on L0.mlp of text until tokens=8k
step many = fit topk(width=512, k=2, batch=128, lr=0.1, alpha=0) on L0.mlp of text until tokens=8k
"""


def test_a_dictionary_that_has_collapsed_is_said_to_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Less than one feature on, or most of them dead, by the last points of the curves; in the run,
    behind it, and in the report. One that has not is not."""
    (tmp_path / "x.interp").write_text(COLLAPSED)
    run = interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "run", device="cpu")
    ends = {
        (step, label): row
        for step in ("lone", "many")
        for label, row in run.folder.read_table(step)
        .group_by("dictionary", maintain_order=True)
        .last()
        .rows_by_key("dictionary", named=True, unique=True)
        .items()
    }
    assert ends["lone", "l1=0.01"]["l0"] > 1 and ends["lone", "l1=5"]["l0"] < 1
    assert ends["many", None]["dead"] > 256 and ends["many", None]["l0"] > 1
    assert ends["lone", "l1=5"]["dead"] == 0
    notes = [e["text"] for e in run.folder.events() if e["event"] == "note"]
    said = [text for text in notes if "collapsed" in text]
    assert [text.split()[0] for text in said] == ["lone[l1=5]", "many"]
    assert "0.0 of its 64 features are on" in said[0] and "smaller l1" in said[0]
    assert "resample" in said[0] and "smaller lr or width" in said[1]
    assert main(["show", str(run.folder.path), "--top", "1"]) == 0
    shown = capsys.readouterr().out
    assert main(["report", str(run.folder.path), "-o", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text("utf-8")
    assert all(text in shown and text in page for text in said)


READ = f"""{HEAD}
step sae = fit topk(width=64, k=[4, 8], batch=256, lr=5e-3) on L0.mlp of text until tokens=4k
step seen = inspect sae[k=8, 3, 10..12] by examples(top=2, intervals=3, context=4) on text
step dense = inspect features(sae[k=4]) by density() on text
"""


def test_features_are_read(tmp_path: Path) -> None:
    (tmp_path / "x.interp").write_text(READ)
    run = interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "run", device="cpu")
    seen, dense = run.folder.read_table("seen"), run.folder.read_table("dense")
    assert set(seen["feature"]) <= {3, 10, 11, 12} and len(dense) == 64
    assert seen["share"].max() == 1 and seen["token"].str.len_chars().min() > 0


@pytest.mark.parametrize(
    ("line", "code", "told"),
    [
        ("inspect features(sae) by density() on text", "E310", "sae[k=4]"),
        ("inspect sae[k=4, 64] by density() on text", "E311", "0..63"),
        ("inspect sae[k=4] by density() on text", "E300", "features(sae[k=4])"),
        ("inspect sae by density() on text", "E300", "features(sae)"),
        ("inspect features(m) by density() on text", "E300", "dictionary"),
        ("inspect sae[k=4, 1] by induction() on text", "E203", "known: examples"),
        ("inspect sae[k=4, 1] on text", "E303", "needs `by`"),
    ],
)
def test_what_cannot_be_read_is_refused(line: str, code: str, told: str) -> None:
    fit = "step sae = fit topk(width=64, k=[4, 8]) on L0.mlp of text until tokens=1M"
    found = check_source(Source(f"{HEAD}{fit}\nstep seen = {line}\n")).diagnostics
    assert [d.code for d in found] == [code], found
    assert told in f"{found[0].message} {found[0].label} {found[0].help} {found[0].span}", found


ACT = f"""{HEAD}
dataset held = task("text-1l-512", n=6, seed=1)
step sae = fit topk(width=64, k=[4, 8], batch=256, lr=5e-3) on neurons layers 0 of text
           until tokens=5_888
step off = ablate sae[k=8, 0..9] with zero on held measure loss(), kl()
step pinned = ablate sae[k=8, 3] with 20 on held measure kl()
step whole = ablate features(sae[k=4]) at last with zero on held measure kl()
expect pinned.kl.effect > 0
expect pinned[sae[k=8, 3]].kl.effect > off[sae[k=8, 3]].kl.effect
"""


def test_features_are_units(tmp_path: Path) -> None:
    (tmp_path / "x.interp").write_text(ACT)
    run = interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "run", device="cpu")
    assert [c["ok"] for c in run.claims] == [True] * 2
    assert run.scores("off")["unit"].unique().to_list().count("sae[k=8, 3]") == 1
    assert len(run.scores("whole")) == 64


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("record sae[k=4, 1] of text", "E306"),
        ("patch features(sae) from text into text measure kl()", "E310"),
        ("ablate sae[k=4, 99] with zero on text measure kl()", "E311"),
        ("attribute sae[k=4, 1] by gradient_norm() on text measure loss()", "E203"),
    ],
)
def test_what_features_are_no_units_for_is_refused(line: str, code: str) -> None:
    fit = "step sae = fit topk(width=64, k=[4, 8]) on L0.mlp of text until tokens=1M"
    off = "step off = ablate sae[k=4, 1..5] with zero on text measure kl()"
    found = check_source(Source(f"{HEAD}{fit}\n{off}\nstep seen = {line}\n")).diagnostics
    assert code in [d.code for d in found], found


def test_by_hooks_the_same_is_found(tmp_path: Path) -> None:
    """The compiled forward and TransformerLens's hooks leave the same activations, and the same
    losses where a dictionary or a feature of neurons is spliced in."""
    more = "step good = evaluate sae on held measure fvu(), ce_loss_score()\n"
    experiment = check_source(Source(ACT + more)).experiment
    assert experiment is not None
    plan = plan_experiment(experiment, "cpu")
    hooked = replace(
        plan,
        tasks=tuple(
            replace(t, spec={**t.spec, "executor": "hooked"}) if isinstance(t, LoadModel) else t
            for t in plan.tasks
        ),
    )
    tables = []
    for number, one in enumerate((plan, hooked)):
        folder = RunFolder.create(tmp_path, f"run{number}", datetime(2026, 1, 1))
        execute(one, folder)
        executors = {m["executor"] for m in folder.manifest["models"].values()}
        assert executors == {("compiled", "hooked")[number]}
        tables.append(folder)
    for step, column in (
        ("sae", "loss"),
        ("good", "value"),
        ("off", "effect"),
        ("pinned", "effect"),
    ):
        ours, theirs = (f.read_table(step)[column].to_numpy() for f in tables)
        np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-4, err_msg=step)


@pytest.mark.parametrize(
    ("data", "told"),
    [("text", "300 of 300"), ("(text where index < 9)", "9 of 9"), ("held", None)],
)
def test_a_dictionary_judged_on_its_own_data_is_said_to_be_so(data: str, told: str | None) -> None:
    held = 'dataset held = prompts(clean=["a new text", "another one"])\n'
    fit = "step sae = fit topk(width=64, k=4) on L0.mlp of text until tokens=1M\n"
    judged = f"step j = evaluate sae on {data} measure fvu()\n"
    found = check_source(Source(f"{HEAD}{held}{fit}{judged}")).diagnostics
    assert [d.code for d in found] == (["W41"] if told else [])
    assert all(told and told in str(d.label) for d in found)
