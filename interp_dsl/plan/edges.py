"""Estimates of what is done to edges: searches for circuits, what circuits are measured by, and
sweeps of single edges.

A search visits edges from the logits down. When it tests one into layer l, nothing before l is run,
so an edge costs at most the layers from l on; at the least, all but the edges into the final
residual are dropped without a test, and of a pass only the unembedding is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from interp_dsl.plan.algebra import Explicit, Metric, Run, Source
from interp_dsl.plan.cost import UNKNOWN, Cost, whole
from interp_dsl.plan.memory import BYTES, edge_token_bytes, tested_at_once, token_bytes
from interp_dsl.plan.places import ALL, Unit
from interp_dsl.plan.rewrite import parts
from interp_dsl.plan.sizes import Sizes
from interp_dsl.plan.starts import WHOLE, Start, edge_layer, fitting
from interp_dsl.plan.tasks import DataSize, EvaluateCircuit, ModelSize, Search, Sweep
from interp_dsl.plan.work import EVERYWHERE, Reads, Work, answering, passes, reads


@dataclass(frozen=True)
class Bounds:
    """A search's tests at the least and at the most, in passes of all its examples through the
    whole model."""

    least: float
    most: float


def edges_cost(task: Search | EvaluateCircuit, known: Sizes) -> Cost:
    """The most that a search or an evaluation of circuits takes. A search by position holds which
    edges are in at each token besides."""
    cost, found = _edges_cost(task, known), known.of(task.into)
    if found is None or cost.peak is None or not _is_by_position(task):
        return cost
    model, data = found
    return replace(cost, peak=cost.peak + BYTES * _edge_count(model) * data.n * data.width)


def _is_by_position(task: Search | EvaluateCircuit) -> bool:
    """Whether a search names edges at positions."""
    if not isinstance(task, Search) or not isinstance(task.among, Explicit):
        return False
    return any(t.positions != ALL for unit in task.among.units for t in unit.targets)


def _edges_cost(task: Search | EvaluateCircuit, known: Sizes) -> Cost:
    found = known.of(task.into)
    if found is None:
        return UNKNOWN
    if isinstance(task, EvaluateCircuit):
        return _masked(task, task.n_circuits * (1 + task.measures), known)
    if task.counts is None:
        return UNKNOWN
    if not task.is_stepwise:
        return _masked(task, (task.passes or 0) + max(1, len(task.thresholds)), known)
    model, data = found
    before = _sources(task.source, known) + whole(task.into, None, known)
    work = _tests(task, model, data)
    rows = data.n * sum(task.counts) * max(1, len(task.thresholds))
    tests = Cost(rows, rows * data.width, work.flops(model), is_bound=True)
    return replace(before + tests, peak=_searched(model, data, known.device))


def edge_sweep_cost(task: Sweep, units: Sequence[Unit], known: Sizes) -> Cost:
    """A pass a unit and example, from the layer on that the unit enters, all edges of the graph
    weighed in it; before, where its effect travels there, at most the layers up to it; and for each
    batch's examples one pass of the run and one of the source's."""
    run = task.variants[0].into
    found = known.of(run)
    if found is None:
        return UNKNOWN
    model, data = found
    read = answering(_reads(task.metrics), task, data)
    rows, packing = len(units) * data.n, task.packing or WHOLE
    batch = min(rows, fitting(packing.tokens, packing.rows, data.width, 0))
    entered = [edge_layer(unit, model.n_layers) for unit in units]
    layers = Counter(entered if task.late else [0] * len(units))
    weighed = 2.0 * _edge_count(model) * data.n * data.width * model.d_model
    flops = weighed * len(units)
    for layer, count in layers.items():
        start = Start(layer, False, 0)
        flops += passes(model, count * data.n, data.width, read, start, False).flops(model)
    far = [layer for layer, moves in zip(entered, travelling(task, units), strict=True) if moves]
    for layer, count in Counter(far).items():
        part = replace(model, n_layers=layer)
        flops += passes(part, count * data.n, data.width, Reads(0), trims=False).flops(model)
    flops += weighed * len(far)
    own = Cost(rows, rows * data.width, flops, is_bound=True)
    stretches = len(layers) + len(units) // packing.shard
    examples = min(rows, stretches * data.n + rows // batch)
    before = [whole(r, examples, known) for r in (run, *parts(task.intervention.source, Run))]
    held = batch * data.width * (token_bytes(model) + edge_token_bytes(model, travels=bool(far)))
    return replace(sum([sum(before, own)] * len(task.variants), Cost()), peak=held)


def travelling(task: Sweep, units: Sequence[Unit]) -> list[bool]:
    """Of each unit, whether its effect goes through nodes before it enters the run."""
    if task.travel is not None and task.travel.through:
        return [True] * len(units)
    return [any(str(t.site.edge).count(" -> ") > 1 for t in unit.targets) for unit in units]


def _edge_count(model: ModelSize) -> int:
    """The edges of a model whose MLPs read the heads of their own layer: at most what it has."""
    heads, mlp = model.n_heads, 1 if model.d_mlp else 0
    seen = [2 + layer * (heads + mlp) for layer in range(model.n_layers + 1)]
    return sum(3 * heads * s + mlp * (s + heads) for s in seen[:-1]) + seen[-1]


def bounds(task: Search, known: Sizes) -> Bounds | None:
    """What the tests of a search come to; None where sizes are not known beforehand."""
    found = known.of(task.into)
    if found is None or task.counts is None or not task.is_stepwise:
        return None
    model, data = found
    one = whole(task.into, None, known).flops
    assert one
    read = answering(reads(task.metrics), task, data)
    final = passes(model, task.counts[-1] * data.n, data.width, read, _at(model))
    return Bounds(final.flops(model) / one, _tests(task, model, data).flops(model) / one)


def edges_plain(task: Search | EvaluateCircuit, known: Sizes) -> Cost:
    """The same as whole passes with all logits: one an edge, or a circuit."""
    before = _sources(task.source, known) + whole(task.into, None, known)
    data = known.data.get(task.into.data)
    if data is None:
        return UNKNOWN
    if isinstance(task, EvaluateCircuit):
        circuits = task.n_circuits * (1 + task.measures) + 1
        return before + whole(task.into, circuits * data.n, known)
    if task.counts is None:
        return UNKNOWN
    if not task.is_stepwise:
        circuits = (task.passes or 0) + max(1, len(task.thresholds)) + 1
        return before + whole(task.into, circuits * data.n, known)
    rows = data.n * sum(task.counts) * max(1, len(task.thresholds))
    return before + whole(task.into, rows, known)


def _sources(source: Source, known: Sizes) -> Cost:
    """A pass of each run that a source is taken from."""
    return sum((whole(run, None, known) for run in parts(source, Run)), Cost())


def _tests(task: Search, model: ModelSize, data: DataSize) -> Work:
    """Every edge tested, with all that comes behind it."""
    assert task.counts is not None
    read = answering(reads(task.metrics), task, data)
    rows = data.n * max(1, len(task.thresholds))
    work = Work()
    for layer, count in enumerate(task.counts):
        start = Start(layer, False, 0) if layer < model.n_layers else _at(model)
        work += passes(model, rows * count, data.width, read, start)
    return work


def _reads(metrics: Sequence[Metric]) -> Reads:
    """Where metrics read a pass's logits: everywhere, where the data's answers decide."""
    found = reads(metrics)
    return found if found.is_known else EVERYWHERE


def _at(model: ModelSize) -> Start:
    """Behind the last layer."""
    return Start(model.n_layers, False, 0)


def _masked(task: Search | EvaluateCircuit, circuits: int, known: Sizes) -> Cost:
    """Circuits and the empty one with every edge weighed, the whole model as it is."""
    found = known.of(task.into)
    assert found is not None
    model, data = found
    read = answering(_reads(task.metrics), task, data)
    passed = (circuits + 1) * data.n
    cost = _sources(task.source, known) + whole(task.into, passed + data.n, known, read)
    n_edges = sum(task.counts or ()) if isinstance(task, Search) else task.n_edges
    if isinstance(task, Search) and task.among is not None:
        n_edges = _edge_count(model)
    edges = 2.0 * (n_edges or 0) * passed * data.width * model.d_model
    flops = None if cost.flops is None or n_edges is None else cost.flops + edges
    return replace(cost, flops=flops, peak=_held(model, data), is_bound=True)


def _searched(model: ModelSize, data: DataSize, device: str) -> int:
    """The most that a search from edge to edge holds, every node alive and needed at all positions:
    of the clean run what senders write, how the source differs and the streams that are read; of
    the accepted state what each receiver reads, what heads make of it and what senders write; the
    same of the candidates that are tested at once, and how what they write differs, twice."""
    heads, layers = model.n_heads, model.n_layers
    senders, receivers = 1 + layers * (heads + 1), layers * (3 * heads + 1) + 1
    attention = 3 * layers * heads * model.d_head // model.d_model
    streams = 4 * layers + 1
    one = data.n * data.width * model.d_model
    state = 2 * senders + streams + receivers + attention + senders
    tested = receivers + attention + 3 * senders
    return model.number * one * (state + tested * tested_at_once(one, device))


def _held(model: ModelSize, data: DataSize) -> int:
    """What all senders write in the clean run, how the source differs from it, and the streams
    that are read."""
    layers = model.n_layers * (model.n_heads + 1)
    streams = model.n_layers * 4 + 1
    return model.number * data.n * data.width * model.d_model * (2 * (1 + layers) + streams)
