"""A model's own text from the file to a dictionary that is fitted on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import interp_dsl
from interp_dsl.check import check_source, plan_experiment
from interp_dsl.language.source import Source
from interp_dsl.models.load import load
from interp_dsl.plan.estimates import estimates
from interp_dsl.plan.explain import explain
from interp_dsl.plan.tasks import LoadModel, Plan
from interp_dsl.runs.folder import RunFolder
from tests.plan.test_cost_work import counted

TEXT = """model m = bundled("text-1l-512")
dataset own = sampled(m, n=60, context=32, seed={seed})
step base = evaluate m on own measure loss()
step sae = fit topk(k=8, width=64, batch=256, buffer=1024) on L0.resid_pre of own until tokens=2k
step score = evaluate sae on own measure l0(), fvu()
step seen = inspect features(sae) by density() on own
"""


def ran(place: Path, name: str, seed: int = 1) -> RunFolder:
    place.mkdir()
    (place / "x.interp").write_text(TEXT.format(seed=seed))
    interp_dsl.run(place / "x.interp", out=place / name)
    return RunFolder.open(place / name)


def test_a_dictionary_of_a_models_own_text_is_the_same_again(tmp_path: Path) -> None:
    one, again, other = (ran(tmp_path / str(i), "run", seed) for i, seed in enumerate((1, 1, 2)))
    prints = [run.manifest["data"]["own"] for run in (one, again, other)]
    assert prints[0] == prints[1] != prints[2] and prints[0]["n"] == 60
    assert one.manifest["seeds"]["own"] == 1
    assert one.step_keys == again.step_keys
    first, second, third = (run.read_tensors("sae") for run in (one, again, other))
    assert first.keys() == second.keys()
    for key, values in first.items():
        np.testing.assert_array_equal(values, second[key])
    assert any((values != third[key]).any() for key, values in first.items())
    assert one.has_table("score") and one.has_table("seen")
    held = one.read_tensors("sampled.own")
    assert held["own.tokens"].shape == (60, 32) and {"vocabulary", "vocabulary.text"} <= held.keys()
    kept = one.read_tensors("pairs.own")  # the first of them, as the screens show them
    np.testing.assert_array_equal(held["own.tokens"][:8], kept["own.tokens"])


def test_a_bundled_model_writes_what_full_forwards_say(tmp_path: Path) -> None:
    text = """model m = bundled("text-1l-512")
dataset own = sampled(m, n=1, context=24, temperature=0)
step base = evaluate m on own measure loss()
"""
    (tmp_path / "x.interp").write_text(text)
    interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "run")
    found = RunFolder.open(tmp_path / "run").read_tensors("pairs.own")
    model = load({"kind": "bundled", "name": "text-1l-512"}, "cpu", executor="hooked")
    wanted = [model.facts.bos]
    while len(wanted) < 24:
        wanted.append(int(model.forward(torch.tensor([wanted]), None).logits[0, -1].argmax()))
    (tokens,) = (v for k, v in found.items() if k.endswith("tokens"))
    assert tokens[0].tolist() == wanted


def planned(text: str) -> Plan:
    found = check_source(Source(text, None))
    assert found.experiment is not None, found.diagnostics
    return plan_experiment(found.experiment, "cpu")


def test_the_plan_says_what_it_costs(tmp_path: Path) -> None:
    text = """model m = bundled("ioi-3l")
dataset own = sampled(m, n=20, context=16, seed=1)
step base = evaluate m on own measure loss()
"""
    plan = planned(text)
    found = estimates(plan)
    assert not found.unknown and found.tasks["data:own"].passes == 20
    assert found.tasks["data:own"].tokens == 20 * 15
    assert found.total.flops is not None
    assert counted(plan, tmp_path) == pytest.approx(found.total.flops, rel=1e-9)
    assert "written by m: drawn at temperature 1, seed 1" in explain(plan)


def test_by_hooks_the_plan_counts_the_whole_text_for_every_token() -> None:
    text = """model m = bundled("ioi-3l")
dataset own = sampled(m, n=20, context=16)
step base = record m."blocks.0.hook_resid_pre" of own
"""
    plan = planned(text)
    hooked = [t.spec.get("executor") for t in plan.tasks if isinstance(t, LoadModel)]
    if hooked == ["hooked"]:
        assert estimates(plan).tasks["data:own"].tokens == 20 * 15 * 15
    else:
        pytest.fail("the plan was to run by hooks")
