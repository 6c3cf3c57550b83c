"""Estimates of a plan's tasks: rows, positions, FLOPs and bytes, where sizes are known beforehand.

What is counted is what the compiled executor computes. Where the data decides, it is the most: an
upper bound, and marked as one. Not counted: further prompts that answers of several tokens ask
for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from interp_dsl.plan.algebra import (
    Run,
)
from interp_dsl.plan.memory import BYTES, batch_bytes, joined_bytes, remembered_bytes, site_bytes
from interp_dsl.plan.metrics import streams
from interp_dsl.plan.places import Point, Site, Unit
from interp_dsl.plan.sizes import Sizes, units_of
from interp_dsl.plan.starts import (
    WHOLE,
    Late,
    Start,
    Stretch,
    acts_everywhere,
    fitting,
    start,
    stretches,
)
from interp_dsl.plan.tasks import (
    Attribute,
    AttributeEdges,
    BuildData,
    DataSize,
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
    ModelSize,
    NodeTask,
    Record,
    Regions,
    Relate,
    Search,
    SearchNodes,
    SelfTest,
    Sweep,
    Task,
)
from interp_dsl.plan.work import EVERYWHERE, Reads, Work, passes, read_by


@dataclass(frozen=True)
class Cost:
    """`passes` rows through the model, `tokens` positions of them that are computed, `flops` of
    their matrix products, `bytes` kept in memory for later passes, `peak` bytes that the largest
    batch holds besides. None where a size is not known beforehand. `is_bound`: it may be less."""

    passes: int | None = 0
    tokens: int | None = 0
    flops: float | None = 0.0
    bytes: int | None = 0
    is_bound: bool = False
    peak: int | None = 0

    def __add__(self, other: Cost) -> Cost:
        def add(a: float | None, b: float | None) -> float | None:
            return None if a is None or b is None else a + b

        return Cost(
            add(self.passes, other.passes),  # type: ignore[arg-type]
            add(self.tokens, other.tokens),  # type: ignore[arg-type]
            add(self.flops, other.flops),
            add(self.bytes, other.bytes),  # type: ignore[arg-type]
            self.is_bound or other.is_bound,
            None if self.peak is None or other.peak is None else max(self.peak, other.peak),
        )


UNKNOWN = Cost(None, None, None, None, peak=None)


def cost(task: Task, known: Sizes) -> Cost:
    """The estimate of one task."""
    match task:
        case Forward():
            return _forward(task, known)
        case Sweep():
            return _sweep(task, known)
        case Search() | EvaluateCircuit():
            from interp_dsl.plan.edges import edges_cost

            return edges_cost(task, known)
        case SearchNodes() | EvaluateNodes():
            return _node_circuits(task, known)
        case Attribute() | AttributeEdges():
            from interp_dsl.plan.slopes import attribution_cost

            return attribution_cost(task, known)
        case Factor():
            from interp_dsl.plan.factors import factor_cost

            return factor_cost(task, known)
        case Fit():
            from interp_dsl.plan.training import fit_cost

            return fit_cost(task, known)
        case EvaluateDictionary():
            from interp_dsl.plan.training import judging_cost

            return judging_cost(task, known)
        case Generate():
            from interp_dsl.plan.growing import generation_cost

            return generation_cost(task, known)
        case Inspect():
            from interp_dsl.plan.reading import reading_cost

            return reading_cost(task, known)
        case InspectWeights():
            from interp_dsl.plan.reading import weights_cost

            return weights_cost(task, known)
        case Relate():
            from interp_dsl.plan.relating import relate_cost

            return relate_cost(task, known)
        case SelfTest():
            return _self_test(task, known)
        case KeepPairs(runs=runs, pairs=pairs):
            kept = [whole(run, _least(run, pairs, known), known, EVERYWHERE) for run in runs]
            return replace(sum(kept, Cost()), is_bound=True)
        case BuildData() if task.spec.get("kind") == "sampled":
            from interp_dsl.plan.sampling import sampling_cost

            return sampling_cost(task, known)
        case Evaluate() | Record() | LoadModel() | BuildData() | LoadDictionary():
            return Cost()


def _node_circuits(task: NodeTask, known: Sizes) -> Cost:
    """A whole pass of all examples for each circuit, at most."""
    data = known.data.get(task.variant.into.data)
    if task.circuits is None or data is None:
        return UNKNOWN
    found = whole(task.variant.into, task.circuits * data.n, known)
    return replace(found, is_bound=True, peak=0)


def whole(
    run: Run,
    rows: int | None,
    known: Sizes,
    read: Reads = EVERYWHERE,
    trims: bool = True,
    batch: int | None = None,
) -> Cost:
    """`rows` of a run from beginning to end, `batch` at once; None for all its examples, and for
    all of them at once."""
    found = known.of(run)
    if found is None:
        return UNKNOWN
    model, data = found
    rows = data.n if rows is None else rows
    read = replace(EVERYWHERE, kept=read.kept) if run.model in known.hooked else read
    work = passes(model, rows, data.width, read, trims=trims)
    largest = min(rows, batch or rows)
    peak = batch_bytes(model, largest, data.width, read)
    return Cost(rows, rows * data.width, work.flops(model), 0, not read.is_known, peak)


def _least(run: Run, rows: int, known: Sizes) -> int:
    data = known.data.get(run.data)
    return min(rows, data.n) if data else rows


def _forward(task: Forward, known: Sizes) -> Cost:
    found = known.of(task.run)
    if found is None:
        return UNKNOWN
    model, data = found
    read = forward_reads(task, known)
    last = [s.kind for s in task.seen if s.layer == model.n_layers - 1]
    if task.stops:
        cost = _stopped(task, model, data)
    else:
        trims = not task.remembers and all(kind == "resid_pre" for kind in last)
        cost = whole(task.run, None, known, read, trims, task.batch)
    kept = sum(site_bytes(s, model, data) for s in task.sites)
    kept += model.number * data.n * model.d_model * len(streams(task.metrics))
    kept += BYTES * data.n * model.d_vocab * len(known.compared.get(task.run, ()))
    return replace(cost, bytes=kept + remembered_bytes(task.remembers, model, data))


def forward_reads(task: Forward, known: Sizes) -> Reads:
    """What a forward's logits are read for."""
    if any(s.kind == "logits" for s in task.sites):
        return EVERYWHERE
    data, ats = known.data.get(task.run.data), known.compared.get(task.run, ())
    read = read_by(task, data, [*ats])
    if not read.ends:
        return read
    return replace(read, kept=(*read.kept, *task.seen), ends=not task.remembers)


def _stopped(task: Forward, model: ModelSize, data: DataSize) -> Cost:
    """A pass that ends at the last site that is kept, and reads nothing."""
    return stopped(task.seen, model, data.n, data.width, task.batch)


def stopped(
    sites: Sequence[Site], model: ModelSize, rows: int, width: int, batch: int | None
) -> Cost:
    """`rows` of `width` tokens up to the last of the sites."""
    layers = [s.layer + (s.kind != "resid_pre") for s in sites if s.layer is not None]
    part = replace(model, n_layers=max(layers, default=0))
    work = passes(part, rows, width, Reads(0), trims=False)
    largest = min(rows, batch or rows)
    peak = batch_bytes(model, largest, width, Reads(0))
    return Cost(rows, rows * width, work.flops(model), 0, peak=peak)


def _self_test(task: SelfTest, known: Sizes) -> Cost:
    """A side plain, once more for its streams, and patched at each of them; the other side for its
    first stream, patched in, and plain, where the sides align."""
    found = known.of(task.clean)
    if found is None:
        return UNKNOWN
    times = 2 + found[0].n_layers + (3 if task.corrupt else 0)
    rows = times * _least(task.clean, task.pairs, known)
    return replace(whole(task.clean, rows, known, Reads(1)), is_bound=task.corrupt is not None)


def _sweep(task: Sweep, known: Sizes) -> Cost:
    units = units_of(task, known)
    if units is None or known.of(task.variants[0].into) is None:
        return UNKNOWN
    if task.edges is not None:
        from interp_dsl.plan.edges import edge_sweep_cost

        return edge_sweep_cost(task, units, known)
    idle = task.skips and not all(map(acts_everywhere, units))
    if starts_late(task, known):
        total = sum((_late(task, v.into, units, known) for v in task.variants), Cost())
    else:
        parts = [_whole(task, v.into, len(units), known) for v in task.variants]
        total = sum(parts, Cost())
    from interp_dsl.plan.slopes import paths_cost

    total = replace(total, is_bound=total.is_bound or idle) + paths_cost(task, known)
    return total + _looked_at(task, units, known)


def _looked_at(task: Sweep, units: tuple[Unit, ...], known: Sizes) -> Cost:
    """Whole passes of the ends of paths whose gates are counted, and of points of planes."""
    total, regions = Cost(), task.curves
    if not isinstance(regions, Regions):
        return total
    points = [unit for unit in units if isinstance(unit, Point)]
    curves = len({(p.targets, p.path) for p in points})
    places = len({p.targets for p in points})
    for variant in task.variants:
        data = known.data[variant.into.data]
        rows = 2 * curves * data.n * (regions.gates != "none")
        rows += places * min(regions.planes, data.n) * (regions.slice**2 + 3 * bool(regions.slice))
        if rows:
            total += whole(variant.into, rows, known, read_by(task, data))
    return total


def _whole(task: Sweep, run: Run, units: int, known: Sizes) -> Cost:
    data, batch = known.data[run.data], None
    if task.packing:
        batch = fitting(task.packing.tokens, task.packing.rows, data.width, 0)
    return whole(run, units * data.n, known, read_by(task, data), batch=batch)


def starts_late(task: Sweep, known: Sizes) -> bool:
    """Whether a sweep's passes start where its units act; by hooks none does."""
    return task.late and not any(v.into.model in known.hooked for v in task.variants)


def _late(task: Sweep, run: Run, units: tuple[Unit, ...], known: Sizes) -> Cost:
    found = known.of(run)
    if found is None:
        return UNKNOWN
    model, data = found
    read = read_by(task, data)
    starts = [start(unit, task.intervention) for unit in units]
    work, rows, tokens, peak = Work(), 0, 0, 0
    for stretch in late_stretches(task, starts, model, data, read):
        if stretch.start.layer >= read.stop(model):
            continue
        width = data.width - stretch.start.position
        work += passes(model, stretch.rows, data.width, read, stretch.start)
        rows += stretch.rows
        tokens += stretch.rows * width
        is_late = bool(stretch.start.position or stretch.start.few)
        joins = joined_bytes(model, stretch.rows, width, data) if is_late else 0
        peak = max(peak, batch_bytes(model, stretch.rows, width, read) + joins)
    bound = not read.is_known or not all(map(acts_everywhere, units))
    return Cost(rows, tokens, work.flops(model), 0, bound, peak)


def late_stretches(
    task: Sweep, starts: Sequence[Start], model: ModelSize, data: DataSize, read: Reads
) -> Iterator[Stretch]:
    """The batches of a late sweep, as far as the text knows them."""
    late = Late(task.trims and model.is_causal, task.narrow, task.adds)
    packing = task.packing or WHOLE
    first_read = None if read.count is None else data.width - 1
    return stretches(starts, data.n, data.width, late, packing, first_read)
