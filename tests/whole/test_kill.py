"""A run that is killed in the middle of a sweep goes on from what is on the disk, and ends with the
very tables of a run that nobody disturbed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import interp_dsl
from interp_dsl.plan import passes
from interp_dsl.plan.device import Device
from interp_dsl.runs.folder import RunFolder

TEXT = """model m = bundled("ioi-3l")
dataset ioi = template(n=16, seed=0) {
  clean   "When {A} and {B} went to the {place}, {B} gave a {thing} to{@END}"
  corrupt "When {A} and {B} went to the {place}, {C} gave a {thing} to{@END}"
  answer  " {A}"
  wrong   " {B}"
  where   A, B, C in ["Mary", "John", "Anna", "Paul", "Lucy", "Mark"]
  where   place in ["store", "garden", "station"]
  where   thing in ["book", "ring", "drink"]
}
metric gap = logit_diff()
step base = evaluate m on ioi measure gap, accuracy()
step who = patch heads at each from ioi.corrupt into ioi.clean measure gap, kl()
step after = patch mlps at END from ioi.corrupt into ioi.clean measure gap
expect who[L0H0 at 1].gap >= -100
"""
SMALL = Device("cpu", tokens=1024, least=1e7, budget=256_000_000, shard=1.0)
"""Small batches and shards."""
COMMAND = f"""
import runpy, sys
from pathlib import Path
from interp_dsl.plan import passes
from interp_dsl.plan.device import Device
from interp_dsl.runs.parts import Parts

passes.expected = lambda name: {SMALL}
write = Parts.write

def noted(self, shard, *rest):
    with Path("written").open("a") as lines:
        print(self.folder.name, shard, file=lines)
    write(self, shard, *rest)

Parts.write = noted
sys.argv[1:] = ["run", "x.interp", "--device", "cpu", "--out", "killed"]
runpy.run_module("interp_dsl", run_name="__main__")
"""
PATIENCE = 60.0


def start(place: Path) -> subprocess.Popen[bytes]:
    """`interp run` in a process of its own, which notes each shard that it writes."""
    with (place / "said").open("w") as said:
        return subprocess.Popen(
            [sys.executable, "-c", COMMAND],
            cwd=place,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=said,
            stderr=said,
        )


def parts(place: Path) -> set[str]:
    """The finished shards of the sweep, as `noted` writes them."""
    found = (place / "killed" / "parts" / "who").glob("*.parquet")
    return {f"who {int(p.name.split('-')[0])}" for p in found if not p.name.startswith(".")}


def killed_in_the_sweep(place: Path) -> set[str]:
    """Kill a run once two shards are on the disk; the shards that are."""
    process = start(place)
    until = time.monotonic() + PATIENCE
    try:
        while len(parts(place)) < 2:
            assert process.poll() is None, (place / "said").read_text()
            assert time.monotonic() < until, "no shard was finished in time"
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        code = process.wait()
    assert code == -signal.SIGKILL
    return parts(place)


def test_a_killed_run_goes_on_and_ends_as_if_nothing_had_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.interp").write_text(TEXT)
    done = killed_in_the_sweep(tmp_path)
    folder = RunFolder.open(tmp_path / "killed")
    assert folder.status == "interrupted" and folder.manifest["status"] == "running"
    assert list(folder.step_keys) == ["base"]
    (tmp_path / "written").unlink()

    assert start(tmp_path).wait(PATIENCE) == 0, (tmp_path / "said").read_text()
    started = [e["resumed"] for e in folder.events() if e["event"] == "run_started"]
    assert started == [False, True]
    written = (tmp_path / "written").read_text().splitlines()
    assert written and not done & set(written), "a finished shard was done again"
    reused = [e["step"] for e in folder.events() if e.get("reused") and e["step"]]
    assert reused == ["base"]
    assert folder.status == "done" and parts(tmp_path) == set()

    monkeypatch.setattr(passes, "expected", lambda name: SMALL)
    monkeypatch.chdir(tmp_path)
    fresh = interp_dsl.run("x.interp", out="fresh", device="cpu")
    assert folder.plan_text == fresh.folder.plan_text
    assert len(fresh.scores("who")) > 2 * len(done)
    for step in ("base", "who", "after"):
        assert folder.read_table(step).equals(fresh.scores(step))
        ours, theirs = folder.read_tensors(step), fresh.tensors(step)
        assert ours.keys() == theirs.keys()
        for name, values in ours.items():
            np.testing.assert_array_equal(values, theirs[name])
    assert folder.claims == fresh.claims
