"""The plan as a database prints one: a line a task, what it costs, what it shares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher

from interp_dsl.plan.algebra import Metric
from interp_dsl.plan.changes import show_change, show_run, show_source
from interp_dsl.plan.cost import Cost
from interp_dsl.plan.edges import bounds
from interp_dsl.plan.estimates import Estimates, estimates, readers
from interp_dsl.plan.metrics import kept, reads_outputs
from interp_dsl.plan.passes import PASSES
from interp_dsl.plan.places import Target
from interp_dsl.plan.sampling import is_sampled, sampling_told
from interp_dsl.plan.sizes import Sizes, units_of
from interp_dsl.plan.starts import Packing
from interp_dsl.plan.tasks import (
    Attribute,
    AttributeEdges,
    Attribution,
    BuildData,
    CircuitFile,
    CircuitOf,
    Evaluate,
    EvaluateCircuit,
    EvaluateDictionary,
    EvaluateNodes,
    Factor,
    Fit,
    Forward,
    Generate,
    Inspect,
    InspectWeights,
    KeepPairs,
    LoadDictionary,
    LoadModel,
    NodeTask,
    Plan,
    Record,
    Relate,
    Search,
    SearchNodes,
    SelfTest,
    Sweep,
    Task,
)
from interp_dsl.plan.told import choosing, fitted, reads, shape, show_runs, title
from interp_dsl.plan.told_starts import starting
from interp_dsl.plan.units import depends
from interp_dsl.plan.written import quantity, written_ranking

NAMED = 5
"""Steps that are named of those that share a forward."""


def explain(plan: Plan, beside: Mapping[str, str] | None = None, below: Sequence[str] = ()) -> str:
    """The tasks as a tree with rows, tokens, FLOPs and memory, then the totals. `beside` adds to
    the line of a task, by id; `below` adds lines to the totals."""
    found, steps = estimates(plan), readers(plan)
    lines = ["plan"]
    for i, task in enumerate(plan.tasks):
        is_last = i == len(plan.tasks) - 1
        more = f"  [{beside[task.id]}]" if beside and task.id in beside else ""
        lines.append(f"{'└─' if is_last else '├─'} {_title(task, found.sizes)}{more}")
        bar = "   " if is_last else "│  "
        used = steps.get(task.run, ()) if isinstance(task, Forward) else ()
        lines += [f"{bar}  {line}" for line in _details(task, found, used)]
    lines += [*_totals(found), *below]
    lines += [f"note   {note}" for note in plan.notes]
    lines += [f"claim  {claim.text}" for claim in plan.claims]
    return "\n".join(lines)


def _totals(found: Estimates) -> Iterator[str]:
    """The sum of what is known, and how many times as much a plain loop would multiply."""
    left = len(found.unknown)
    more = f", and {left} more whose size the run will know" if left else ""
    held = (found.total.bytes or 0) + (found.total.peak or 0)
    yield (
        f"total  {_cost(found.total)}"
        + (f", {quantity(held)}B held at most" if held else "")
        + more
    )
    plain, ours = found.plain_loop.flops, found.steps.flops
    if plain and ours:
        most, least = ("at most ", "at least ") if found.steps.is_bound else ("", "")
        yield (
            f"       of it {most}{quantity(ours)}FLOP for the steps; a plain loop would take "
            f"{quantity(plain)}FLOP: {least}{_times(plain / ours)} as much"
        )


def _times(ratio: float) -> str:
    return f"{ratio:.1f}×" if ratio < 10 else f"{ratio:,.0f}×"


def explain_passes(plan: Plan) -> str:
    """The plan as lowered, the lines that each pass changes (`-` before it, `+` behind it), and the
    plan as it is run."""
    parts = [f"as lowered\n{explain(plan)}"]
    for a_pass in PASSES:
        after = a_pass(plan)
        law = (a_pass.__doc__ or "").splitlines()[0]
        parts.append("\n".join([f"{a_pass.__name__}: {law}", *_changes(plan, after)]))
        plan = after
    return "\n\n".join([*parts, f"as run\n{explain(plan)}"])


def _changes(before: Plan, after: Plan) -> Iterator[str]:
    """The lines of two plans that differ, below the lines that name their tasks."""
    old, new = explain(before).splitlines(), explain(after).splitlines()
    if old == new:
        yield "(nothing to do)"
    matcher, named = SequenceMatcher(None, old, new, autojunk=False), None
    for kind, first, stop, begin, end in matcher.get_opcodes():
        if kind == "equal":
            continue
        task = next((line for line in reversed(new[: begin + 1]) if line[:1] in "├└"), None)
        if task and task not in new[begin:end] and task != named:
            yield f"  {task}"
        named = task
        yield from (f"- {line}" for line in old[first:stop])
        yield from (f"+ {line}" for line in new[begin:end])


def _title(task: Task, known: Sizes) -> str:
    match task:
        case LoadModel(name=name, spec=spec):
            origin = spec.get("name") or spec.get("folder") or spec.get("target")
            how = ", runs by hooks" if spec.get("executor") == "hooked" else ""
            return f"model {name} = {spec['kind']}({origin}){how}"
        case BuildData(name=name, spec=spec):
            return f"data {name} = {spec['kind']}"
        case Forward(run=run):
            return f"forward {show_run(run)}"
        case SelfTest(clean=run):
            return f"self-test {show_run(run)}"
        case KeepPairs(pairs=pairs, data=data):
            return f"keep the first {pairs} examples of {data.removeprefix('data:')}"
        case Sweep(step=step, intervention=change):
            units, what = units_of(task, known), "point" if task.curves else "unit"
            count = f"{what}s known at run time" if units is None else _count(len(units), what)
            return f"step {step}: {count}, {show_change(change)}"
        case Evaluate(step=step):
            return f"step {step}: evaluate"
        case Record(step=step, keep=keep):
            return f"step {step}: record {len(task.targets)} places of {keep} examples"
        case Search(step=step, method=method):
            return f"step {step}: search edges by {method}({_arguments(task)})"
        case SearchNodes(step=step, method=method, by=by):
            ranking = f"by={by.step}.{by.metric}.{by.column}, " if by else ""
            return f"step {step}: search nodes by {method}({ranking}{_arguments(task)})"
        case EvaluateNodes(step=step, kept=kept):
            return f"step {step}: evaluate the nodes of {', '.join(sorted(depends(kept)))}"
        case Attribute(step=step):
            units = units_of(task, known)
            count = "units known at run time" if units is None else _count(len(units), "unit")
            return f"step {step}: {count}, estimated by {task.method}({_arguments(task)})"
        case AttributeEdges(step=step, n_edges=n):
            count = "edges known at run time" if n is None else _count(n, "edge")
            return f"step {step}: {count}, estimated by {task.method}({_arguments(task)})"
        case Fit():
            return title(task)
        case LoadDictionary(step=step, folder=folder):
            return f"load dictionary {step} from {folder}"
        case EvaluateDictionary(step=step, of=of):
            return f"step {step}: evaluate {of.step}"
        case (
            Inspect(step=step, of=of, method=method)
            | InspectWeights(step=step, of=of, method=method)
        ):
            return f"step {step}: features of {of.step} by {method}({_arguments(task)})"
        case Generate(step=step, tokens=tokens, continuations=found):
            return f"step {step}: {tokens:,} tokens behind each prompt, {len(found)} times"
        case Relate(step=step, method=method):
            return f"step {step}: relate features by {method}({_arguments(task)})"
        case EvaluateCircuit(step=step, circuit=circuit):
            return f"step {step}: evaluate the circuit {_origin(circuit)}"
        case Factor(step=step, method=method):
            return f"step {step}: factor layers by {method}({_arguments(task)})"


def _details(task: Task, found: Estimates, used: Sequence[str]) -> Iterator[str]:
    estimate = found.tasks[task.id]
    match task:
        case BuildData(size=size) if size:
            yield f"{size.n:,} examples of at most {size.width} tokens"
            if is_sampled(task):
                yield from sampling_told(task)
                yield _cost(estimate)
        case Forward(sites=sites, metrics=metrics, batch=batch):
            kept = f" and {', '.join(task.remembers)} of all layers" if task.remembers else ""
            kept += f", {quantity(estimate.bytes)}B" if estimate.bytes else ""
            measured = f", measures {_measured(metrics)}" if metrics else ""
            if task.moments:
                kept += f", gathers the moments of {_count(len(task.moments), 'place')}"
            shared = f", for {_listed(used)}" if used else ""
            yield f"keeps {_count(len(sites), 'site')}{kept}{measured}{shared}"
            ends = ", ends after the last of them" if task.stops else ""
            yield _cost(estimate) + (f", {batch} rows a batch" if batch else "") + ends
        case Sweep():
            yield from _sweep(task, found.sizes, estimate)
        case Evaluate(variants=variants, metrics=metrics):
            for variant in variants:
                yield f"on {show_run(variant.into)}: {', '.join(m.name for m in metrics)}"
        case Search() | EvaluateCircuit():
            yield from _circuits(task, found.sizes, estimate)
        case SearchNodes() | EvaluateNodes():
            yield from _nodes(task, found.sizes, estimate)
        case Attribute() | AttributeEdges():
            yield from _estimated(task, estimate)
        case Factor(into=run, targets=targets, metrics=metrics):
            kept = f", to keep {', '.join(m.name for m in metrics)}" if metrics else ""
            yield f"on {show_run(run)}{kept}: {', '.join(t.place for t in targets)}, in float64"
            yield _cost(estimate) + (
                f", {quantity(estimate.bytes)}B held" if estimate.bytes else ""
            )
        case Generate(run=run, continuations=continued):
            yield f"on {show_run(run)}: {', '.join(one.name for one in continued)}"
            yield choosing(task)
            yield _cost(estimate) + (f", {task.batch} prompts a batch" if task.batch else "")
        case Inspect():
            yield f"on {show_runs(task)}"
            yield _cost(estimate) + _held(estimate)
        case InspectWeights():
            flops = "size known at run time" if estimate.flops is None else ""
            yield "from the weights alone, " + (flops or f"{quantity(estimate.flops or 0)}FLOP")
        case Relate(run=run, fitted=fitted_ones, rows=rows):
            places = ", ".join(f"{d.target.place} ({d.option('width'):,})" for d in fitted_ones)
            yield f"on {show_run(run)}: {places}"
            held = f", {quantity(estimate.bytes)}B held" if estimate.bytes else ""
            yield f"{rows:,} lower features a pass{held}"
            yield _cost(estimate)
        case EvaluateDictionary(measures=measures):
            yield f"on {show_runs(task)}: {', '.join(m.name for m in measures)}"
            yield _cost(estimate) + _held(estimate)
        case LoadDictionary(fitted=one):
            yield shape(one)
        case Fit():
            if not task.stored_by:
                yield f"on {show_runs(task)}: {reads(task)}"
            yield from fitted(task, found.sizes)
            yield _cost(estimate)
        case SelfTest(corrupt=corrupt):
            second = "; the whole residual stream from the other side gives its outputs"
            yield "a side patched into itself changes nothing" + (second if corrupt else "")
            yield _cost(estimate)
        case KeepPairs(budget=budget):
            yield f"tokens, labels, patterns, top logits: {budget // 1_000_000} MB at most"
            yield _cost(estimate)


def _measured(metrics: Sequence[Metric]) -> str:
    """Metrics by name, with the places that they are of."""
    places = {m.name: [Target(site).place for site in kept([m])] for m in metrics}
    return ", ".join(f"{n} of {' and '.join(of)}" if of else n for n, of in places.items())


def _sweep(task: Sweep, known: Sizes, estimate: Cost) -> Iterator[str]:
    for variant in task.variants:
        other = f", normalised by {show_run(variant.other)}" if variant.other else ""
        yield f"into {show_run(variant.into)}{other}"
    read = "the positions read" if task.reads_few else "every position"
    read = f"the answers' tokens at {read}" if task.reads_answers else read
    if not reads_outputs(task.metrics):
        read = "nothing, ends behind what is measured"
    yield f"measures {_measured(task.metrics)}, unembeds {read}"
    yield starting(task, known)
    if task.skips:
        yield "skips units that cannot have an effect: theirs is 0"
    yield _cost(estimate) + (f", {quantity(estimate.peak)}B a batch" if estimate.peak else "")
    if task.packing:
        yield _packing(task.packing)


def _circuits(task: Search | EvaluateCircuit, known: Sizes, estimate: Cost) -> Iterator[str]:
    """Where a search or an evaluation of circuits runs, and what it takes."""
    yield f"on {show_run(task.into)}, set to {show_source(task.source)} where an edge is out"
    if isinstance(task, EvaluateCircuit):
        yield f"measures {', '.join(f.name for f in task.findings)}{_unembeds(task)}"
    else:
        first, *others = (m.name for m in task.metrics)
        reported = f", reports {', '.join(others)}" if others else ""
        yield f"driven by {first}{reported}{_unembeds(task)}"
        kept = ", all others stay in" if task.among is not None else ""
        if task.counts is not None:
            yield _count(sum(task.counts), "edge") + kept + _passes(task, known)
        elif task.among is not None:
            yield f"edges known at run time{kept}"
    yield _cost(estimate) + (f", {quantity(estimate.peak)}B held" if estimate.peak else "")


def _nodes(task: NodeTask, known: Sizes, estimate: Cost) -> Iterator[str]:
    """Where circuits of nodes are searched or evaluated, and what it takes."""
    source = show_source(task.intervention.source)
    yield f"on {show_run(task.variant.into)}, set to {source} where a node is out"
    if isinstance(task, EvaluateNodes):
        yield f"measures {', '.join(f.name for f in task.findings)}"
    else:
        first, *others = (m.name for m in task.metrics)
        yield f"driven by {first}" + (f", reports {', '.join(others)}" if others else "")
    units = units_of(task, known)
    count = "nodes known at run time" if units is None else _count(len(units), "node")
    most = "" if task.circuits is None else f"; at most {_count(task.circuits, 'circuit')} measured"
    yield count + most
    yield _cost(estimate)


def _estimated(task: Attribution, estimate: Cost) -> Iterator[str]:
    """Where effects are estimated, and what it takes."""
    source = task.intervention.source if isinstance(task, Attribute) else task.source
    other = task.variant.other
    beside = f", normalised by {show_run(other)}" if other else ""
    along = task.intervention.along if isinstance(task, Attribute) else task.along
    change = "" if task.method == "dla" else f", set to {show_source(source)}"
    change += " along a direction" if along else ""
    for variant in task.variants:
        yield f"on {show_run(variant.into)}{change}{beside}"
    unembeds = _unembeds(task) if isinstance(task, AttributeEdges) else ""
    yield f"estimates of {', '.join(m.name for m in task.metrics)}{unembeds}"
    if task.verify:
        yield f"the {task.verify} largest are measured by real patches"
    yield _cost(estimate)


def _unembeds(task: Search | EvaluateCircuit | AttributeEdges) -> str:
    return ", unembeds the answers' tokens" if task.reads_answers else ""


def _passes(task: Search, known: Sizes) -> str:
    if not task.is_stepwise:
        return f"; at most {task.passes:,} passes of all examples" if task.passes else ""
    found = bounds(task, known)
    if found is None:
        return ""
    return f"; tests of {found.least:,.1f} to {found.most:,.1f} passes of all examples"


def _arguments(
    task: Search | SearchNodes | Attribution | Inspect | InspectWeights | Relate | Factor,
) -> str:
    held = {name: value for name, value in task.options if value is not None}
    said = [f"{name}={_said(value)}" for name, value in held.items()]
    by = task.by if isinstance(task, Search) else None
    return ", ".join([f"by={written_ranking(by)}", *said] if by else said)


def _said(value: object) -> str:
    """An option as the language writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        inner = [_said(v) for v in value]
        return inner[0] if len(inner) == 1 else f"[{', '.join(inner)}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _origin(circuit: CircuitOf | CircuitFile) -> str:
    return circuit.step if isinstance(circuit, CircuitOf) else circuit.path


def _packing(packing: Packing) -> str:
    return (
        f"at most {packing.rows:,} rows and {packing.tokens:,} tokens a batch, "
        f"{_count(packing.shard, 'unit')} a shard"
    )


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}" if n else f"no {what}s"


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _cost(estimate: Cost) -> str:
    if estimate.passes is None or estimate.tokens is None or estimate.flops is None:
        return "size known at run time"
    most = "at most " if estimate.is_bound else ""
    tokens, flops = quantity(estimate.tokens).rstrip(), quantity(estimate.flops)
    return f"{most}{_count(estimate.passes, 'row')}, {tokens} tokens, {flops}FLOP"


def _held(estimate: Cost) -> str:
    return f", {quantity(estimate.bytes)}B held" if estimate.bytes else ""
