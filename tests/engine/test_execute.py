"""Runs: what they write, and that nothing done is done again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import torch

from interp_dsl.engine.execute import execute
from interp_dsl.language.codes import all_codes, lookup
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.plan.algebra import (
    ColumnOf,
    Explicit,
    Filtered,
    FromRun,
    Literal,
    Metric,
    MetricCall,
    Operation,
    ScoreOf,
    SetOfUnits,
    Top,
    Zero,
)
from interp_dsl.plan.places import Site
from interp_dsl.plan.tasks import (
    BuildData,
    Claim,
    Evaluate,
    Forward,
    KeepPairs,
    Place,
    Plan,
    Record,
    SelfTest,
    Sweep,
    Variant,
)
from interp_dsl.runs.folder import RunFolder

from .plans import CLEAN, CORRUPT, END, GAP, HEADS, LOADS, run, sweep_plan, unit
from .tiny import Given, Tiny, pairs

DATA = pairs()
PLAN = sweep_plan(HEADS, FromRun(CORRUPT), shard=1, rows=4)
KL = Metric("kl", MetricCall("kl"))


def folder_in(path: Path) -> RunFolder:
    return RunFolder.create(path, "test", datetime(2026, 1, 1))


def with_tasks(plan: Plan, *tasks) -> Plan:
    return replace(plan, tasks=(*plan.tasks, *tasks))


def kinds(folder: RunFolder) -> list[str]:
    return [e["event"] for e in folder.events()]


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
    named = replace(PLAN.tasks[-1], step="renamed", rows=2)
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


def test_out_of_memory_halves_the_batch(tmp_path: Path) -> None:
    class Small(Tiny):
        def forward(self, tokens, *args, **kwargs):
            if len(tokens) > 3:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().forward(tokens, *args, **kwargs)

    whole = run(PLAN, Tiny(), tmp_path / "whole", d=DATA)
    small = run(PLAN, Small(), tmp_path, d=DATA)
    assert small.table.equals(whole.table)
    notes = [e["text"] for e in small.folder.events() if e["event"] == "note"]
    assert "out of memory at 4 rows a batch; going on with 2" in notes

    class None_(Tiny):
        def forward(self, *args, **kwargs):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(InterpError, match="E640"):
        run(PLAN, None_(), tmp_path / "none", d=DATA)


def test_one_writer(tmp_path: Path) -> None:
    folder = folder_in(tmp_path)
    RunFolder.open(folder.path).acquire()
    with pytest.raises(InterpError, match="E644"):
        execute(PLAN, folder, loaders=Given(Tiny(), d=DATA))


def test_a_run_in_a_thread(tmp_path: Path) -> None:
    folder = folder_in(tmp_path)
    loaders = Given(Tiny(), d=DATA)
    thread = threading.Thread(target=lambda: execute(PLAN, folder, loaders=loaders))
    thread.start()
    thread.join()
    assert folder.status == "done"


def test_events_and_manifest(tmp_path: Path) -> None:
    ran = run(PLAN, Tiny(), tmp_path, d=DATA)
    events = list(ran.folder.events())
    assert [t["kind"] for t in events[0]["tasks"]] == [
        "LoadModel", "BuildData", "Forward", "Forward", "Sweep",
    ]  # fmt: skip
    assert [e["done"] for e in events if e["event"] == "progress"][-4:] == [1, 2, 3, 4]
    started = [e["total"] for e in events if e["event"] == "task_started"]
    assert started == [None, None, 5, 5, 4]
    top = [e for e in events if e["event"] == "top"][-1]["rows"]
    assert [abs(r["effect"]) for r in top] == sorted((abs(r["effect"]) for r in top), reverse=True)
    assert len(top) == 4 and {"unit", "metric", "effect", "low", "high"} == set(top[0])
    assert ran.folder.manifest["models"]["m"]["executor"] == "tiny"
    assert ran.folder.manifest["data"]["d"]["n"] == 5


def test_columns_and_rows_of_the_table(tmp_path: Path) -> None:
    units = Explicit((unit("head", 1, 0, END), unit("neuron", 0, 3), unit("resid_pre", 1)))
    plan = sweep_plan(units, FromRun(CORRUPT), metrics=(GAP, KL))
    sweep = plan.tasks[-1]
    variants = tuple(Variant(CLEAN, CORRUPT, (("k", k), ("under", "cut"))) for k in (1, 2))
    plan = replace(plan, tasks=(*plan.tasks[:-1], replace(sweep, variants=variants)))
    ran = run(plan, Tiny(), tmp_path, d=DATA)
    assert ran.table.columns == [
        "unit", "layer", "head", "index", "position", "metric", "base", "value", "effect",
        "normalized", "low", "high", "n", "k", "under",
    ]  # fmt: skip
    rows = ran.rows()
    names = ("unit", "layer", "head", "index", "position", "metric", "n", "k")
    assert [tuple(r[c] for c in names) for r in rows[:6:2]] == [
        ("L1H0", 1, 0, None, "END", "gap", 5, 1),
        ("L0.mlp[3]", 0, None, 3, "all", "gap", 5, 1),
        ("L1.resid_pre", 1, None, None, "all", "gap", 5, 1),
    ]
    tensors = ran.folder.read_tensors("who")
    for i, row in enumerate(rows):
        value, base = tensors["value"][i], tensors["base"][i]
        assert row["value"] == pytest.approx(value.mean(), abs=1e-5)
        assert row["effect"] == pytest.approx((value - base).mean(), abs=1e-5)
        assert row["low"] <= row["effect"] <= row["high"]
    assert rows[0]["effect"] == rows[6]["effect"]


def test_evaluate_gives_values_only(tmp_path: Path) -> None:
    plan = Plan(
        (*LOADS, Forward("f", CORRUPT, (), (GAP,)), Forward("g", CLEAN, (), (GAP,)),
         Evaluate("e", "base", (Variant(CLEAN, None, (("side", "clean"),)),
                                Variant(CORRUPT, None, (("side", "corrupt"),))), (GAP,), CLEAN))
    )  # fmt: skip
    ran = run(plan, Tiny(), tmp_path, "base", d=DATA)
    for row, values in zip(ran.rows(), ran.values, strict=True):
        assert row["unit"] == "model" and row["effect"] is row["normalized"] is row["base"] is None
        assert row["value"] == pytest.approx(values.mean(), abs=1e-6)
        assert row["low"] < row["value"] < row["high"]


def test_units_and_data_that_wait_for_results(tmp_path: Path) -> None:
    best = Top("who", 2, "gap")
    strong = Filtered(HEADS, Operation(">", (ScoreOf("who", "gap", "effect"), Literal(0.0))))
    known = Operation(
        "and",
        (
            Operation(">", (ScoreOf("who", "gap", "value", "L0H0"), Literal(0.0))),
            Operation(">=", (ColumnOf("index"), Literal(1))),
        ),
    )
    kept_clean, kept_corrupt = replace(CLEAN, data="known"), replace(CORRUPT, data="known")
    sites = (Site("head", 0), Site("head", 1))

    def sweep(name: str, units, into=CLEAN, source=CORRUPT) -> Sweep:
        change = replace(PLAN.tasks[-1].intervention, units=units, source=FromRun(source))
        return Sweep(name, name, (Variant(into, source),), change, (GAP,), into)

    plan = with_tasks(
        PLAN,
        sweep("best", best),
        sweep("strong", strong),
        BuildData("known", "known", {}, "m", "d", known),
        Forward("k1", kept_clean, sites, (GAP,)),
        Forward("k2", kept_corrupt, sites, (GAP,)),
        sweep("few", HEADS, kept_clean, kept_corrupt),
    )
    ran = run(plan, Tiny(), tmp_path, d=DATA)
    effects = {r["unit"]: r["effect"] for r in ran.rows()}
    ranked = sorted(effects, key=lambda u: abs(effects[u]), reverse=True)
    assert ran.folder.read_table("best")["unit"].to_list() == ranked[:2]
    positive = [u for u in effects if effects[u] > 0]
    assert ran.folder.read_table("strong")["unit"].to_list() == positive
    kept = [i for i, v in enumerate(ran.values[0]) if v > 0 and i >= 1]
    few = ran.folder.read_tensors("few")["value"]
    np.testing.assert_allclose(few, ran.values[:, kept], atol=1e-5)


def test_a_filter_that_keeps_nothing_is_an_error(tmp_path: Path) -> None:
    none = Filtered(HEADS, Operation(">", (ScoreOf("who", "gap", "effect"), Literal(1e9))))
    again = replace(PLAN.tasks[-1], id="t", step="again",
                    intervention=replace(PLAN.tasks[-1].intervention, units=none))  # fmt: skip
    with pytest.raises(InterpError, match="E643"):
        run(with_tasks(PLAN, again), Tiny(), tmp_path, d=DATA)


@pytest.mark.parametrize(
    ("column", "data", "code"), [("normalized", "d", "E637"), ("value", "e", "E638")]
)
def test_scores_that_do_not_belong_to_the_examples(
    tmp_path: Path, column: str, data: str, code: str
) -> None:
    test = Operation(">", (ScoreOf("who", "gap", column, "L0H0"), Literal(0.0)))
    plan = with_tasks(PLAN, BuildData("e", "e", {}, "m"), BuildData("f", "f", {}, "m", data, test))
    with pytest.raises(InterpError, match=code):
        run(plan, Tiny(), tmp_path, d=DATA, e=pairs(n=3))


def test_forwards_run_in_the_order_that_they_need(tmp_path: Path) -> None:
    """The corrupt run's divergence needs the clean run's logits, which the plan makes later."""
    late = Plan(
        (*LOADS, Forward("f", CORRUPT, (), (KL,)), Forward("g", CLEAN),
         Evaluate("e", "base", (Variant(CORRUPT, None),), (KL,), CLEAN))
    )  # fmt: skip
    ran = run(late, Tiny(), tmp_path, "base", d=DATA)
    finished = [e["task"] for e in ran.folder.events() if e["event"] == "task_finished"]
    assert finished == ["m", "d", "g", "f", "e"]
    assert (ran.values > 0).all()


# ---- claims


def claims_of(tmp_path: Path, *tests: Operation) -> list[dict]:
    plan = replace(
        PLAN, claims=tuple(Claim("…", t, Place("a.interp", i + 1, 1)) for i, t in enumerate(tests))
    )
    ran = run(plan, Tiny(), tmp_path, d=DATA)
    assert ran.folder.claims == list(ran.outcome.claims)
    assert [e["ok"] for e in ran.folder.events() if e["event"] == "claim"] == [
        c["ok"] for c in ran.outcome.claims
    ]
    return list(ran.outcome.claims)


def test_claims_and_what_they_found(tmp_path: Path) -> None:
    effect = ScoreOf("who", "gap", "effect", "L1H0")
    size = Operation("size", (SetOfUnits(Top("who", 3, "gap")),))
    held, failed, sets = claims_of(
        tmp_path,
        Operation("<", (effect, Literal(1e9))),
        Operation("not", (Operation("<", (effect, Literal(1e9))),)),
        Operation("<=", (size, Literal(2))),
    )
    assert (held["ok"], failed["ok"], sets["ok"]) == (True, False, False)
    assert held["low"] < held["value"] < held["high"]
    assert held["message"].startswith("who[L1H0].gap.effect is ") and "[" in held["message"]
    assert sets["message"] == "found 3" and sets["line"] == 3 and sets["file"] == "a.interp"


def test_a_claim_that_cannot_be_decided_does_not_hold(tmp_path: Path) -> None:
    plan = sweep_plan(HEADS, Zero(), other=None)
    null = Operation(">", (ScoreOf("who", "gap", "normalized", "L0H0"), Literal(0.1)))
    many = Operation(">", (ScoreOf("who", "gap", "effect"), Literal(0.1)))
    plan = replace(plan, claims=(Claim("a", null), Claim("b", many)))
    ran = run(plan, Tiny(), tmp_path, d=DATA)
    assert ran.outcome.status == "done"
    assert [c["ok"] for c in ran.outcome.claims] == [False, False]
    assert [d.code for d in ran.outcome.diagnostics] == ["E612", "E611"]
    assert "half a logit" in ran.outcome.diagnostics[0].notes[0]


# ---- self-test, pairs, recordings


def test_the_self_test_sees_edits_that_do_not_reach_the_model(tmp_path: Path) -> None:
    plan = Plan((*LOADS, SelfTest("t", CLEAN, CORRUPT)))

    class Deaf(Tiny):
        def forward(self, tokens, reads, edits=(), sites=(), mask=None):
            return super().forward(tokens, reads, (), sites, mask)

    class Leaky(Tiny):
        def forward(self, tokens, reads, edits=(), sites=(), mask=None):
            found = super().forward(tokens, reads, edits, sites, mask)
            return replace(found, logits=found.logits + 0.1 * len(edits))

    execute(plan, folder_in(tmp_path), loaders=Given(Tiny(), d=DATA))
    for model, what in ((Deaf(), "whole residual stream"), (Leaky(), "into itself")):
        with pytest.raises(InterpError, match="E642") as caught:
            execute(plan, folder_in(tmp_path), loaders=Given(model, d=DATA))
        assert what in caught.value.diagnostics[0].message
        assert "largest difference" in caught.value.diagnostics[0].notes[0]


def kept_pairs(tmp_path: Path, budget: int) -> dict[str, np.ndarray]:
    folder = folder_in(tmp_path)
    plan = Plan((*LOADS, KeepPairs("k", "d", (CLEAN, CORRUPT), 4, budget)))
    execute(plan, folder, loaders=Given(Tiny(), d=DATA))
    return folder.read_tensors("pairs.pairs")


def test_pairs_kept_for_the_screens(tmp_path: Path) -> None:
    held = kept_pairs(tmp_path, 10**6)
    assert len(held["clean.tokens"]) == 4
    assert held["clean.label.S"].tolist() == DATA.sides["clean"].labels["S"][:4].tolist()
    tokens = torch.from_numpy(DATA.sides["corrupt"].tokens[:4])
    logits = Tiny().run(tokens, lambda site, x: x)
    np.testing.assert_array_equal(held["corrupt.top_ids"], logits.topk(10, dim=-1).indices)
    np.testing.assert_allclose(held["corrupt.pattern.0"].sum(-1), 1, atol=1e-2)
    assert (held["corrupt.pattern.0"][:, :, 0, 1:] == 0).all()


@pytest.mark.parametrize(("budget", "pairs_kept", "patterns"), [(3000, 2, True), (1000, 1, False)])
def test_pairs_are_kept_within_the_budget(
    tmp_path: Path, budget: int, pairs_kept: int, patterns: bool
) -> None:
    held = kept_pairs(tmp_path, budget)
    assert len(held["clean.tokens"]) == pairs_kept
    assert ("corrupt.pattern.1" in held) == patterns
    assert sum(v.nbytes for v in held.values()) <= budget


def test_recordings(tmp_path: Path) -> None:
    targets = (unit("head", 1, 1).targets[0], unit("resid_pre", 0, None, END).targets[0])
    sites = tuple(t.site for t in targets)
    plan = Plan(
        (*LOADS, Forward("f", CORRUPT, sites), Record("r", "seen", CORRUPT, targets, keep=3))
    )
    folder = folder_in(tmp_path)
    execute(plan, folder, loaders=Given(Tiny(), d=DATA))
    held = folder.read_tensors("seen")
    assert held["L1H1"].shape == (3, 6, 8)
    assert held["L0.resid_pre at END"].shape == (3, 1, 1, 8)
    assert held["L0.resid_pre at END.positions"].tolist() == [[5]] * 3
    assert "seen" in folder.step_keys


# ---- the executor alone


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


def test_every_code_that_the_engine_raises_is_explained() -> None:
    root = Path(__file__).parents[2] / "interp_dsl"
    files = [*(root / "engine").glob("*.py"), *(root / "plan").glob("*.py")]
    raised = {c for f in files for c in re.findall(r'"(E6[1-4]\d)"', f.read_text())}
    assert raised == {c for c in all_codes() if "E610" <= c < "E650"}
    assert all(len(lookup(c).text) > 80 for c in raised)
