"""Estimates of edges: each method of verbs/estimates.py that has them, and real patches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp_dsl.circuits.attribution import edges as attribution
from interp_dsl.circuits.attribution.examples import Examples
from interp_dsl.circuits.forward import EdgeForward
from interp_dsl.engine.batches import in_batches
from interp_dsl.engine.edges import EdgeBench
from interp_dsl.engine.measured import measured
from interp_dsl.engine.report import Report
from interp_dsl.engine.searches import among_of, places_in
from interp_dsl.engine.state import State
from interp_dsl.models.precision import float32_products
from interp_dsl.plan.memory import SHARE
from interp_dsl.plan.names import edge_name, unit_of
from interp_dsl.plan.places import Unit
from interp_dsl.plan.tasks import AttributeEdges

MASKS = 16
"""Circuits that are measured at once."""

Options = Mapping[str, Any]
Method = Callable[[EdgeForward, Examples, Tensor, Options], Tensor]


def _eap_ig(forward: EdgeForward, examples: Examples, ablated: Tensor, options: Options) -> Tensor:
    along = {"inputs": attribution.eap_ig, "activations": attribution.eap_ig_activations}
    return along[options["at"]](forward, examples, ablated, options["steps"], options["rule"])


METHODS: dict[str, Method] = {
    "eap": lambda forward, examples, ablated, _: attribution.eap(forward, examples, ablated),
    "clean_corrupt": lambda forward, examples, ablated, _: attribution.clean_corrupt(
        forward, examples, ablated
    ),
    "eap_ig": _eap_ig,
}


def edge_estimates(
    task: AttributeEdges, state: State, report: Report
) -> tuple[tuple[Unit, ...], Tensor]:
    """The edges of the graph, or those among them, and the estimated effect of taking each out
    [metrics, edges, n]."""
    bench, options = _bench(task, state, report), dict(task.options)
    among = among_of(task, bench, state)
    found = torch.empty(len(task.metrics), bench.graph.n_edges, bench.n, dtype=torch.float64)

    def work(start: int, stop: int) -> None:
        rows = slice(start, stop)
        numbers = torch.arange(start, stop, device=bench.tokens.device)
        reads = None if bench.reads is None else bench.reads[rows]
        mask = None if bench.mask is None else bench.mask[rows]
        places = None if bench.places is None else bench.places[:, rows]
        with torch.no_grad(), float32_products(bench.executor.tf32):
            ablated = bench.ablated(numbers)
        for m in range(len(task.metrics)):

            def metric(logits: Tensor, m: int = m) -> Tensor:
                return bench.values(logits, numbers)[m]

            examples = Examples(bench.tokens[rows], metric, reads, mask, places)
            scores = METHODS[task.method](bench.forward, examples, ablated, options)
            found[m, :, start:stop] = scores.T.cpu()
        report.progress(stop, bench.n)

    in_batches(bench.n, max(1, bench.rows // SHARE), work, report.note)
    chosen = np.arange(len(found[0])) if among is None else np.flatnonzero(among)
    edges = (bench.graph.edges[number] for number in chosen)
    units = tuple(unit_of(edge_name(*edge[:3]), edge.position) for edge in edges)
    return units, found[:, torch.from_numpy(chosen)]


def edge_patches(
    task: AttributeEdges, units: Sequence[Unit], state: State, report: Report
) -> Tensor:
    """The effect of taking each edge out of the whole graph, by the patched forward [metrics,
    units]."""
    bench = _bench(task, state, report)
    numbers = {str(edge): i for i, edge in enumerate(bench.graph.edges)}
    kept = [np.ones(bench.graph.n_edges, dtype=bool) for _ in units]
    for mask, unit in zip(kept, units, strict=True):
        mask[numbers[str(unit)]] = False
    effects = []
    with float32_products(bench.executor.tf32):
        for first in range(0, len(kept), MASKS):
            found = measured(bench, kept[first : first + MASKS])
            effects.append((found.circuits - found.full).mean(2))
    return torch.cat(effects).T


def _bench(task: AttributeEdges, state: State, report: Report) -> EdgeBench:
    run, metrics = task.variant.into, task.metrics
    about = (run, task.source, task.edges, False, metrics, state, report.note, task.along)
    return EdgeBench(*about, places_in(task, state), task.reads_answers)
