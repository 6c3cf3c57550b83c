"""A small experiment with a model of the package, from the command line, nothing stood in for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import torch

import interp_dsl
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.prompts import pair_names

Interp = Callable[..., tuple[int, str, str]]
TEXT = """model m = bundled("ioi-3l")
dataset ioi = task("ioi-3l", n=8)
metric gap = logit_diff()
step who = patch heads from ioi.corrupt into ioi.clean measure gap
expect who[L2H0].gap.normalized > 0.5
expect who[L0H1].gap.normalized > 0.5
"""


def test_a_run_leaves_results_claims_and_examples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interp: Interp
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ioi.interp").write_text(TEXT)
    code, out, err = interp("run", "ioi.interp", "--device", "cpu", "--out", "done")
    assert code == 1
    assert "who · gap by |effect|\n" in out and "✓ who[L2H0]" in out and "✗ who[L0H1]" in out
    assert "who: done" in err

    run = interp_dsl.open_run("done")
    table = run.scores("who")
    assert table.sort("effect")["unit"][0] == "L2H0"
    by_unit = run.examples("who").group_by("unit", maintain_order=True)
    means = by_unit.agg(pl.col("effect").mean())
    assert means["effect"].to_list() == pytest.approx(table["effect"].to_list(), abs=1e-4)
    assert [c["ok"] for c in run.claims] == [True, False]
    assert "<td>L2H0</td>" in run._repr_html_()

    code, out, _ = interp("run", "ioi.interp", "--device", "cpu", "--runs", ".", "--json")
    finished = [e for line in out.splitlines() if (e := json.loads(line)).get("step") == "who"]
    assert code == 1 and finished[-1]["reused"] is True


def test_a_device_that_is_not_there_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interp: Interp
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ioi.interp").write_text(TEXT)
    code, _, err = interp("run", "ioi.interp", "--device", "cuda:99")
    assert code == 3
    assert "E461" in err and "there is no device cuda:99 here" in err
    assert "help: use auto or cpu" in err and "ioi.interp:1:" in err
    told = interp_dsl.open_run(next(Path("runs").iterdir()))
    assert told.status == "failed"
    code, _, _ = interp("run", "ioi.interp", "--device", "cpu", "--quiet")
    assert code == 1 and told.manifest["device"] == "cpu"  # the same run went on


def test_doctor_tells_devices_memory_and_precisions(interp: Interp) -> None:
    code, out, _ = interp("doctor", "--json")
    assert code == 0
    found = {finding["name"]: finding["text"] for finding in json.loads(out)}
    about, _, dtypes = found["cpu"].partition("; ")
    assert "cores" in about and about.endswith("GB")
    assert dtypes == "float32, bfloat16, float16, float64"
    for number in range(torch.cuda.device_count()):
        told = found[f"cuda:{number}"]
        assert torch.cuda.get_device_name(number) in told and "float64" in told


def test_examples_chosen_within_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interp: Interp
) -> None:
    monkeypatch.chdir(tmp_path)
    data = TEXT.splitlines()[:3]
    steps = (
        "step whole = evaluate m on ioi measure gap",
        "step few = evaluate m on ioi where index < 2 measure gap",
        "step some = patch {L2H0} from (ioi where index < 2).corrupt"
        " into (ioi where index < 2).clean measure gap",
    )
    Path("few.interp").write_text("\n".join((*data, *steps)))
    code, _, err = interp("run", "few.interp", "--device", "cpu", "--out", "done")
    assert code == 0, err
    run = interp_dsl.open_run("done")
    first = run.examples("whole")["value"].head(2).mean()
    assert run.scores("few")["value"].to_list() == pytest.approx([first], abs=1e-4)
    assert run.scores("some")["base"].to_list() == pytest.approx([first], abs=1e-4)
    assert pair_names(RunFolder(Path("done"))) == ["ioi", "ioi_where_index_2"]
