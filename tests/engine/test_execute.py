"""Runs: what they write, and what their tasks make of each other's results."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from interp_dsl.engine.execute import execute
from interp_dsl.engine.forwards import run_forward
from interp_dsl.engine.report import Report
from interp_dsl.engine.state import State
from interp_dsl.geometry.moments import Moments
from interp_dsl.language.codes import all_codes, lookup
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models.imports import timed
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
    Top,
)
from interp_dsl.plan.places import Site, Target
from interp_dsl.plan.tasks import (
    BuildData,
    Evaluate,
    Forward,
    Plan,
    Sweep,
    Variant,
)

from .plans import (
    CLEAN,
    CORRUPT,
    END,
    GAP,
    HEADS,
    LOADS,
    folder_in,
    run,
    sweep_plan,
    unit,
    with_tasks,
)
from .tiny import Given, Tiny, pairs

DATA = pairs()
PLAN = sweep_plan(HEADS, FromRun(CORRUPT), shard=1, rows=4)
KL = Metric("kl", MetricCall("kl"))


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


def test_moments_count_each_example_once_where_memory_runs_out_between_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = tuple(Target(Site("resid_pre", layer), 0) for layer in (0, 1))
    task = Forward("f", CLEAN, tuple(p.site for p in places), (GAP,), moments=places, batch=2)

    def moments(path: Path) -> dict[Target, Moments]:
        state = State(0, models={"m": Tiny()}, data={"d": DATA})
        run_forward(task, (), state, Report(folder_in(path), "f"))
        return state.kept(CLEAN).moments

    wanted = moments(tmp_path / "whole")
    of, made = Moments.of, []

    def cramped(x: Tensor) -> Moments:
        made.append(len(x))
        if len(made) == 4:  # the second batch's second place
            raise torch.OutOfMemoryError("CUDA out of memory")
        return of(x)

    monkeypatch.setattr(Moments, "of", cramped)
    found = moments(tmp_path / "cramped")
    assert len(made) == 2 * 4 + 2  # batches of 2, 1, 1, 1 and what ran out
    for place in places:
        assert found[place].n == wanted[place].n
        torch.testing.assert_close(found[place].covariance, wanted[place].covariance)


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


def test_imports_are_told_apart_from_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("early_import", "late_import"):
        (tmp_path / f"{name}.py").write_text("import time\ntime.sleep(0.2)\n")
    monkeypatch.syspath_prepend(tmp_path)

    class Imports(Given):
        def model(self, spec, device, trusted):
            timed("late_import")
            return super().model(spec, device, trusted)

    timed("early_import", "torch")
    folder = folder_in(tmp_path)
    execute(PLAN, folder, loaders=Imports(Tiny(), d=DATA))
    events = list(folder.events())
    told = [(e["what"], e["seconds"]) for e in events if e["event"] == "imported"]
    assert [what for what, _ in told] == [["torch"], ["late_import"]]
    assert all(0.2 <= seconds < 2 for _, seconds in told)
    (loaded,) = (e for e in events if e["event"] == "task_finished" and e["task"] == "m")
    assert loaded["seconds"] < 0.2, "an import is no part of a task's time"
    took = sum(e["seconds"] for e in events if e["event"] == "task_finished")
    ended = events[-1]
    assert took <= ended["seconds"] and ended["imports"] == sum(seconds for _, seconds in told)
    assert folder.manifest["seconds"]["imports"] == ended["imports"]
    again = folder_in(tmp_path)
    execute(PLAN, again, loaders=Imports(Tiny(), d=DATA))
    assert "imported" not in {e["event"] for e in again.events()}


def test_what_is_to_be_said_of_the_executor_is_noted(tmp_path: Path) -> None:
    model = Tiny()
    model.remark = "the other one differs"
    ran = run(PLAN, model, tmp_path, d=DATA)
    assert "the other one differs" in [e.get("text") for e in ran.folder.events()]


def test_columns_and_rows_of_the_table(tmp_path: Path) -> None:
    units = Explicit((unit("head", 1, 0, END), unit("neuron", 0, 3), unit("resid_pre", 1)))
    plan = sweep_plan(units, FromRun(CORRUPT), metrics=(GAP, KL))
    sweep = plan.tasks[-1]
    variants = tuple(Variant(CLEAN, CORRUPT, (("k", k), ("under", "cut"))) for k in (1, 2))
    plan = replace(plan, tasks=(*plan.tasks[:-1], replace(sweep, variants=variants)))
    ran = run(plan, Tiny(), tmp_path, d=DATA)
    assert ran.table.columns == [
        "unit", "layer", "head", "index", "position", "metric", "base", "value", "effect",
        "normalized", "low", "high", "n", "skipped", "k", "under",
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


def test_every_code_that_the_engine_raises_is_explained() -> None:
    root = Path(__file__).parents[2] / "interp_dsl"
    files = [*(root / "engine").glob("*.py"), *(root / "plan").glob("*.py")]
    raised = {c for f in files for c in re.findall(r'"(E6[1-4]\d)"', f.read_text())}
    assert raised == {c for c in all_codes() if "E610" <= c < "E650"}
    assert all(len(lookup(c).text) > 80 for c in raised)
