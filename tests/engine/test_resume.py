"""What is done is not done again, and a run that is stopped goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from interp_dsl.engine.execute import execute
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.plan.algebra import (
    FromRun,
    Metric,
    MetricCall,
)
from interp_dsl.runs.folder import RunFolder

from .plans import (
    CORRUPT,
    HEADS,
    folder_in,
    packed,
    run,
    sweep_plan,
)
from .tiny import Given, Tiny, pairs

DATA = pairs()
PLAN = sweep_plan(HEADS, FromRun(CORRUPT), shard=1, rows=4)
KL = Metric("kl", MetricCall("kl"))


class Dies(Tiny):
    """A model whose process is lost after some rows."""

    def __init__(self, rows: int, error: BaseException) -> None:
        super().__init__()
        self.left, self.error = rows, error

    def forward(self, tokens, *args, **kwargs):
        self.left -= len(tokens)
        if self.left < 0:
            raise self.error
        return super().forward(tokens, *args, **kwargs)


def test_a_run_goes_on_after_the_last_shard(tmp_path: Path) -> None:
    whole = run(PLAN, Tiny(), tmp_path / "whole", d=DATA)
    folder = folder_in(tmp_path)
    with pytest.raises(RuntimeError, match="lost"):
        execute(PLAN, folder, loaders=Given(Dies(23, RuntimeError("lost")), d=DATA))
    assert folder.status == "failed"
    assert [e["event"] for e in folder.events()][-2:] == ["failed", "run_finished"]

    model = Tiny()
    again = RunFolder.open(folder.path)
    assert execute(PLAN, again, loaders=Given(model, d=DATA)).status == "done"
    assert model.rows == 2 * 5 + 2 * 5, "two forwards and the two shards that were not done"
    assert again.read_table("who").equals(whole.table)
    np.testing.assert_array_equal(again.read_tensors("who")["value"], whole.values)
    assert [e["resumed"] for e in again.events() if e["event"] == "run_started"] == [False, True]
    assert not (again.path / "parts" / "who").exists()


def test_a_finished_step_is_not_run_again_here_or_elsewhere(tmp_path: Path) -> None:
    first = run(PLAN, Tiny(), tmp_path, d=DATA)
    model = Tiny()
    execute(PLAN, first.folder, loaders=Given(model, d=DATA))
    other = folder_in(tmp_path)
    named = replace(PLAN.tasks[-1], step="renamed", packing=packed(2, 1))
    plan = replace(PLAN, tasks=(*PLAN.tasks[:-1], named))
    execute(plan, other, reuse=[first.folder], loaders=Given(model, d=DATA))
    assert model.rows == 0
    assert other.read_table("renamed").equals(first.table)
    finished = [e for e in other.events() if e["event"] == "task_finished"]
    assert finished[-1]["reused"] and finished[-1]["step"] == "renamed"
    assert any("taken over from" in e["text"] for e in other.events() if e["event"] == "note")


@pytest.mark.parametrize("what", ["seed", "model", "data", "metric"])
def test_whatever_results_depend_on_changes_the_key(tmp_path: Path, what: str) -> None:
    first = run(PLAN, Tiny(), tmp_path, d=DATA)
    plan = {
        "seed": replace(PLAN, seed=1),
        "metric": sweep_plan(HEADS, FromRun(CORRUPT), metrics=(KL,), shard=1),
    }.get(what, PLAN)
    model = Tiny(seed=5 if what == "model" else 0)
    data = pairs(seed=5) if what == "data" else DATA
    other = folder_in(tmp_path)
    execute(plan, other, reuse=[first.folder], loaders=Given(model, d=data))
    assert other.step_keys != first.folder.step_keys
    assert model.rows == 30


def test_cancel_stops_between_shards(tmp_path: Path) -> None:
    folder = folder_in(tmp_path)

    class Cancels(Tiny):
        def forward(self, tokens, *args, **kwargs):
            if self.rows == 14:
                folder.cancel()
            return super().forward(tokens, *args, **kwargs)

    outcome = execute(PLAN, folder, loaders=Given(Cancels(), d=DATA))
    assert outcome.status == folder.status == "cancelled"
    key = next((folder.path / "parts" / "who").glob("*.parquet"))
    assert key.name.startswith("000000")
    assert execute(PLAN, folder, loaders=Given(Tiny(), d=DATA)).status == "done"


def test_ctrl_c_finishes_the_shard_in_hand(tmp_path: Path) -> None:
    folder = folder_in(tmp_path)

    class Interrupts(Tiny):
        def forward(self, tokens, *args, **kwargs):
            if self.rows == 10:
                os.kill(os.getpid(), signal.SIGINT)
            return super().forward(tokens, *args, **kwargs)

    before = signal.getsignal(signal.SIGINT)
    outcome = execute(PLAN, folder, loaders=Given(Interrupts(), d=DATA))
    assert outcome.status == folder.status == "interrupted"
    assert len(list((folder.path / "parts" / "who").glob("*.parquet"))) == 1
    assert signal.getsignal(signal.SIGINT) is before
    second = Dies(12, KeyboardInterrupt())
    assert execute(PLAN, folder, loaders=Given(second, d=DATA)).status == "interrupted"


def test_one_writer(tmp_path: Path) -> None:
    folder = folder_in(tmp_path)
    RunFolder.open(folder.path).acquire()
    with pytest.raises(InterpError, match="E644") as caught:
        execute(PLAN, folder, loaders=Given(Tiny(), d=DATA))
    assert caught.value.exit_code == 3


def test_a_run_in_a_thread(tmp_path: Path) -> None:
    folder = folder_in(tmp_path)
    loaders = Given(Tiny(), d=DATA)
    thread = threading.Thread(target=lambda: execute(PLAN, folder, loaders=loaders))
    thread.start()
    thread.join()
    assert folder.status == "done"


def test_a_plan_runs_from_its_json_without_the_language(tmp_path: Path) -> None:
    folder = folder_in(tmp_path)
    folder.write_plan(PLAN)
    script = f"""
import sys
from pathlib import Path
from interp_dsl.engine.execute import execute
from interp_dsl.runs.folder import RunFolder
from tests.engine.tiny import Given, Tiny, pairs
folder = RunFolder.open(Path({str(folder.path)!r}))
print(execute(folder.read_plan(), folder, loaders=Given(Tiny(), d=pairs())).status)
language = ("interp_dsl.language.parse", "interp_dsl.check", "lark")
print([m for m in sys.modules if m.startswith(language)])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True,
        cwd=Path(__file__).parents[2], env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["done", "[]"], done.stderr
    here = run(PLAN, Tiny(), tmp_path, d=DATA)
    assert folder.read_table("who").equals(here.table)
