"""The plan as a database prints one: a line a task, what it costs, what it shares."""

from __future__ import annotations

from collections.abc import Iterator

from interp_dsl.plan.algebra import (
    Blocked,
    Constant,
    FromRun,
    Intervention,
    Mean,
    Noise,
    Resample,
    Run,
    Source,
    ToVector,
    Zero,
)
from interp_dsl.plan.cost import Cost, cost, n_units, sizes
from interp_dsl.plan.passes import PASSES
from interp_dsl.plan.tasks import (
    BuildData,
    Evaluate,
    Forward,
    KeepPairs,
    LoadModel,
    Plan,
    Record,
    SelfTest,
    Sweep,
    Task,
)


def explain(plan: Plan) -> str:
    """The tasks as a tree with forward passes, tokens, FLOPs and memory, then the totals."""
    known = sizes(plan)
    lines = ["plan"]
    total = Cost()
    for i, task in enumerate(plan.tasks):
        estimate = cost(task, known)
        total += estimate
        is_last = i == len(plan.tasks) - 1
        lines.append(f"{'└─' if is_last else '├─'} {_title(task, plan)}")
        bar = "   " if is_last else "│  "
        lines += [f"{bar}  {line}" for line in _details(task, estimate)]
    lines.append(f"total  {_cost(total)}")
    lines += [f"note   {note}" for note in plan.notes]
    lines += [f"claim  {claim.text}" for claim in plan.claims]
    return "\n".join(lines)


def explain_passes(plan: Plan) -> str:
    """The plan as lowered, then after every pass that changes it."""
    parts = [f"as lowered\n{explain(plan)}"]
    for a_pass in PASSES:
        after = a_pass(plan)
        law = (a_pass.__doc__ or "").splitlines()[0]
        changed = explain(after) if after != plan else "(nothing to do)"
        parts.append(f"{a_pass.__name__}: {law}\n{changed}")
        plan = after
    return "\n\n".join(parts)


def _title(task: Task, plan: Plan) -> str:
    match task:
        case LoadModel(name=name, spec=spec):
            origin = spec.get("name") or spec.get("folder") or spec.get("target")
            return f"model {name} = {spec['kind']}({origin})"
        case BuildData(name=name, spec=spec):
            return f"data {name} = {spec['kind']}"
        case Forward(run=run):
            return f"forward {show_run(run)}"
        case SelfTest(clean=run):
            return f"self-test {show_run(run)}"
        case KeepPairs(pairs=pairs, data=data):
            return f"keep the first {pairs} examples of {data.removeprefix('data:')}"
        case Sweep(step=step, intervention=change):
            width = sizes(plan).data.get(task.variants[0].into.data)
            n = n_units(change.units, width.width if width else None)
            count = f"{n:,} units" if n is not None else "units known at run time"
            return f"step {step}: {count}, {show_change(change)}"
        case Evaluate(step=step):
            return f"step {step}: evaluate"
        case Record(step=step, keep=keep):
            return f"step {step}: record {len(task.targets)} places of {keep} examples"


def _details(task: Task, estimate: Cost) -> Iterator[str]:
    match task:
        case BuildData(size=size) if size:
            yield f"{size.n:,} examples of at most {size.width} tokens"
        case Forward(sites=found, metrics=metrics, batch=batch):
            kept = f"keeps {len(found)} sites" if found else "keeps no sites"
            names = ", ".join(m.name for m in metrics)
            yield kept + (f", measures {names}" if names else "")
            yield _cost(estimate) + (f", {batch} rows a batch" if batch else "")
        case Sweep(variants=variants, metrics=metrics):
            for variant in variants:
                other = f", normalised by {show_run(variant.other)}" if variant.other else ""
                yield f"into {show_run(variant.into)}{other}"
            yield f"measures {', '.join(m.name for m in metrics)}"
            packing = f", {task.rows} rows a batch" if task.rows else ""
            shard = f", {task.shard} units a shard" if task.shard else ""
            yield _cost(estimate) + packing + shard
        case Evaluate(variants=variants, metrics=metrics):
            for variant in variants:
                yield f"on {show_run(variant.into)}: {', '.join(m.name for m in metrics)}"
        case SelfTest(corrupt=corrupt):
            second = "; the whole residual stream from the other side gives its outputs"
            yield "a side patched into itself changes nothing" + (second if corrupt else "")
            yield _cost(estimate)
        case KeepPairs(budget=budget):
            yield f"tokens, labels, patterns, top logits: {budget // 1_000_000} MB at most"


def show_run(run: Run) -> str:
    """`repeats.corrupt`, with the number of interventions that hold in it."""
    name = f"{run.data.removeprefix('data:')}.{run.side}"
    return f"{name} under {len(run.under)}" if run.under else name


def show_change(change: Intervention) -> str:
    along = " along a direction" if change.along else ""
    return f"set to {show_source(change.source)}{along}"


def show_source(source: Source) -> str:
    match source:
        case FromRun(run=run):
            return show_run(run)
        case Zero():
            return "zero"
        case Mean(run=run, per=per):
            return f"the mean of {show_run(run)} per {per}"
        case Resample(run=run, seed=seed):
            return f"a drawn example of {show_run(run)} (seed {seed})"
        case Noise(std=std):
            return f"itself plus noise of {std}"
        case Constant(value=value):
            return f"{value:g}"
        case ToVector():
            return "a vector"
        case Blocked():
            return "nothing, before the softmax"


def _cost(estimate: Cost) -> str:
    if estimate.passes is None or estimate.tokens is None or estimate.flops is None:
        return "size known at run time"
    parts = [
        f"{estimate.passes:,} forward passes",
        f"{quantity(estimate.tokens)} tokens",
        f"{quantity(estimate.flops)}FLOP",
    ]
    if estimate.bytes:
        parts.append(f"{quantity(estimate.bytes)}B kept")
    return ", ".join(parts)


def quantity(value: float) -> str:
    """A number in thousands, millions, … with one decimal: 1.2 M."""
    for size, suffix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.1f} {suffix}"
    return f"{value:.0f} "
