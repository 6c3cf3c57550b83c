"""Fits in two processes: the numbers of one, to rounding, and the very same ones after a loss."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from interp_dsl.engine.execute import execute
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.plan.dictionaries import Fit, Fitted
from interp_dsl.plan.tasks import Plan

from .plans import folder_in
from .test_ends import TRANSCODER
from .test_fit import RESAMPLED, STREAM, _fit, _one, _plan, _same, _text
from .test_resume import Dies
from .tiny import Given, Tiny

TOGETHER = (
    replace(_one("batch_topk", k=2), label="a"),
    replace(_one("jumprelu", STREAM, target=3.0, width=16), label="b"),
    replace(TRANSCODER, label="c"),
    replace(RESAMPLED, label="d"),
)


def _crewed(*dictionaries: Fitted, workers: int = 2) -> Plan:
    plan = _plan(*dictionaries)
    tasks = (replace(t, workers=workers) if isinstance(t, Fit) else t for t in plan.tasks)
    return replace(plan, tasks=tuple(tasks))


def test_two_processes_fit_what_one_does(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    alone = _fit(_plan(*TOGETHER), tmp_path / "a")
    together = _fit(_crewed(*TOGETHER), tmp_path / "b")
    ours, theirs = alone.read_table("sae"), together.read_table("sae")
    for column in ("loss", "mse", "l0", "fvu"):
        first, last = (np.array(t[column][:40].to_list()) for t in (ours, theirs))
        np.testing.assert_allclose(last, first, rtol=1e-3, atol=1e-5, err_msg=column)
    notes = [
        [e["text"] for e in f.events() if "resampled" in e.get("text", "")]
        for f in (alone, together)
    ]
    assert notes[0] == notes[1] and len(notes[0]) == 2
    for name, value in alone.read_tensors("sae").items():
        other = together.read_tensors("sae")[name]
        near = np.isclose(other, value, atol=5e-3, rtol=5e-3).mean()
        assert near > 0.99, f"{name}: {near:.3f}"
    assert capfd.readouterr().err == ""


def test_a_lost_run_goes_on_to_the_same_numbers(tmp_path: Path) -> None:
    plan = _crewed(*TOGETHER)
    whole = _fit(plan, tmp_path / "whole")
    folder = folder_in(tmp_path)
    with pytest.raises(RuntimeError, match="lost"):
        execute(plan, folder, loaders=Given(Dies(90, RuntimeError("lost")), d=_text()))
    assert list((folder.path / "parts" / "sae").glob("*.parquet"))
    execute(plan, folder, loaders=Given(Tiny(), d=_text()))
    _same(whole, folder)


def test_helpers_end_when_the_one_that_they_help_is_killed(tmp_path: Path) -> None:
    text = """
model m = bundled("text-1l-512")
dataset text = task("text-1l-512", n=300)
step sae = fit topk(width=256, k=8, batch=256, workers=2) on L0.mlp of text until tokens=20M
"""
    (tmp_path / "x.interp").write_text(text)
    command = [sys.executable, "-m", "interp_dsl", "run", "x.interp", "--out", "killed"]
    with (tmp_path / "said").open("w") as said:
        run = subprocess.Popen(
            [*command, "--device", "cpu"], cwd=tmp_path, stdout=said, stderr=said,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    try:
        _wait(lambda: list(tmp_path.glob("killed/parts/sae/*.parquet")), tmp_path)
        (helper,) = _children(run.pid)
    finally:
        run.kill()
        run.wait()
    _wait(lambda: not Path(f"/proc/{helper}/cmdline").read_bytes() if _exists(helper) else True,
          tmp_path)  # fmt: skip


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [p for p in map(int, found) if b"engine.crew" in Path(f"/proc/{p}/cmdline").read_bytes()]


def _exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _wait(done, place: Path) -> None:
    until = time.monotonic() + 90
    while not done():
        assert time.monotonic() < until, (place / "said").read_text()
        time.sleep(0.05)


def test_other_devices_have_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from interp_dsl.engine.harvest import Harvest

    monkeypatch.setattr(Harvest, "device", property(lambda self: torch.device("meta")))
    monkeypatch.setattr("interp_dsl.engine.fit.begun", lambda task, harvest, check: _Begun())
    with pytest.raises(InterpError) as caught:
        _fit(_crewed(_one("topk", k=2)), tmp_path)
    assert caught.value.diagnostics[0].code == "E673"


class _Begun:
    done = 0
