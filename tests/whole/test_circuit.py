"""A circuit from the text to the claims: the example and the reference as they stand, and a search
that is killed and goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import interp_dsl
from interp_dsl.circuits import order
from interp_dsl.runs.folder import RunFolder
from tests.docs.reference import LANGUAGE, REPOSITORY, program, snippets

TEXT = """model m = bundled("induction-2l")
dataset repeats = repeated_tokens(pairs=16, half=12)
step circuit = search edges by acdc(threshold=[0.02, 0.2])
               from repeats.corrupt into repeats.clean measure kl()
step check = evaluate circuit on repeats measure faithfulness()
step parts = patch circuit[threshold=0.2].heads from repeats.corrupt into repeats.clean measure kl()
"""
KILLED = """
import os, signal, sys
from interp_dsl.circuits import order
from interp_dsl.cli.app import main
from interp_dsl.engine import taken_up
from interp_dsl.runs.parts import Parts

order.APART, taken_up.EVERY, taken_up.SHARE = 8, 0.0, 0
write, written = Parts.write, []

def killed(self, *arguments):
    write(self, *arguments)
    written.append(arguments)
    if len(written) == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)

Parts.write = killed
sys.exit(main(sys.argv[2:]))
"""
"""A run that is killed when it has written so many snapshots."""


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
[FROM_FILE] = [at for at, s in enumerate(CIRCUITS) if "saved.circuit.json" in s.text]


@pytest.mark.parametrize("at", [at for at in range(len(CIRCUITS)) if at != FROM_FILE])
def test_what_the_reference_claims_holds(at: int, tmp_path: Path) -> None:
    (tmp_path / "x.interp").write_text(program(CIRCUITS[at], CIRCUITS))
    found = interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "run")
    assert found.claims and all(claim["ok"] for claim in found.claims), found.claims


def test_the_circuit_of_a_run_is_evaluated_in_another(tmp_path: Path) -> None:
    (tmp_path / "x.interp").write_text(program(CIRCUITS[0], CIRCUITS))
    first = interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "first")
    shutil.copy(first.path / "circuit.circuit.json", tmp_path / "saved.circuit.json")
    (tmp_path / "y.interp").write_text(program(CIRCUITS[FROM_FILE], CIRCUITS))
    second = interp_dsl.run(tmp_path / "y.interp", out=tmp_path / "second", runs=tmp_path)
    still, check = second.scores("still"), first.scores("check")
    by_gap = check.filter(check["metric"] == "gap")["normalized"][0]
    assert still["value"][0] == pytest.approx(by_gap, abs=1e-6)


SEARCHES = {
    "acdc": ("acdc(threshold=[0.02, 0.2])", 4),
    "greedy": ("greedy(n=60, share=0.1)", 2),
    "subnetwork_probing": ("subnetwork_probing(strength=0.5, steps=12)", 5),
    "edge_pruning": ("edge_pruning(n=20, steps=12)", 5),
}


@pytest.mark.parametrize("method", SEARCHES)
def test_a_search_that_is_killed_goes_on(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, n_snapshots = SEARCHES[method]
    text = TEXT if method == "acdc" else TEXT.replace("[threshold=0.2]", "")
    (tmp_path / "x.interp").write_text(text.replace(SEARCHES["acdc"][0], words))
    monkeypatch.setattr(order, "APART", 8)
    whole = interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "whole", device="cpu")
    command = ["run", str(tmp_path / "x.interp"), "--out", "killed", "--device", "cpu", "--fresh"]
    died = subprocess.run(
        [sys.executable, "-c", KILLED, str(n_snapshots), *command],
        cwd=tmp_path,
        capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    folder = RunFolder.open(tmp_path / "killed")
    assert folder.status == "interrupted" and folder.steps == []
    (part,) = (folder.path / "parts" / "circuit").glob("*.parquet")
    done = pl.read_parquet(part)["done"][0]
    assert done > 0

    again = interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "killed", runs=tmp_path / "none")
    assert again.status == "done"
    events = list(folder.events())
    second = [e["event"] for e in events].index("run_started", 1)
    first = next(e for e in events[second:] if e["event"] == "edges")
    assert first["done"] >= done, "what was judged was judged again"
    assert not (folder.path / "parts" / "circuit").exists()
    for step in whole.steps:
        assert again.scores(step).equals(whole.scores(step))
    threshold = 0.2 if method == "acdc" else None
    assert again.circuit("circuit", threshold) == whole.circuit("circuit", threshold)
