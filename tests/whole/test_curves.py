"""Curves from the text to the claims: the examples and the reference as they stand, the optimised
plan against hooks one point at a time, what the plan costs, a step that is killed."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import interp_dsl
from interp_dsl.check import check_source, plan_experiment
from interp_dsl.check.lower import lower
from interp_dsl.language.source import Source
from interp_dsl.plan.passes import optimise
from interp_dsl.plan.tasks import Sweep
from tests.devices import here
from tests.docs.reference import LANGUAGE, REPOSITORY, program, snippets
from tests.models.checkpoints import HF
from tests.plan.test_cost_work import counted, total
from tests.whole.test_optimised import NAMES, PRELUDE, executors, plain, table

HEAD = """model m = bundled("induction-2l")
dataset repeats = repeated_tokens(pairs=16, half=8)
"""


def ran(tmp_path: Path, text: str, name: str = "run") -> Any:
    (tmp_path / "x.interp").write_text(HEAD + text)
    return interp_dsl.run(tmp_path / "x.interp", out=tmp_path / name)


@pytest.mark.parametrize("name", ["sensitive_directions", "stable_regions"])
def test_an_example_holds(name: str, tmp_path: Path) -> None:
    found = interp_dsl.run(REPOSITORY / "examples" / f"{name}.interp", out=tmp_path / "run")
    assert found.claims and all(claim["ok"] for claim in found.claims), found.claims


def test_what_the_reference_claims_holds(tmp_path: Path) -> None:
    every = snippets(LANGUAGE)
    (snippet,) = (s for s in every if s.name == "curves")
    (tmp_path / "x.interp").write_text(program(snippet, every))
    found = interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "run")
    assert found.claims and all(claim["ok"] for claim in found.claims), found.claims


STEPS = (
    "perturb {site} of ioi.clean {at} along random(n=2), r by 0..4 every 2 {end} measure gap, kl()",
    "perturb {site} of ioi.corrupt {at} along covariance(n=2), difference() by 10%, 50% {end} "
    "measure kl(), distance()",
    "perturb {site} of ioi.clean {at} along toward(mean(ioi.corrupt, per=all)), toward_zero() "
    "by 0x..0.8x every 0.4x {end} measure gap, distance()",
    "perturb {site} of ioi.clean {at} along random(n=2) by 1, 4 {end} "
    "measure (distance(L1.attn_out) at S2.last)",
    "perturb {site} of ioi.clean {at} along random(n=2) by 1, 4 {end} "
    "measure loss(), distance(L1.mlp)",
    "interpolate {site} from ioi.clean to ioi.corrupt {at} by 0..1 every 0.25 {end} "
    "using refine=2 measure distance(L1.resid_post)",
    "perturb {site} of ioi.clean {at} along toward_real(), components(n=2) by 1, 3 {end} "
    "measure gap",
    "interpolate {site} from ioi.clean to ioi.corrupt {at} by 0..1 every 0.25 along line(), arc() "
    "{end} using refine=2 measure distance(), kl()",
    "interpolate {site} from ioi.clean to resample(ioi.clean) {at} {end} using refine=1 "
    "measure kl()",
)


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("name", HF)
@settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    step=st.sampled_from(STEPS),
    site=st.sampled_from(
        ("L0.resid_pre", "L1.resid_pre, L0.resid_post", "L0.resid_mid", "L1.mlp", "L0H1", "L1H0.v")
    ),
    at=st.sampled_from(("", "at END", "at S2, END", "at each", "at together(S1, END)")),
    end=st.sampled_from(("", "under cut")),
    seed=st.integers(0, 3),
)
def test_optimised_equals_plain(
    name: str,
    step: str,
    site: str,
    at: str,
    end: str,
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """With all passes on the compiled forward, and with none by hooks, one point a batch. (Not at
    zero itself, where a norm makes rounding large.)"""
    folder, hooked, compiled = executors(name, 2, here())
    text = f'model m = checkpoint("{folder}")' + PRELUDE.format(
        seed=seed, names=NAMES, places='["store"]'
    )
    text += "step who = " + step.format(site=site, at=at, end=end)
    checked = check_source(Source(text), allow=[folder])
    if checked.experiment is None:
        codes = {d.code for d in checked.diagnostics if d.severity == "error"}
        assert codes <= {"E306", "E201"}, checked.diagnostics
        return
    work = tmp_path_factory.mktemp("runs")
    naive = lower(checked.experiment)
    ours = table(optimise(naive), compiled, work / "a")
    reference = table(plain(naive), hooked, work / "b")
    if isinstance(ours, tuple) or isinstance(reference, tuple):
        # The two sides have the same activations there, so that their difference is no direction.
        assert ours == reference == ("E633",)
        return
    keys = ["unit", "position", "metric", "direction", "number", "length"]
    assert ours.select(keys).equals(reference.select(keys), null_equal=True)
    scale = max(1.0, float(reference["value"].abs().max()))  # type: ignore[arg-type]
    for column in ("base", "value", "effect", "median", "low", "high"):
        points = pl.col("length").is_not_null()
        mine, other = (t.filter(points)[column].to_numpy() for t in (ours, reference))
        np.testing.assert_allclose(mine, other, atol=3e-5 * scale, err_msg=column)


COST = """model m = bundled("ioi-3l")
dataset ioi = template(n=16, seed=0) {
  clean   "When {A} and {B@S1} went to the store, {B} gave a book to{@END}"
  corrupt "When {A} and {B@S1} went to the store, {C} gave a book to{@END}"
  answer  " {A}"
  wrong   " {B}"
  where   A, B, C in ["Mary", "John", "Anna", "Paul"]
}
"""


def cost_of(step: str) -> tuple[float, float]:
    """FLOPs of the step's passes, and of as many whole ones."""
    from interp_dsl.plan.cost import cost, whole
    from interp_dsl.plan.sizes import sizes

    checked = check_source(Source(COST + step))
    assert checked.experiment is not None, checked.diagnostics
    plan = plan_experiment(checked.experiment, "cpu")
    known = sizes(plan)
    (task,) = (t for t in plan.tasks if isinstance(t, Sweep))
    mine = cost(task, known)
    assert mine.flops is not None and mine.passes is not None
    everything = whole(task.variants[0].into, mine.passes, known)
    assert everything.flops is not None
    return mine.flops, everything.flops


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_a_step_costs_the_layers_from_the_touched_one_on(layer: int) -> None:
    """Of three layers a step at the beginning of one costs those that are left, and less."""
    step = (
        f"step s = perturb L{layer}.resid_pre of ioi.clean along random(n=4) by 1..8 measure kl()"
    )
    mine, everything = cost_of(step)
    assert mine <= everything * (3 - layer) / 3 * 1.001
    late = (
        f"step s = perturb L{layer}.resid_post of ioi.clean along random(n=4) by 1..8 measure kl()"
    )
    assert cost_of(late)[0] < mine


@pytest.mark.parametrize(
    "step",
    [
        "perturb L1.resid_pre of ioi.clean along random(n=2), covariance(n=2) by 1..3 "
        "measure kl(), distance()",
        "interpolate L0.resid_post from ioi.clean to ioi.corrupt using refine=2 "
        "measure distance(), kl()",
    ],
)
def test_the_estimate_is_what_is_multiplied(step: str, tmp_path: Path) -> None:
    """The matrix products that the executor counts are those that the plan tells."""
    checked = check_source(Source(COST + "step s = " + step))
    assert checked.experiment is not None, checked.diagnostics
    plan = plan_experiment(checked.experiment, "cpu")
    tasks = tuple(replace(t, skips=False) if isinstance(t, Sweep) else t for t in plan.tasks)
    plan = replace(plan, tasks=tasks)
    assert counted(plan, tmp_path) == total(plan).flops


def test_many_directions_share_a_batch_and_one_pass_of_the_side() -> None:
    checked = check_source(
        Source(
            HEAD
            + "step a = perturb L1.resid_pre of repeats.clean along random(n=3), covariance() "
            + "by 10%..50% every 10% measure kl()\n"
            + "step b = interpolate L1.resid_pre from repeats.clean to repeats.corrupt "
            + "measure kl()\n"
        )
    )
    assert checked.experiment is not None
    plan = plan_experiment(checked.experiment, "cpu")
    from interp_dsl.plan.tasks import Forward

    forwards = [t for t in plan.tasks if isinstance(t, Forward)]
    assert sorted(f.run.side for f in forwards) == ["clean", "corrupt"]
    clean = next(f for f in forwards if f.run.side == "clean")
    assert len(clean.moments) == 1 and len(clean.sites) == 1
    sweep = next(t for t in plan.tasks if isinstance(t, Sweep))
    assert sweep.late and sweep.packing and sweep.packing.rows > 16


DIES = """
import os, sys
from interp_dsl.engine import walk
from interp_dsl.cli.app import main

walk.traced = lambda *arguments: os._exit(9)
sys.exit(main(sys.argv[1:]))
"""


def test_a_killed_step_goes_on_from_its_points(tmp_path: Path) -> None:
    """Points that are measured are not measured again, and the table is the same."""
    text = HEAD + (
        "step sens = perturb L1.resid_pre of repeats.clean along random(n=4) by 0..4 measure kl()\n"
    )
    path = tmp_path / "x.interp"
    path.write_text(text)
    command = [sys.executable, "-c", DIES, "run", str(path), "--out", str(tmp_path / "run")]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 9
    assert list((tmp_path / "run" / "parts" / "sens").iterdir())
    again = interp_dsl.run(path, out=tmp_path / "run")
    events = [json.loads(x) for x in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    assert any(e["event"] == "run_started" and e["resumed"] for e in events)
    assert not (tmp_path / "run" / "parts" / "sens").exists()
    fresh = interp_dsl.run(path, out=tmp_path / "fresh")
    assert again.scores("sens").equals(fresh.scores("sens"), null_equal=True)


def test_examples_are_chosen_by_their_own_curves(tmp_path: Path) -> None:
    found = ran(
        tmp_path,
        "step regions = interpolate L0.resid_post from repeats.clean to repeats.corrupt at last "
        "using both=false measure distance()\n"
        "let steep = repeats where regions.distance.slope > 1.01\n"
        "step seen = evaluate m on steep measure accuracy()\n",
    )
    table = found.scores("regions").with_row_index("row")
    whole = table.filter(pl.col("length").is_null())["row"].item()
    from interp_dsl.runs.folder import RunFolder

    slopes = RunFolder.open(found.path).read_tensors("regions")["slope"][whole]
    count = int((slopes > 1.01).sum())
    assert 0 < count < 16 and found.scores("seen")["n"].item() == count


def test_an_intervention_moves_what_others_run_under(tmp_path: Path) -> None:
    found = ran(
        tmp_path,
        "let swap = mean(L1.resid_pre of repeats.corrupt at last) "
        "- mean(L1.resid_pre of repeats.clean at last)\n"
        "step steer = perturb L1.resid_pre of repeats.clean at last along swap by 3\n"
        "step seen = evaluate m on repeats.clean under steer measure kl()\n"
        "step sens = perturb L1.resid_pre of repeats.clean at last along swap by 1..3 "
        "measure kl()\n",
    )
    point = found.scores("sens").filter(pl.col("length") == 3)["value"].item()
    assert point > 0
    assert found.scores("seen")["value"].item() == pytest.approx(point, rel=1e-5)


def test_exported_examples_are_the_values_behind_points(tmp_path: Path) -> None:
    found = ran(
        tmp_path,
        "step sens = perturb L1.resid_pre of repeats.clean along random(n=2) by 0..2 "
        "measure kl()\n",
    )
    table, examples = found.scores("sens"), found.examples("sens")
    one = (pl.col("length") == 2) & pl.col("number").is_null()
    held = examples.filter(one)
    assert len(held) == 16
    assert held["effect"].mean() == pytest.approx(table.filter(one)["effect"].item(), abs=1e-6)


def test_the_same_text_plans_the_same(tmp_path: Path) -> None:
    """The plan is data: it comes back from its own JSON, and its points are few words in it."""
    from interp_dsl.plan import serialise

    checked = check_source(
        Source(
            HEAD + "step a = perturb L1.resid_pre of repeats.clean along random(n=64) by 0..100 "
            "measure kl()\n"
        )
    )
    assert checked.experiment is not None
    plan = plan_experiment(checked.experiment, "cpu")
    text = serialise.dumps(plan)
    assert serialise.loads(text) == plan and len(text) < 40_000
    assert replace(plan, seed=1) != plan


def test_two_runs_of_curves_are_compared_point_by_point(tmp_path: Path) -> None:
    from interp_dsl.runs.compare import compare

    step = (
        "step s = perturb L1.resid_pre of repeats.clean along random(n=2, seed={}), covariance() "
        "by 0..2 measure kl()\n"
    )
    one, other = (ran(tmp_path, step.format(i), f"run{i}").scores("s") for i in (0, 1))
    found = compare(one, other)
    assert len(found) == len(one)
    same = found.filter(pl.col("direction") == "covariance")["difference"].drop_nulls()
    assert len(same) == 3 and same.abs().max() == 0
    far = found.filter(pl.col("direction") == "random", pl.col("length") == 2)
    assert far["difference"].abs().min() > 0


def test_the_table_as_a_person_sees_it(tmp_path: Path) -> None:
    """Whole curves first, then points of all directions together, lengths as they are written."""
    from interp_dsl.runs.select import Selection, columns_of, select

    found = ran(
        tmp_path,
        "step s = perturb L1.resid_pre of repeats.clean along random(n=2), covariance() "
        "by 0..50% every 25% measure kl(), loss()\n",
    )
    rows, what = select(found.scores("s"), "s", Selection())
    assert what == "kl, 2 curves (also: loss; choose with --metric)"
    columns = {c.name: list(c.cells) for c in columns_of(rows)}
    assert columns["direction"] == [*["random"] * 2, *["covariance"] * 2, *["random"] * 3,
                                    *["covariance"] * 3]  # fmt: skip
    assert columns["length"] == ["·"] * 4 + ["0%", "25%", "50%"] * 2
    assert columns["threshold"][:2] == ["0.1", "0.5"] and "slope" not in columns
    assert columns["ratio"][4] == "·" and columns["ratio"][-1] == "1.000"


def test_a_vector_of_a_file(tmp_path: Path) -> None:
    """It moves as the same vector made of activations does; one of another width is refused."""
    import torch
    from safetensors.numpy import save_file

    found = ran(tmp_path, "step seen = record L1.resid_pre at last of repeats.clean keep 16\n")
    from interp_dsl.runs.folder import RunFolder

    held = RunFolder.open(found.path).read_tensors("seen")["L1.resid_pre at last"][:, 0]
    save_file({"r": held.mean(0), "wide": np.zeros(7, np.float32)}, tmp_path / "v.safetensors")
    text = (
        "let r = mean(L1.resid_pre of repeats.clean at last)\n"
        "step s = perturb L1.resid_pre of repeats.clean at last along r, "
        'vector("v.safetensors", name="r") by 0..2 measure kl()\n'
    )
    table = ran(tmp_path, text, "moved").scores("s")
    assert table["direction"].unique(maintain_order=True).to_list() == ["r.1", "r.2"]
    one, other = (table.filter(pl.col("direction") == d)["effect"] for d in ("r.1", "r.2"))
    np.testing.assert_allclose(one, other, atol=1e-6)
    assert torch.tensor(one.drop_nulls().to_list()).max() > 0
    path = tmp_path / "x.interp"
    path.write_text(HEAD + text.replace('name="r"', 'name="wide"'))
    (wrong,) = interp_dsl.check(path)
    assert wrong.code == "E306" and "7" in wrong.message
    path.write_text(HEAD + text.replace('name="r"', 'name="q"'))
    (wrong,) = interp_dsl.check(path)
    assert wrong.code == "E200"


def test_a_prompts_curve_does_not_depend_on_the_other_prompts(tmp_path: Path) -> None:
    """A direction depends on seed, example and position; what is drawn from other data too."""
    along = "along random(n=2), covariance(n=2, of=others.clean), difference(of=others.clean)"
    found = ran(
        tmp_path,
        "dataset others = repeated_tokens(pairs=32, half=8, seed=5)\n"
        "let some = repeats where index < 8\n"
        f"step whole = perturb L1.resid_pre of repeats.clean {along} by 1..3 measure kl()\n"
        f"step few = perturb L1.resid_pre of some.clean {along} by 1..3 measure kl()\n",
    )
    whole, part = (found.examples(step).filter(pl.col("example") < 8) for step in ("whole", "few"))
    assert len(part) == len(whole) > 8 * 3 * 5
    np.testing.assert_allclose(part["effect"], whole["effect"], atol=1e-5)
