"""From a file to a folder: what is resumed, what is new, what watchers hear. The engine is a
stand-in that does what it is told."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import interp_dsl
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.plan.tasks import Plan
from interp_dsl.runs.find import list_runs
from interp_dsl.runs.folder import RunFolder

TEXT = """param n = 8
model m = bundled("ioi-3l")
dataset ioi = task("ioi-3l", n=n, seed=5)
metric gap = logit_diff()
step who = patch heads from ioi.corrupt into ioi.clean measure gap
"""
CLAIM = {"text": "who[L0H0].gap > 0", "ok": False, "value": -1.0, "low": None, "high": None}


@dataclass(frozen=True)
class Outcome:
    status: str
    claims: tuple[dict[str, Any], ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()


class Engine:
    """Ends a run as `status` says; remembers what it was asked."""

    def __init__(self) -> None:
        self.status = "done"
        self.claims: tuple[dict[str, Any], ...] = ()
        self.reuse: list[str] = []
        self.plans: list[Plan] = []

    def execute(
        self,
        plan: Plan,
        folder: RunFolder,
        *,
        trusted: bool,
        reuse: Sequence[RunFolder],
        verify: bool,
    ) -> Outcome:
        self.plans.append(plan)
        self.verify = verify
        self.reuse = [f.path.name for f in reuse]
        assert folder.acquire()
        folder.event("note", text=f"on {plan.device}")
        folder.finish_step("who", "key")
        folder.write_claims(self.claims)
        folder.event("run_finished", status=self.status, seconds=0.5)
        folder.release(self.status)
        if self.status == "failed":
            raise InterpError(Diagnostic("E600", "it went wrong"), exit_code=1)
        return Outcome(self.status, self.claims)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Engine:
    stand_in = Engine()
    module = ModuleType("interp_dsl.engine.execute")
    module.execute = stand_in.execute  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "interp_dsl.engine.execute", module)
    monkeypatch.chdir(tmp_path)
    Path("ioi.interp").write_text(TEXT)
    return stand_in


Interp = Callable[..., tuple[int, str, str]]


def names() -> list[str]:
    return [folder.path.name for folder in list_runs(Path("runs"))]


@pytest.mark.parametrize("status", ["interrupted", "cancelled", "failed"])
def test_an_unfinished_run_goes_on_and_a_finished_one_does_not(
    engine: Engine, interp: Interp, status: str
) -> None:
    engine.status = status
    code, _, err = interp("run", "ioi.interp")
    assert code == (1 if status == "failed" else 130)
    assert ("E600" in err) if status == "failed" else ("interp run ioi.interp" in err)
    (first,) = names()
    engine.status = "done"
    code, _, err = interp("run", "ioi.interp")
    assert code == 0 and f"going on in runs/{first}" in err
    assert names() == [first]
    assert interp("run", "ioi.interp")[0] == 0
    assert len(names()) == 2 and engine.reuse == [first]


def test_the_command_that_goes_on_is_fit_for_a_shell(engine: Engine, interp: Interp) -> None:
    engine.status = "interrupted"
    Path("ioi.interp").write_text(TEXT + 'param word = "a"\n')
    given = ["-p", "word=two words", "--seed", "0", "--runs", "my runs", "--device", "cpu"]
    given.append("--verify")
    code, _, err = interp("run", "ioi.interp", *given)
    command = err.splitlines()[-1].partition("go on with: ")[2]
    assert code == 130 and shlex.split(command)[0] == "interp"
    engine.status = "done"
    code, _, err = interp(*shlex.split(command)[1:])
    assert code == 0 and "going on in my runs/" in err and engine.verify


def test_another_parameter_or_fresh_is_another_run(engine: Engine, interp: Interp) -> None:
    engine.status = "interrupted"
    interp("run", "ioi.interp")
    interp("run", "ioi.interp", "-p", "n=4")
    assert len(names()) == 2 and len(engine.reuse) == 1
    interp("run", "ioi.interp", "--fresh")
    assert len(names()) == 3 and engine.reuse == []


def test_the_folder_holds_text_plan_params_and_seeds(engine: Engine, interp: Interp) -> None:
    code, out, _ = interp("run", "ioi.interp", "-q", "--seed", "7", "-p", "n=4", "--out", "here")
    assert (code, out) == (0, "here\n")
    folder = RunFolder.open(Path("here"))
    assert folder.experiment == TEXT
    assert folder.read_plan() == engine.plans[0]
    assert folder.manifest["params"] == {"n": 4}
    assert folder.manifest["seeds"] == {"bootstrap": 7, "ioi": 5}
    assert folder.manifest["file"] == str(Path("ioi.interp").resolve())


def test_a_folder_in_use_is_not_written(engine: Engine, interp: Interp) -> None:
    Path("here").mkdir()
    Path("here/notes.txt").touch()
    code, _, err = interp("run", "ioi.interp", "--out", "here")
    assert code == 3 and "E705" in err
    engine.status = "interrupted"
    interp("run", "ioi.interp", "--out", "there")
    held = RunFolder.open(Path("there"))
    assert held.acquire()
    code, _, err = interp("run", "ioi.interp", "--out", "there")
    held.release("interrupted")
    assert code == 3 and "E706" in err
    assert "going on in there" in interp("run", "ioi.interp", "--out", "there")[2]


def test_events_are_lines_of_json(engine: Engine, interp: Interp) -> None:
    code, out, err = interp("run", "ioi.interp", "--json", "--device", "cpu")
    events = [json.loads(line) for line in out.splitlines()]
    assert [e["event"] for e in events] == ["folder", "note", "run_finished"]
    assert events[1]["text"] == "on cpu" and (code, err) == (0, "")


def test_a_failed_claim_is_one(engine: Engine, interp: Interp) -> None:
    engine.claims = ({**CLAIM, "message": "", "file": "ioi.interp", "line": 6},)
    code, out, _ = interp("run", "ioi.interp")
    assert code == 1 and "✗ who[L0H0].gap > 0  found -1.000  ioi.interp:6" in out
    code, out, _ = interp("test", "ioi.interp")
    assert code == 1 and out.endswith("0 claims held, 1 failed\n")


def test_a_suite_goes_on_after_a_broken_file(engine: Engine, interp: Interp) -> None:
    engine.claims = ({**CLAIM, "ok": True},)
    Path("bad.interp").write_text("step x = patch\n")
    code, out, err = interp("test", "bad.interp", "ioi.interp")
    assert code == 2 and "error[E" in err
    assert out.endswith("1 claim held, 0 failed, 1 file did not run\n")


def test_a_wrong_file_makes_no_folder(engine: Engine, interp: Interp) -> None:
    Path("bad.interp").write_text(TEXT.replace("heads", "{L9H9}"))
    code, _, err = interp("run", "bad.interp")
    assert code == 2 and "L9H9" in err
    assert not Path("runs").exists()


def test_python_runs_the_same_way(engine: Engine) -> None:
    run = interp_dsl.run("ioi.interp", params={"n": 4}, seed=3)
    assert run.status == "done" and run.plan == engine.plans[0]
    assert run.manifest["params"] == {"n": 4}
    assert interp_dsl.plan("ioi.interp", {"n": 4}, seed=3) == run.plan
    assert interp_dsl.open_run(run.path).claims == []
    engine.status = "interrupted"
    with pytest.raises(KeyboardInterrupt, match="kept in runs/"):
        interp_dsl.run("ioi.interp")
    with pytest.raises(FileNotFoundError):
        interp_dsl.open_run("nowhere")


def test_python_checks_files_and_texts(engine: Engine) -> None:
    assert interp_dsl.check("ioi.interp") == []
    (found,) = interp_dsl.check('model m = bundled("ioi-3")')
    assert found.severity == "error" and found.span is not None
    with pytest.raises(InterpError):
        interp_dsl.check("missing.interp")
