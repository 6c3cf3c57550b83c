"""Settings of models built by hand and of the bundled ones."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
import torch
from torch import Tensor

from interp_dsl.circuits.clean import Metric
from interp_dsl.circuits.forward import EdgeForward
from interp_dsl.circuits.setting import Setting
from interp_dsl.data.tasks import TaskData, task
from interp_dsl.models.graph import Bools, Graph
from interp_dsl.models.load import load
from tests.circuits.built import additive, gate


def squared(
    forward: EdgeForward, tokens: Tensor, corrupt: Tensor, reads: Tensor | None = None
) -> Setting:
    """By squared distance from the model's logits, under resampling from the corrupt side."""
    logits = forward.run(forward.embedded(tokens), reads=reads).logits

    def metric(found: Tensor) -> Tensor:
        return (found - logits).square().sum((-1, -2))

    return Setting(forward, tokens, forward.outputs(corrupt), metric, reads)


def gated(kind: str, **options: bool) -> Setting:
    true, false = torch.ones(1, 1, dtype=torch.long), torch.zeros(1, 1, dtype=torch.long)
    return squared(gate(kind, **options), true, false)


def added(sizes: list[float]) -> Setting:
    """Head h is worth sizes[h]², alone and in company."""
    tokens = torch.ones(2, 3, dtype=torch.long)
    reads = torch.full((2, 1), 2)
    return squared(additive(sizes), tokens, torch.zeros_like(tokens), reads)


def every_circuit(n_edges: int) -> Bools:
    """All circuits of few edges: [2^E, E]."""
    assert n_edges <= 12
    return np.array(list(product([False, True], repeat=n_edges)))


def named(graph: Graph, kept: Bools) -> set[str]:
    return {str(edge) for edge, is_kept in zip(graph.edges, kept, strict=True) if is_kept}


def circuit(graph: Graph, *edges: str) -> Bools:
    """The circuit [E] of edges by their names."""
    kept = np.array([str(edge) in edges for edge in graph.edges])
    assert kept.sum() == len(edges)
    return kept


@cache
def bundled(name: str, metric: str, n: int, split: str, seed: int = 0) -> Setting:
    """A bundled model on pairs of its own task: `kl` from the model, or the negative logit
    difference."""
    model = load({"kind": "bundled", "name": name}, "cpu", executor="compiled").model
    forward = EdgeForward(model, Graph(model.description.shape))
    data = task(name, n, seed, split)
    assert data.corrupt is not None
    tokens, corrupt = torch.from_numpy(data.clean), torch.from_numpy(data.corrupt)
    reads = torch.from_numpy(data.position)[:, None]
    with torch.no_grad():
        ablated = forward.outputs(corrupt)
        logits = forward.run(forward.embedded(tokens), reads=reads).logits
    metrics = {"kl": divergence(logits), "logit_diff": difference(data)}
    return Setting(forward, tokens, ablated, metrics[metric], reads)


def divergence(reference: Tensor) -> Metric:
    logs = reference.log_softmax(-1)
    return lambda found: (logs.exp() * (logs - found.log_softmax(-1))).sum(-1).mean(-1)


def difference(data: TaskData) -> Metric:
    rows = torch.arange(len(data.answer))
    answer, wrong = torch.from_numpy(data.answer), torch.from_numpy(data.wrong)
    return lambda found: found[..., rows, 0, wrong] - found[..., rows, 0, answer]
