"""The plan's passes: functions from plan to plan that leave the results as they are.

share_forwards   one forward pass a run: it keeps every site and measures every metric wanted
drop_doubles     a task that stands twice is done once
start_late       a sweep's passes start at the first layer and position that a unit touches
skip_idle        units that cannot have an effect are not run
choose_executor  a model of whose inner hooks the plan speaks runs by hooks
pack             how many rows go through the model at once, from a memory estimate"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from interp_dsl.plan.algebra import Run
from interp_dsl.plan.cost import row_bytes, sizes
from interp_dsl.plan.tasks import Forward, LoadModel, Plan, Sweep, Task
from interp_dsl.plan.touched import touched

BUDGET = 512_000_000
MOST_ROWS = 2048
BATCHES_A_SHARD = 4

T = TypeVar("T")


def share_forwards(plan: Plan) -> Plan:
    """Forward(run, a) + Forward(run, b) = Forward(run, a ∪ b), where the first stands."""
    merged: dict[Run, Forward] = {}
    for task in plan.tasks:
        if isinstance(task, Forward):
            first = merged.setdefault(task.run, task)
            merged[task.run] = replace(
                first,
                sites=_union(first.sites, task.sites),
                metrics=_union(first.metrics, task.metrics),
            )
    tasks: list[Task] = []
    for task in plan.tasks:
        if not isinstance(task, Forward):
            tasks.append(task)
        elif task.run in merged:
            shared = merged.pop(task.run)
            tasks.append(replace(shared, id=f"forward:{_count(tasks) + 1}"))
    return replace(plan, tasks=tuple(tasks))


def _count(tasks: list[Task]) -> int:
    return sum(isinstance(t, Forward) for t in tasks)


def drop_doubles(plan: Plan) -> Plan:
    """A + A = A."""
    seen: set[str] = set()
    kept = []
    for task in plan.tasks:
        if task.id not in seen:
            kept.append(task)
        seen.add(task.id)
    return replace(plan, tasks=tuple(kept))


def start_late(plan: Plan) -> Plan:
    """What comes before the first change is as in the clean pass: f(x) up to there = memory."""
    return replace(
        plan,
        tasks=tuple(
            replace(t, late=not any(v.into.under for v in t.variants))
            if isinstance(t, Sweep)
            else t
            for t in plan.tasks
        ),
    )


def skip_idle(plan: Plan) -> Plan:
    """A change of nothing, or one that nothing reads: effect = 0."""
    return replace(
        plan,
        tasks=tuple(replace(t, skips=True) if isinstance(t, Sweep) else t for t in plan.tasks),
    )


def choose_executor(plan: Plan) -> Plan:
    """Only TransformerLens's bridge has every hook; all else may run compiled."""
    hooked = {run.model for run, site in touched(plan) if site.kind == "hook"}
    return replace(
        plan,
        tasks=tuple(
            replace(t, spec={**t.spec, "executor": "hooked"})
            if isinstance(t, LoadModel) and t.id in hooked
            else t
            for t in plan.tasks
        ),
    )


def pack(plan: Plan) -> Plan:
    """Rows a batch within the memory budget; shards of a few batches each."""
    known = sizes(plan)
    tasks: list[Task] = []
    for task in plan.tasks:
        if isinstance(task, Forward):
            task = replace(task, batch=_rows(row_bytes(task.run, known)))
        elif isinstance(task, Sweep):
            rows = _rows(row_bytes(task.variants[0].into, known))
            data = known.data.get(task.variants[0].into.data)
            units = max(1, rows // data.n) if data else 1
            task = replace(task, rows=rows, shard=BATCHES_A_SHARD * units)
        tasks.append(task)
    return replace(plan, tasks=tuple(tasks))


def _rows(one: int | None) -> int:
    return 64 if one is None else max(1, min(MOST_ROWS, BUDGET // one))


def _union(first: Iterable[T], second: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys((*first, *second)))


PASSES: tuple[Callable[[Plan], Plan], ...] = (
    share_forwards,
    drop_doubles,
    start_late,
    skip_idle,
    choose_executor,
    pack,
)


def optimise(plan: Plan) -> Plan:
    """All passes in order."""
    for a_pass in PASSES:
        plan = a_pass(plan)
    return plan
