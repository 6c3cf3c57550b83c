"""`python("module:function")` as a metric: the person's own number, only when trusted."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

import interp_dsl
from interp_dsl.engine.execute import execute
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.runs.folder import RunFolder

TEXT = """
model m = bundled("ioi-3l")
dataset ioi = task("ioi-3l", n=6)
metric own = python("own_metrics:{name}")
step who = ablate heads layers 2 with zero on ioi.clean measure own, logit_diff(), logit()
"""
CODE = """
import torch

def gap(logits, examples, data):
    rows = torch.arange(len(examples))
    answers = torch.tensor([data.answers[i].alternatives[0][0] for i in examples.tolist()])
    wrongs = torch.tensor([data.wrongs[i].alternatives[0][0] for i in examples.tolist()])
    return logits[rows, answers] - logits[rows, wrongs]

def whole(logits, examples, data):
    return logits
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "own_metrics.py").write_text(CODE)
    return tmp_path


def program(place: Path, name: str) -> Path:
    file = place / "own.interp"
    file.write_text(TEXT.format(name=name))
    return file


def test_an_own_metric_is_measured_as_the_built_in_one(place: Path) -> None:
    run = interp_dsl.run(program(place, "gap"), out=place / "run", trust=True)
    table = run.scores("who")
    own, built_in = (
        table.filter(metric=name).select("base", "value", "effect", "low", "high").to_numpy()
        for name in ("own", "logit_diff")
    )
    assert own == pytest.approx(built_in, abs=1e-6)
    assert abs(own[:, 2]).max() > 1


def test_it_needs_trust_from_the_text_and_from_the_plan(place: Path) -> None:
    file = program(place, "gap")
    assert [d.code for d in interp_dsl.check(file)] == ["E501"]
    plan = interp_dsl.plan(file, trust=True)
    folder = RunFolder.create(place, "own", datetime(2026, 1, 1))
    with pytest.raises(InterpError, match="E458"):
        execute(plan, folder)


def test_what_it_gives_is_one_value_a_row(place: Path) -> None:
    with pytest.raises(InterpError, match="E626") as caught:
        interp_dsl.run(program(place, "whole"), out=place / "run", trust=True)
    assert "it returned a tensor [6, 92]" in caught.value.diagnostics[0].notes[0]
