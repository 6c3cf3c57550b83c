"""The residual stream as a chain, and what factoring it costs.

A chain of a model of L layers has 2 L + 1 links: attention and MLP of each layer, and the
unembedding. The stream lies between them: depth 2 l before the attention of layer l, 2 l + 1 before
its MLP, 2 L before the unembedding, 2 L + 1 the logits."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from interp_dsl.plan.cost import UNKNOWN, Cost
from interp_dsl.plan.places import Site
from interp_dsl.plan.sizes import Sizes
from interp_dsl.plan.tasks import DataSize, Factor, ModelSize
from interp_dsl.plan.work import Work, reads

BASES = 3
HELD = 2**24
"""Entries of Jacobians that are held at once (geometry.interaction_basis.NUMBERS)."""
WITH_SLOPE = 3
FLOAT64 = 8


def depth(site: Site, n_layers: int) -> int:
    """Where in the chain a place of the stream lies."""
    if site.kind == "logits":
        return 2 * n_layers + 1
    assert site.layer is not None
    return 2 * site.layer + {"resid_pre": 0, "resid_mid": 1, "resid_post": 2}[site.kind]


def is_wide(at: int, n_layers: int, everywhere: bool = False) -> bool:
    """Whether all positions of the stream matter at a depth: behind the last attention only those
    do that are read, which may be `everywhere`."""
    return at <= 2 * (n_layers - 1 + everywhere)


def factor_cost(task: Factor, known: Sizes) -> Cost:
    """At most, of the matrix products: slopes of every direction of each layer's output twice, and
    the ablations of three bases."""
    found = known.of(task.into)
    if found is None:
        return UNKNOWN
    model, data = found
    everywhere = reads(task.metrics).count is None
    stages = list(_stages(task, model, data, everywhere))
    options = dict(task.options)
    examples = options.get("examples", 0)
    steps = options.get("steps", 0)
    assert isinstance(examples, int) and isinstance(steps, int)
    hessian = options.get("hessian", 0)
    assert isinstance(hessian, int)
    flops, passes = 0.0, data.n
    for forward, width, below, _ in stages:
        flops += data.n * forward * (1 + 2 * width * (1 + max(1, steps)))
        if examples:
            rest = sum(each for each, *_ in stages)
            searched = (below * width).bit_length() * min(width, below) * min(examples, data.n)
            flops += BASES * (searched * forward + _counts(below) * data.n * rest)
            passes += BASES * (searched + _counts(below) * data.n)
    held = FLOAT64 * data.n * sum(numbers for *_, numbers in stages)
    outputs = min(hessian, data.n) * (stages[0][1] if stages else 0)
    flops += 2 * len(stages) * outputs**2 * (model.d_model + model.d_mlp)
    peak = FLOAT64 * max(HELD * WITH_SLOPE, 2 * outputs**2)
    return Cost(passes, passes * data.width, flops, held, True, peak)


def factor_plain(task: Factor, known: Sizes) -> Cost:
    """The same without a chain: every slope and ablation by a pass of the whole model."""
    found, ours = known.of(task.into), factor_cost(task, known)
    if found is None or ours.passes is None:
        return UNKNOWN
    model, data = found
    everywhere = reads(task.metrics).count is None
    links = range(2 * model.n_layers + 1)
    whole = sum((_link(at, model, data.width, everywhere) for at in links), Work())
    stages = _stages(task, model, data, everywhere)
    slopes = sum(2 * 2 * width for _, width, *_ in stages) * data.n
    rows = ours.passes + slopes
    return Cost(rows, rows * data.width, rows * whole.flops(model), 0, True)


Stage = tuple[float, int, int, int]
"""FLOPs of an example, the directions of its output, those below, numbers held of an example."""


def _stages(task: Factor, model: ModelSize, data: DataSize, everywhere: bool) -> Iterator[Stage]:
    last = model.n_layers
    if task.method == "degeneracy":
        for target in task.targets:
            assert target.site.layer is not None
            at = 2 * target.site.layer + 1
            links = range(at, 2 * last + 1)
            work = sum((_link(k, model, data.width, everywhere) for k in links), Work())
            yield work.flops(model), model.d_vocab, model.d_mlp, data.width * model.d_mlp
        return
    sources = dict(task.options).get("sources", 0)
    assert isinstance(sources, int)
    for below, above in pairwise(depth(t.site, last) for t in task.targets):
        links = range(below, above)
        work = sum((_link(k, model, data.width, everywhere) for k in links), Work())
        width = model.d_vocab if above > 2 * last else model.d_model
        outputs = width * (sources or _positions(above, model, data.width, everywhere))
        numbers = model.d_model * _positions(below, model, data.width, everywhere)
        yield work.flops(model), outputs, model.d_model, numbers


def _link(at: int, model: ModelSize, width: int, everywhere: bool) -> Work:
    """One example through a link of the chain."""
    positions = _positions(at, model, width, everywhere)
    if at == 2 * model.n_layers:
        return Work(unembed=positions * model.d_vocab)
    if at % 2:
        return Work(mlp=positions if model.d_mlp else 0)
    return Work(width, width, positions, 0, pairs=positions * width)


def _positions(at: int, model: ModelSize, width: int, everywhere: bool) -> int:
    """Of an example, at a depth."""
    if at > 2 * model.n_layers:
        return width if everywhere else 1
    return width if is_wide(at, model.n_layers, everywhere) else 1


def _counts(width: int) -> int:
    """How many numbers of directions are kept, one after another (geometry.ablation.counts)."""
    count, at = min(width, 10), 10.0
    while at < width:
        at, count = at * 1.05, count + 1
    return count
