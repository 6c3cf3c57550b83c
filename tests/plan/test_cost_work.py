"""Estimates, against what the compiled executor counts while a plan runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from interp_dsl.check import check_source, plan_experiment
from interp_dsl.data.build import build
from interp_dsl.data.types import Data
from interp_dsl.engine import walk
from interp_dsl.engine.execute import execute
from interp_dsl.engine.state import State
from interp_dsl.language.source import Source
from interp_dsl.models.compiled.executor import CompiledExecutor
from interp_dsl.models.load import load
from interp_dsl.models.shape import ModelFacts
from interp_dsl.plan.cost import Cost
from interp_dsl.plan.estimates import estimates
from interp_dsl.plan.starts import Packing
from interp_dsl.plan.tasks import Forward, Plan, Sweep
from interp_dsl.plan.work import Work
from interp_dsl.runs.folder import RunFolder

SPEC = {"kind": "bundled", "name": "ioi-3l"}
TEXT = """model m = bundled("ioi-3l")
dataset ioi = template(n=16, seed=0) {{
  clean   "When {{A}} and {{B}} went to the store, {{B}} gave a book to{{@END}}"
  corrupt "When {{A}} and {{B}} went to the store, {{C}} gave a book to{{@END}}"
  answer  " {{A}}"
  wrong   " {{B}}"
  where   A, B, C in ["Mary", "John", "Anna", "Paul", "Lucy"]
}}
metric gap = logit_diff()
step who = patch {units} from ioi.corrupt into ioi.clean measure {metric}
"""


@cache
def executor() -> CompiledExecutor:
    found = load(SPEC, "cpu", executor="compiled")
    assert isinstance(found, CompiledExecutor)
    return found


class Loaders:
    def model(self, spec: Mapping[str, Any], device: str, trusted: bool) -> CompiledExecutor:
        return executor()

    def data(
        self, name: str, spec: Mapping[str, Any], facts: ModelFacts | None, trusted: bool
    ) -> Data:
        return build(name, spec, facts, trusted=trusted)


def planned(units: str, metric: str) -> Plan:
    found = check_source(Source(TEXT.format(units=units, metric=metric), None))
    assert found.experiment is not None, found.diagnostics
    return plan_experiment(found.experiment, "cpu")


def counted(plan: Plan, folder: Path) -> float:
    """FLOPs of the matrix products of a run of the plan."""
    executor().work.clear()
    assert execute(plan, RunFolder.create(folder, "x", datetime(2026, 1, 1)), loaders=Loaders())
    work, known = executor().work, estimates(plan).sizes
    return Work(**work).flops(next(iter(known.models.values())))


def _packed(task: Sweep, rows: int | None) -> Packing | None:
    return replace(task.packing, rows=rows) if rows and task.packing else task.packing


def total(plan: Plan) -> Cost:
    return estimates(plan).total


@pytest.mark.parametrize(
    ("units", "metric"),
    [
        ("heads", "gap"),
        ("mlps", "gap"),
        ("pairs({L0H0, L0H1, L1H1})", "gap"),
        ("{L0H0, L0.attn_out, L0.mlp[3]}", "gap"),
        ("resid_pre at each", "gap"),
        ("queries at 3, 9", "gap"),
        ("patterns at 2 -> 7", "gap"),
        ("pairs({L0H0, L1H1, L1.mlp, L2H0.k})", "gap"),
        ("embed", "gap"),
        ("mlps at together(9, 5)", "gap"),
        ("resid_post at 4", "loss()"),
        ("heads", "distance(L1.resid_post)"),
        ("resid_pre at 4", "(distance(L1.attn_out) at 6)"),
        ("mlps at 4", "gap, distance(L2.mlp)"),
        ("mlps", "gap, distance(L2.resid_pre)"),
        ("queries at 3, 9", "distance(L2.mlp)"),
    ],
)
@pytest.mark.parametrize("rows", [None, 40])
def test_the_estimate_is_what_is_computed(
    units: str, metric: str, rows: int | None, tmp_path: Path
) -> None:
    plan = planned(units, metric)
    tasks = tuple(
        replace(t, skips=False, packing=_packed(t, rows)) if isinstance(t, Sweep) else t
        for t in plan.tasks
    )
    plan = replace(plan, tasks=tasks)
    assert counted(plan, tmp_path) == total(plan).flops


@pytest.mark.parametrize(
    ("units", "metric"),
    [("heads at END", "gap"), ("resid_pre at each", "gap"), ("heads at END", "logprob()")],
)
def test_an_upper_bound_is_one(units: str, metric: str, tmp_path: Path) -> None:
    plan = planned(units, metric)
    most = total(plan)
    assert most.is_bound and most.flops is not None
    assert 0 < counted(plan, tmp_path) < most.flops


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
@pytest.mark.parametrize(
    ("units", "metric"),
    [("heads", "gap"), ("resid_pre at each", "kl(), (js() at 3)"), ("mlps at 4", "distance()")],
)
def test_the_bytes_kept_are_those_of_what_is_kept(
    units: str, metric: str, dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forward's estimate against its tensors: sites, streams, reference logits, memories."""
    text = TEXT.replace('"ioi-3l")', f'"ioi-3l", dtype={dtype})')
    found = check_source(Source(text.format(units=units, metric=metric), None))
    assert found.experiment is not None, found.diagnostics
    plan, held = plan_experiment(found.experiment, "cpu"), {}
    run_forward = walk.run_forward

    def weighed(task: Forward, ats: Any, state: State, report: Any) -> None:
        run_forward(task, ats, state, report)
        kept = state.kept(task.run)
        found = [*kept.sites.values(), *kept.streams.values(), *kept.logits.values()]
        for memory in kept.memories.values():
            found += [x for x in vars(memory).values() if isinstance(x, Tensor)]
        held[task.id] = sum(x.numel() * x.element_size() for x in found)

    monkeypatch.setattr(walk, "run_forward", weighed)
    execute(plan, RunFolder.create(tmp_path, "x", datetime(2026, 1, 1)))
    assert len(held) == 2
    planned_bytes = {task: estimates(plan).tasks[task].bytes for task in held}
    assert held == planned_bytes
