"""A circuit from the text to the claims: the example and the reference as they stand, and a search
that is killed and begun again."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import interp_dsl
from tests.docs.reference import LANGUAGE, REPOSITORY, program, snippets

TEXT = """model m = bundled("induction-2l")
dataset repeats = repeated_tokens(pairs=16, half=12)
step circuit = search edges by acdc(threshold=[0.02, 0.2])
               from repeats.corrupt into repeats.clean measure kl()
step check = evaluate circuit on repeats measure faithfulness()
step parts = patch circuit[threshold=0.2].heads from repeats.corrupt into repeats.clean measure kl()
"""
DIES = """
import os, sys
from interp_dsl.engine import circuits
from interp_dsl.cli.app import main

searched = circuits.run_search

def dies(*arguments):
    searched(*arguments)
    os._exit(9)

circuits.run_search = dies
sys.exit(main(sys.argv[1:]))
"""


def test_the_example_holds(tmp_path: Path) -> None:
    found = interp_dsl.run(REPOSITORY / "examples" / "circuit.interp", out=tmp_path / "run")
    assert found.claims and all(claim["ok"] for claim in found.claims), found.claims
    circuit = found.circuit("circuit")
    assert circuit.size == len(circuit.edges) == found.scores("circuit")["kept"].sum()
    assert {"L0H0", "L1H0"} <= set(circuit.heads)
    assert found.scores("parts")["unit"].to_list() == circuit.heads
    forms = [(view.step, view.form) for view in found.plan.views]
    assert forms == [("circuit", "graph")]


def test_small_circuits_of_indirect_objects_are_faithful_on_other_prompts(tmp_path: Path) -> None:
    example = REPOSITORY / "examples" / "ioi_circuit.interp"
    found = interp_dsl.run(example, out=tmp_path / "run")
    assert found.claims and all(claim["ok"] for claim in found.claims), found.claims
    assert not found.diagnostics


CIRCUITS = [s for s in snippets(LANGUAGE) if "circuits" in (s.name, s.after)]


@pytest.mark.parametrize("at", [0, 1, 3])
def test_what_the_reference_claims_holds(at: int, tmp_path: Path) -> None:
    (tmp_path / "x.interp").write_text(program(CIRCUITS[at], CIRCUITS))
    found = interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "run")
    assert found.claims and all(claim["ok"] for claim in found.claims), found.claims


def test_the_circuit_of_a_run_is_evaluated_in_another(tmp_path: Path) -> None:
    (tmp_path / "x.interp").write_text(program(CIRCUITS[0], CIRCUITS))
    first = interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "first")
    shutil.copy(first.path / "circuit.circuit.json", tmp_path / "saved.circuit.json")
    (tmp_path / "y.interp").write_text(program(CIRCUITS[2], CIRCUITS))
    second = interp_dsl.run(tmp_path / "y.interp", out=tmp_path / "second", runs=tmp_path)
    still, check = second.scores("still"), first.scores("check")
    by_gap = check.filter(check["metric"] == "gap")["normalized"][0]
    assert still["value"][0] == pytest.approx(by_gap, abs=1e-6)


def test_a_search_that_is_killed_begins_again(tmp_path: Path) -> None:
    (tmp_path / "x.interp").write_text(TEXT)
    whole = interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "whole")
    command = ["run", str(tmp_path / "x.interp"), "--out", "killed", "--fresh", "--json"]
    died = subprocess.run([sys.executable, "-c", DIES, *command], cwd=tmp_path, capture_output=True)
    assert died.returncode == 9
    left = interp_dsl.open_run(tmp_path / "killed")
    assert left.status == "interrupted" and left.steps == []
    again = interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "killed", runs=tmp_path / "none")
    assert again.status == "done"
    for step in whole.steps:
        assert again.scores(step).equals(whole.scores(step))
    assert again.circuit("circuit", 0.2) == whole.circuit("circuit", 0.2)
