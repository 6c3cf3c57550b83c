"""Estimates from the text to the claims: the example and the reference as they stand, how they
agree with patches, on either executor, and a step that is killed and begun again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import interp_dsl
from interp_dsl.runs.examples import examples
from interp_dsl.runs.folder import RunFolder
from tests.docs.reference import LANGUAGE, REPOSITORY, program, snippets

HEAD = """model m = bundled("induction-2l")
dataset repeats = repeated_tokens(pairs=16, half=12)
metric gap = logit_diff()
"""
OVER = "from repeats.corrupt into repeats.clean measure gap"
DIES = """
import os, sys
from interp_dsl.engine import walk
from interp_dsl.cli.app import main

attribute = walk.attribute

def dies(*arguments):
    attribute(*arguments)
    os._exit(9)

walk.attribute = dies
sys.exit(main(sys.argv[1:]))
"""


def ran(tmp_path: Path, text: str, name: str = "run") -> Any:
    (tmp_path / "x.interp").write_text(HEAD + text)
    return interp_dsl.run(tmp_path / "x.interp", out=tmp_path / name)


def noted(found: Any, step: str) -> dict[str, Any]:
    manifest = json.loads((found.path / "manifest.json").read_text())
    told: dict[str, Any] = manifest["steps"][step]
    return told


def test_the_example_holds(tmp_path: Path) -> None:
    found = interp_dsl.run(REPOSITORY / "examples" / "attribution.interp", out=tmp_path / "run")
    assert found.claims and all(claim["ok"] for claim in found.claims), found.claims


def test_what_the_reference_claims_holds(tmp_path: Path) -> None:
    every = snippets(LANGUAGE)
    (snippet,) = (s for s in every if s.name == "attribution")
    (tmp_path / "x.interp").write_text(program(snippet, every))
    found = interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "run")
    assert found.claims and all(claim["ok"] for claim in found.claims), found.claims


@pytest.mark.parametrize(
    ("what", "n"),
    [
        ("heads by atp(verify=top(8))", 8),
        ("heads by ig(steps=10, verify=top(8))", 8),
        ("edges by eap(verify=top(20))", 20),
        ("edges by eap_ig(steps=10, verify=top(20))", 20),
    ],
)
def test_estimates_agree_with_patches(what: str, n: int, tmp_path: Path) -> None:
    text = f"step quick = attribute {what} {OVER}\nstep real = patch heads {OVER}\n"
    found = ran(tmp_path, text)
    quick, real = found.scores("quick"), found.scores("real")
    some = quick.filter(pl.col("verified").is_not_null())
    assert len(some) == n
    told = noted(found, "quick")["verified"]["gap"]
    pearson = np.corrcoef(some["effect"], some["verified"])[0, 1]
    assert told["pearson"] == pytest.approx(pearson, abs=1e-9)
    assert pearson > 0.9 and told["spearman"] > 0.9
    if n == 8:
        both = quick.join(real, on="unit")
        np.testing.assert_allclose(both["verified"], both["effect_right"], atol=1e-4)
        ranks = both.select(pl.corr("effect", "effect_right", method="spearman")).item()
        assert ranks == pytest.approx(told["spearman"]) and ranks > 0.9
        assert quick["n"].unique().to_list() == [16] and quick["value"].is_null().all()


def test_the_hooks_estimate_the_same(tmp_path: Path) -> None:
    """A hook in quotes has the model run by TransformerLens's hooks."""
    steps = f"step a = attribute heads, queries by atp() {OVER}\n"
    steps += f"step b = attribute heads by ig() {OVER}\n"
    compiled = ran(tmp_path, steps, "compiled")
    hook = f'step c = attribute "blocks.1.hook_resid_pre" by atp() {OVER}\n'
    whole = f"step d = attribute L1.resid_pre by atp() {OVER}\n"
    hooked = ran(tmp_path, steps + hook + whole, "hooked")
    kinds = [
        json.loads((r.path / "manifest.json").read_text())["models"] for r in (compiled, hooked)
    ]
    assert [kind["m"]["executor"] for kind in kinds] == ["compiled", "hooked"]
    for step in ("a", "b"):
        mine, other = compiled.scores(step)["effect"], hooked.scores(step)["effect"]
        np.testing.assert_allclose(mine, other, atol=2e-3)
    by_hook, by_name = hooked.scores("c")["effect"], hooked.scores("d")["effect"]
    np.testing.assert_allclose(by_hook, by_name, atol=2e-3)


def test_edges_of_a_hooked_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(interp_dsl.InterpError) as caught:
        ran(
            tmp_path,
            f'step c = attribute "blocks.1.hook_resid_pre" by atp() {OVER}\n'
            f"step d = attribute edges by eap() {OVER}\n",
        )
    assert caught.value.diagnostics[0].code == "E650"


def test_examples_are_chosen_by_an_estimate(tmp_path: Path) -> None:
    text = (
        f"step quick = attribute heads by atp() {OVER}\n"
        "let strong = repeats where quick[L0H0].gap.effect < -15\n"
        "step base = evaluate m on strong measure gap\n"
    )
    found = ran(tmp_path, text)
    from safetensors.numpy import load_file

    effects = load_file(found.path / "tensors" / "quick.safetensors")["effect"][0]
    assert found.scores("base")["n"][0] == (effects < -15).sum()
    assert 0 < (effects < -15).sum() < 16


def test_a_step_that_is_killed_begins_again(tmp_path: Path) -> None:
    text = f"step quick = attribute edges by eap_ig(verify=top(5)) {OVER}\n"
    whole = ran(tmp_path, text, "whole")
    command = ["run", str(tmp_path / "x.interp"), "--out", "killed", "--fresh", "--json"]
    died = subprocess.run([sys.executable, "-c", DIES, *command], cwd=tmp_path, capture_output=True)
    assert died.returncode == 9
    assert interp_dsl.open_run(tmp_path / "killed").steps == []
    again = interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "killed", runs=tmp_path / "none")
    assert again.status == "done"
    assert again.scores("quick").equals(whole.scores("quick"))


def test_estimates_are_taken_over_from_another_run(tmp_path: Path) -> None:
    text = f"step quick = attribute heads by atp(verify=top(8)) {OVER}\n"
    first = ran(tmp_path, text, "first")
    second = interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "second", runs=tmp_path)
    assert noted(second, "quick")["taken_from"] == str(first.path)
    assert noted(second, "quick")["verified"] == noted(first, "quick")["verified"]
    assert second.scores("quick").equals(first.scores("quick"))


def test_estimates_of_single_examples_are_exported(tmp_path: Path) -> None:
    found = ran(tmp_path, f"step quick = attribute heads by atp() {OVER}\n")
    rows = examples(RunFolder.open(found.path), "quick")
    assert len(rows) == 8 * 16 and rows["value"].is_null().all()
    means = rows.group_by("unit", maintain_order=True).agg(pl.col("effect", "base").mean())
    scores = found.scores("quick")
    assert means["unit"].to_list() == scores["unit"].to_list()
    for column in ("effect", "base"):
        np.testing.assert_allclose(means[column], scores[column], atol=1e-5)


@pytest.mark.parametrize("what", ["heads by atp(verify=top(6))", "edges by eap(verify=top(12))"])
def test_correlations_are_claimed(what: str, tmp_path: Path) -> None:
    """What a claim reads is the correlation of the table's own columns."""
    found = ran(
        tmp_path,
        f"step quick = attribute {what} {OVER}, logprob()\n"
        "expect quick.gap.pearson > -2\nexpect quick.logprob.spearman > -2\n"
        "expect quick.gap.pearson > 1.5\n",
    )
    rows = found.scores("quick").drop_nulls("verified")
    for claim, metric, ranks in zip(
        found.claims, ("gap", "logprob", "gap"), (False, True, False), strict=True
    ):
        mine = rows.filter(pl.col("metric") == metric)
        pair = [mine[column].to_numpy() for column in ("effect", "verified")]
        pair = [x.argsort().argsort() for x in pair] if ranks else pair
        assert claim["value"] == pytest.approx(np.corrcoef(*pair)[0, 1], abs=1e-5)
    assert [claim["ok"] for claim in found.claims] == [True, True, False]
    assert "quick.gap.pearson is" in found.claims[2]["message"]
