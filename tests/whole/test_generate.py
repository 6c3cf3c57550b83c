"""Steering from the text to the claims: the example and the reference as they stand, what the plan
costs, both executors, what is taken over, what a model cannot write."""

from __future__ import annotations

from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
from safetensors.numpy import save_file

import interp_dsl
from interp_dsl.check import check_source, plan_experiment
from interp_dsl.language.source import Source
from interp_dsl.plan.estimates import estimates
from interp_dsl.plan.explain import explain
from interp_dsl.plan.tasks import Plan
from tests.docs.reference import LANGUAGE, REPOSITORY, program, snippets
from tests.models.checkpoints import tiny_native
from tests.plan.test_cost_work import counted

HEAD = """model m = bundled("ioi-3l")
dataset ioi = template(n=12, seed=0) {
  clean   "When {A} and {B} went to the store, {B@S2} gave a book to{@END}"
  corrupt "When {A} and {B} went to the store, {C@S2} gave a book to{@END}"
  answer  " {A}"
  wrong   " {B}"
  where   A, B, C in ["Mary", "John", "Anna", "Paul", "Lucy"]
}
"""
TEXT = f"""{HEAD}
let  v     = mean(L1.resid_pre of ioi.clean at END) - mean(L1.resid_pre of ioi.corrupt at S2)
step cut   = ablate heads layers 2 with zero
step swap  = patch L2.resid_pre at END from ioi.corrupt
step push  = perturb L2.resid_pre of ioi.clean along v by 1x
step out   = generate 6 from ioi.clean under cut, swap, push, together(cut, push)
step drawn = generate 6 from (ioi.clean under cut) under push using temperature=1, top_p=0.9
"""


def planned(text: str) -> Plan:
    found = check_source(Source(text, None))
    assert found.experiment is not None, found.diagnostics
    return plan_experiment(found.experiment, "cpu")


def test_the_example_holds(tmp_path: Path) -> None:
    found = interp_dsl.run(REPOSITORY / "examples" / "steering.interp", out=tmp_path / "run")
    assert found.claims and all(claim["ok"] for claim in found.claims), found.claims


def test_what_the_reference_claims_holds(tmp_path: Path) -> None:
    every = snippets(LANGUAGE)
    (snippet,) = (s for s in every if s.name == "generating")
    (tmp_path / "x.interp").write_text(program(snippet, every))
    found = interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "run")
    assert found.claims and all(claim["ok"] for claim in found.claims), found.claims


def test_the_plan_says_what_it_costs(tmp_path: Path) -> None:
    """No text of this model ends before its last token, so that the bound is met."""
    plan = planned(TEXT)
    found = estimates(plan)
    assert found.total.is_bound and found.total.flops is not None
    assert counted(plan, tmp_path) == pytest.approx(found.total.flops, rel=1e-9)
    assert found.plain_loop.flops is not None and found.steps.flops is not None
    assert found.plain_loop.flops > 2 * found.steps.flops
    told = explain(plan)
    assert "step out: 6 tokens behind each prompt, 7 times" in told
    assert "plain, cut, swap, push, together(cut, push), random(push)" in told
    assert "drawn at temperature 1, top_p 0.9, seed 0" in told


def test_the_answer_follows_the_side_that_is_patched_in(tmp_path: Path) -> None:
    """At the END token the stream of the corrupt run gives the corrupt run's next token."""
    text = f"{HEAD}\nstep swap = patch L2.resid_post at END from ioi.corrupt\n"
    text += "step out = generate 1 from ioi.clean under swap\n"
    text += "step other = generate 1 from ioi.corrupt\n"
    (tmp_path / "x.interp").write_text(text)
    run = interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "run")
    swapped = run.scores("out.tokens").filter(under="swap")
    other = run.scores("other.tokens")
    assert swapped["id"].equals(other["id"])
    assert not swapped["id"].equals(run.scores("out.tokens").filter(under="plain")["id"])


def test_a_second_run_takes_all_tables_over(tmp_path: Path) -> None:
    (tmp_path / "x.interp").write_text(TEXT)
    first = interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "runs" / "one")
    (tmp_path / "x.interp").write_text(TEXT.replace("step out ", "step again "))
    second = interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "runs" / "two")
    for table in ("", ".texts", ".tokens"):
        assert second.scores(f"again{table}").equals(first.scores(f"out{table}"))


@pytest.mark.parametrize(
    ("name", "why"), [("bidirectional", "looks ahead"), ("plain", "tells 20 classes")]
)
def test_what_cannot_write_is_told_so(name: str, why: str, tmp_path: Path) -> None:
    text = f'model m = weights("{name}")\ndataset d = tokens("d.safetensors")\n'
    copytree(tiny_native(name), tmp_path / name)
    save_file({"clean": np.ones((2, 4), np.int64)}, tmp_path / "d.safetensors")
    text += "step out = generate 5 from d\n"
    found = check_source(Source(text, tmp_path / "x.interp")).diagnostics
    assert [d.code for d in found] == ["E306"] and why in found[0].message
