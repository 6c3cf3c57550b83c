"""The plan's passes: functions from plan to plan that leave the results as they are.

share_forwards   one forward pass a run: it keeps every site and measures every metric wanted
drop_doubles     a task that stands twice is done once
change_z         a head's output is changed at its z, behind its attention
read_few         only the positions that a metric reads are unembedded
read_answers     and only the tokens that it compares
stop_early       a pass that only keeps sites ends after the last of them
start_late       a sweep's passes start at the first layer that a unit touches
trim_positions   and at the first position
narrow           and compute only positions that differ, until later layers attend to them
add_heads        what attention writes stays, but for what changed heads add to it
skip_idle        units that cannot have an effect are not run
choose_executor  a model of whose inner hooks the plan speaks runs by hooks
pack             how much goes through the model at once, from a memory estimate"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import TypeVar

from interp_dsl.plan.algebra import FromRun, Intervention, Mean, MeanVector, Resample, Run, Zero
from interp_dsl.plan.cost import cost
from interp_dsl.plan.device import Device, expected
from interp_dsl.plan.edges import travelling
from interp_dsl.plan.growing import generation_batch
from interp_dsl.plan.memory import edge_token_bytes, kept_bytes, read_bytes, token_bytes
from interp_dsl.plan.metrics import kept
from interp_dsl.plan.places import Site, Unit
from interp_dsl.plan.rewrite import parts, rewritten
from interp_dsl.plan.sizes import Sizes, sizes, units_of
from interp_dsl.plan.starts import PARTS, WHOLE, Packing, acts_everywhere, fitting, start
from interp_dsl.plan.tasks import (
    AttributeEdges,
    EvaluateCircuit,
    EvaluateDictionary,
    Fit,
    Forward,
    Generate,
    Inspect,
    LoadModel,
    ModelSize,
    Plan,
    Record,
    Relate,
    Search,
    Sweep,
    Task,
)
from interp_dsl.plan.touched import sites_in, touched
from interp_dsl.plan.training import COMPARED
from interp_dsl.plan.work import EVERYWHERE, Work, compares, read_by

LINEAR = (FromRun, Mean, Resample, Zero)
"""Sources whose value of a head is W_O times their value of its z."""
UNKNOWN_ROWS, LEAST_TOKENS = 64, 64
BATCHES_A_SHARD = 4

T = TypeVar("T")
R = TypeVar("R", Sweep, Search, AttributeEdges, EvaluateCircuit)


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
                moments=_union(first.moments, task.moments),
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


def change_z(plan: Plan) -> Plan:
    """A head's output is z W_O: setting it is setting z, whose layer's attention is known."""
    plan = rewritten(plan, Intervention, _through_z)
    changes = list(parts(plan.tasks, Intervention))
    return _each(plan, Forward, lambda t: replace(t, sites=_at_z(t, plan, changes)))


def _through_z(change: Intervention) -> Intervention:
    is_linear = isinstance(change.source, LINEAR) and not change.along
    return replace(change, through_z=True) if is_linear else change


def _at_z(task: Forward, plan: Plan, changes: Iterable[Intervention]) -> tuple[Site, ...]:
    """The sites that a forward keeps once heads are changed at z."""
    readers = [c.through_z for c in changes if getattr(c.source, "run", None) == task.run]
    looked_at = {v.target.site for v in parts(plan.tasks, MeanVector) if v.run == task.run}
    records = (t for t in plan.tasks if isinstance(t, Record) and t.run == task.run)
    looked_at |= {target.site for record in records for target in record.targets}
    moved = (t for t in plan.tasks if isinstance(t, Sweep) and t.curves is not None)
    looked_at |= {site for sweep in moved for site in sites_in(sweep.intervention.units)}
    found: list[Site] = []
    for site in task.sites:
        if site.kind == "head" and any(readers):
            found.append(Site("z", site.layer))
        if site.kind != "head" or site in looked_at or not all(readers):
            found.append(site)
    return _union(found, ())


def read_few(plan: Plan) -> Plan:
    """The unembedding of a position that nothing reads is not needed."""
    plan = _each(plan, Forward, lambda t: replace(t, reads_few=True))
    return _each(plan, Sweep, lambda t: replace(t, reads_few=True))


def read_answers(plan: Plan) -> Plan:
    """The logit of a token that no metric looks at is not needed."""
    compared = sizes(plan).compared

    def change(task: Forward) -> Forward:
        is_whole = task.run in compared or Site("logits") in task.sites or not task.metrics
        return task if is_whole else replace(task, reads_answers=compares(task.metrics))

    def few(task: R) -> R:
        return replace(task, reads_answers=compares(task.metrics))

    plan = _each(_each(_each(plan, Forward, change), Sweep, few), Search, few)
    return _each(_each(plan, AttributeEdges, few), EvaluateCircuit, few)


def stop_early(plan: Plan) -> Plan:
    """Layers behind the last site of a run of which nothing else is wanted are not needed."""
    compared = sizes(plan).compared

    def change(task: Forward) -> Forward:
        is_read = task.metrics or task.run in compared or Site("logits") in task.sites
        return task if is_read else replace(task, stops=True)

    return _each(plan, Forward, change)


def start_late(plan: Plan) -> Plan:
    """What comes before the first change is as in the run's own pass: f(x) up to there = memory."""

    def needed(units: tuple[Unit, ...], task: Sweep) -> set[str]:
        starts = [start(unit, task.intervention) for unit in units]
        found = {"z"} if any(s.behind_attention for s in starts) else set()
        return found | {"resid_pre"} if any(s.layer >= 0 for s in starts) else set()

    plan = _remembering(plan, needed)
    return _each(plan, Sweep, lambda t: replace(t, late=True))


def trim_positions(plan: Plan) -> Plan:
    """No position sees a later one: before the first change, keys and values stay."""
    plan = _remembering(plan, lambda units, task: _if_anywhere(units, {"keys"}))
    return _each(plan, Sweep, lambda t: replace(t, trims=t.late and t.edges is None))


def narrow(plan: Plan) -> Plan:
    """Positions that nothing changed yet are as they were, and so are their queries and keys.

    Where a metric reads a place on the way, its position is computed from the start."""
    plan = _remembering(
        plan,
        lambda units, t: set() if kept(t.metrics) else _if_anywhere(units, {"queries", "keys"}),
    )
    return _each(
        plan,
        Sweep,
        lambda t: replace(t, narrow=t.late and t.edges is None and not kept(t.metrics)),
    )


def add_heads(plan: Plan) -> Plan:
    """x + (z + Δz) W_O = (x + z W_O) + Δz W_O: what attention wrote is remembered."""
    known = sizes(plan)

    def adds(task: Sweep) -> bool:
        units, runs = units_of(task, known), [variant.into for variant in task.variants]
        if units is None or not task.late or task.edges is not None or kept(task.metrics):
            return False
        if any(run.under or not _is_sequential(known.models.get(run.model)) for run in runs):
            return False
        return any(acts_everywhere(u) and start(u, task.intervention).from_mid for u in units)

    plan = _each(plan, Sweep, lambda t: replace(t, adds=adds(t)))
    return _remembering(plan, lambda units, task: {"resid_mid"} if task.adds else set())


def _is_sequential(model: ModelSize | None) -> bool:
    return model is not None and model.is_sequential


def _if_anywhere(units: tuple[Unit, ...], wanted: set[str]) -> set[str]:
    """What is wanted where a unit acts at some positions only."""
    return set() if all(map(acts_everywhere, units)) else wanted


def _remembering(plan: Plan, needed: Callable[[tuple[Unit, ...], Sweep], set[str]]) -> Plan:
    """Have the runs that sweeps change keep what their passes start from."""
    known = sizes(plan)
    found: dict[Run, set[str]] = {}
    for task in plan.tasks:
        if isinstance(task, Sweep) and task.edges is None:
            units = units_of(task, known)
            wanted = set(PARTS) - {"resid_mid"} if units is None else needed(units, task)
            for variant in task.variants:
                found.setdefault(variant.into, set()).update(wanted)

    def change(task: Forward) -> Forward:
        held = found.get(task.run, set()) | set(task.remembers)
        return replace(task, remembers=tuple(p for p in PARTS if p in held))

    return _each(plan, Forward, change)


def skip_idle(plan: Plan) -> Plan:
    """A change of nothing, or one that nothing reads: effect = 0."""
    return _each(plan, Sweep, lambda t: replace(t, skips=t.edges is None))


def choose_executor(plan: Plan) -> Plan:
    """Only TransformerLens's bridge has every hook; all else may run compiled."""
    hooked = {run.model for run, site in touched(plan) if site.kind == "hook"}

    def change(task: LoadModel) -> LoadModel:
        return (
            replace(task, spec={**task.spec, "executor": "hooked"}) if task.id in hooked else task
        )

    return _each(plan, LoadModel, change)


def pack(plan: Plan) -> Plan:
    """As much at once as keeps the device busy within its memory; shards of a few seconds."""
    known, device = sizes(plan), expected(plan.device)
    plan = _each(plan, Forward, lambda t: replace(t, batch=_batch(t, known, device)))
    plan = _each(plan, Fit, lambda t: replace(t, batch=_streamed(t, known, device)))
    plan = _each(plan, EvaluateDictionary, lambda t: replace(t, batch=_judged(t, known, device)))
    plan = _each(plan, Inspect, lambda t: replace(t, batch=_judged(t, known, device)))
    plan = _each(plan, Generate, lambda t: replace(t, batch=_continued(t, known, device)))
    plan = _each(plan, Relate, lambda t: replace(t, batch=_judged(t, known, device)))
    return _each(plan, Sweep, lambda t: _packed(t, known, device))


def _streamed(task: Fit, known: Sizes, device: Device) -> int:
    """Prompts that go through the model at once where only activations are kept."""
    models = [known.models.get(run.model) for run in task.runs]
    if task.width is None or not all(models):
        return UNKNOWN_ROWS
    largest = max(token_bytes(model) for model in models if model)
    tokens = max(1, min(device.tokens, device.budget // largest))
    return fitting(tokens, WHOLE.rows, task.width, 0)


def _continued(task: Generate, known: Sizes, device: Device) -> int:
    return generation_batch(task, known, device, UNKNOWN_ROWS)


def _batch(task: Forward, known: Sizes, device: Device) -> int:
    packing = _limits(task, task.run, known, device)
    data = known.data.get(task.run.data)
    return UNKNOWN_ROWS if data is None else fitting(packing.tokens, packing.rows, data.width, 0)


def _judged(task: EvaluateDictionary | Inspect | Relate, known: Sizes, device: Device) -> int:
    """Prompts at once where logits of several passes are compared at every position."""
    runs = (task.run,) if isinstance(task, Relate) else task.runs
    models, width = [known.models.get(run.model) for run in runs], task.width
    if width is None or not all(models):
        return UNKNOWN_ROWS
    largest = max(token_bytes(model) for model in models if model)
    logits = sum(read_bytes(model, EVERYWHERE, width) for model in models if model)
    tokens = max(1, min(device.tokens, device.budget // largest))
    return fitting(tokens, max(1, device.budget // (COMPARED * logits)), width, 0)


def _limits(task: Forward | Sweep, run: Run, known: Sizes, device: Device) -> Packing:
    """Tokens and rows that fit; rows a few where sizes are not known."""
    found = known.of(run)
    if found is None:
        return replace(WHOLE, tokens=device.tokens, rows=UNKNOWN_ROWS, least=LEAST_TOKENS)
    model, data = found
    by_logits = max(1, read_bytes(model, read_by(task, data), data.width))
    token = token_bytes(model) + kept_bytes(model, kept(task.metrics))
    if isinstance(task, Sweep) and task.edges is not None:
        token += edge_token_bytes(model, travels=any(travelling(task, units_of(task, known) or ())))
    tokens = max(1, min(device.tokens, device.budget // token))
    return replace(
        WHOLE,
        tokens=tokens,
        rows=max(1, device.budget // by_logits),
        least=max(LEAST_TOKENS, int(device.least / Work(q=1, kv=1, out=1, mlp=1).flops(model))),
    )


def _packed(task: Sweep, known: Sizes, device: Device) -> Sweep:
    """A sweep with its packing: a shard is some batches, and more while they are quick."""
    run = task.variants[0].into
    limits, data = _limits(task, run, known, device), known.data.get(run.data)
    if data is None:
        return replace(task, packing=replace(limits, shard=1))
    rows = fitting(limits.tokens, limits.rows, data.width, 0)
    shard = BATCHES_A_SHARD * max(1, rows // data.n)
    units, estimate = units_of(task, known), cost(replace(task, packing=limits), known)
    if units and estimate.flops:
        shard = max(shard, int(device.shard * len(units) / estimate.flops))
        most = len(units) * data.n
        limits = replace(limits, rows=min(limits.rows, most))
        shard = min(shard, len(units))
    return replace(task, packing=replace(limits, shard=shard))


K = TypeVar(
    "K",
    AttributeEdges,
    EvaluateCircuit,
    EvaluateDictionary,
    Fit,
    Forward,
    Generate,
    Inspect,
    LoadModel,
    Relate,
    Search,
    Sweep,
)


def _each(plan: Plan, kind: type[K], change: Callable[[K], K]) -> Plan:
    """The plan with every task of a kind changed."""
    tasks: Collection[Task] = [change(t) if isinstance(t, kind) else t for t in plan.tasks]
    return replace(plan, tasks=tuple(tasks))


def _union(first: Iterable[T], second: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys((*first, *second)))


PASSES: tuple[Callable[[Plan], Plan], ...] = (
    share_forwards,
    drop_doubles,
    change_z,
    read_few,
    read_answers,
    stop_early,
    start_late,
    trim_positions,
    narrow,
    add_heads,
    skip_idle,
    choose_executor,
    pack,
)


def optimise(plan: Plan) -> Plan:
    """All passes in order."""
    for a_pass in PASSES:
        plan = a_pass(plan)
    return plan
