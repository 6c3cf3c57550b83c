"""Single examples: their prompts as far as a run has kept them, their own effects, and lines that
would keep more."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import interp_dsl as interp
from interp_dsl.plan.algebra import Run
from interp_dsl.plan.tasks import BuildData, Plan
from interp_dsl.runs import example_prompts as prompts
from interp_dsl.runs.examples import of_example
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.schema import score_table
from tests.tui.viewed import CLEAN, WORDS, vocabulary, write_pairs

TEXT = """
model   m = bundled("ioi-3l")
dataset ioi = task("ioi-3l", n=16, seed=0)
dataset alone = prompts(["When Mary", "Then Anna"])
metric  gap = logit_diff()
let     few = ioi where index < 8
step noising = patch heads at END from ioi.corrupt into ioi.clean measure gap, kl()
step fewer = patch heads at END from few.corrupt into few.clean measure gap
step unnamed = ablate {L0H0} with zero on (ioi where index < 4).clean measure gap
step cut = ablate {L0H0} with zero on alone measure kl()
step guess = attribute heads at END by atp() from ioi.corrupt into ioi.clean measure gap
step plain = evaluate m on ioi measure gap
"""


@pytest.fixture(scope="module")
def plan() -> Plan:
    return interp.plan(TEXT)


def folder_in(root: Path, plan: Plan) -> RunFolder:
    folder = RunFolder.create(root, "x", datetime(2026, 11, 20))
    folder.write_experiment(TEXT)
    folder.write_plan(plan)
    return folder


def run(plan: Plan, step: str) -> Run:
    found = prompts.run_of(plan, step)
    assert found is not None
    return found


def test_the_data_of_a_step_go_by_the_name_of_their_pairs(plan: Plan) -> None:
    names = {s: prompts.data_of(plan, s) for s in ("noising", "fewer", "cut", "guess", "plain")}
    assert names == {
        "noising": "ioi",
        "fewer": "few",
        "cut": "alone",
        "guess": "ioi",
        "plain": "ioi",
    }
    assert prompts.data_of(plan, "unnamed") == "ioi_where_index_4"
    assert prompts.data_of(plan, "nowhere") is None and prompts.data_of(None, "noising") is None


def test_prompts_are_those_of_kept_pairs_and_of_recordings(tmp_path: Path, plan: Plan) -> None:
    folder = folder_in(tmp_path, plan)
    assert prompts.prompt_texts(folder, plan, "noising") == {}
    write_pairs(folder)  # two of them
    told = ["".join(WORDS[i] for i in ids) for ids in CLEAN]
    assert prompts.prompt_texts(folder, plan, "noising") == dict(enumerate(told))
    assert prompts.prompt_texts(folder, plan, "fewer") == {}, "of other data"

    text = TEXT + prompts.recording(plan, run(plan, "noising"), 3)
    more = interp.plan(text)
    ids, lengths = np.array([[0, 1, 2], [0, 3, 4], [0, 2, 9]]), np.array([3, 3, 2])
    folder.write_tensors("all_prompts", {"tokens": ids, "lengths": lengths} | vocabulary())
    found = prompts.prompt_texts(folder, more, "noising")
    assert found == {**dict(enumerate(told)), 2: "<bos> Mary"}
    assert prompts.prompt_texts(folder, more, "fewer") == {}


@pytest.mark.parametrize("step", ["noising", "fewer", "unnamed", "cut", "guess"])
def test_the_lines_that_keep_more_are_right(tmp_path: Path, plan: Plan, step: str) -> None:
    folder = folder_in(tmp_path, plan)
    metric = prompts.measured(folder, "kl" if step == "cut" else "gap")
    lines = prompts.keeping(plan, run(plan, step), 1, metric)
    lines += "\n" + prompts.recording(plan, run(plan, step), 2)
    assert [d for d in interp.check(TEXT + lines) if d.severity == "error"] == []
    built = [t.name for t in interp.plan(TEXT + lines).tasks if isinstance(t, BuildData)]
    assert "number_1" in built


def test_a_metric_without_a_name_of_its_own_is_called(tmp_path: Path, plan: Plan) -> None:
    folder = folder_in(tmp_path, plan)
    assert prompts.measured(folder, "gap") == "gap" and prompts.measured(folder, "kl") == "kl()"


def test_one_examples_own_effects(tmp_path: Path, plan: Plan) -> None:
    folder = folder_in(tmp_path, plan)
    rows = [
        {"unit": f"L0H{i}", "position": "END", "metric": "gap", "base": 1.0, "value": 2.0}
        | {"effect": 1.0, "normalized": 0.5, "low": 0.0, "high": 2.0, "n": 3, "skipped": False}
        for i in range(2)
    ]
    table = score_table(rows)
    folder.write_table("noising", table)
    assert len(of_example(folder, "noising", table, 0)) == 0, "none are kept"
    base = np.array([[1, 2, 3], [1, 2, np.nan]], dtype=np.float32)
    value = np.array([[2, 4, 9], [0, 1, np.nan]], dtype=np.float32)
    folder.write_tensors("noising", {"base": base, "value": value})
    own = of_example(folder, "noising", table, 1)
    assert own.select("unit", "base", "value", "effect").rows() == [
        ("L0H0", 2.0, 4.0, 2.0),
        ("L0H1", 2.0, 1.0, -1.0),
    ]
    assert own.select("normalized", "low", "high", "n").null_count().row(0) == (2, 2, 2, 2)
    assert own.schema == table.schema
    assert of_example(folder, "noising", table, 2)["unit"].to_list() == ["L0H0"]
    assert len(of_example(folder, "noising", table, 3)) == 0, "there is no such example"
    folder.write_tensors("noising", {"base": base, "effect": value - base})  # estimates
    found = of_example(folder, "noising", table, 1)
    assert found["effect"].to_list() == [2.0, -1.0] and found["value"].null_count() == 2
    assert isinstance(found, pl.DataFrame)
