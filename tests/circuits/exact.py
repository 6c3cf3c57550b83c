"""What the fast search and the plain sequential one are both run on, and their comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from interp_dsl.circuits.acdc import Circuit, discover
from interp_dsl.circuits.clean import Clean, Metric
from interp_dsl.circuits.forward import EdgeForward
from interp_dsl.circuits.rules import Rules
from interp_dsl.models.graph import Edge, Graph
from tests.circuits.models import double
from tests.circuits.sequential import Judged, sequential

BATCH, LENGTH = 4, 6
LAST = torch.full((BATCH, 1), LENGTH - 1)
SOME = torch.tensor([[5, 2], [4, 1], [3, 3], [0, 5]])


@dataclass
class Setting:
    forward: EdgeForward
    tokens: Tensor
    ablated: Tensor
    metric: Metric
    reads: Tensor | None
    mask: Tensor | None = None

    def clean(self) -> Clean:
        return Clean(self.forward, self.tokens, self.ablated, self.metric, self.reads, self.mask)

    def fast(self, thresholds: Any, rules: Rules) -> list[Circuit]:
        return discover(self.clean(), thresholds, rules)

    def plain(self, threshold: float, order: list[Edge], **rules: Any) -> dict[Edge, Judged]:
        return sequential(
            self.forward,
            self.tokens,
            self.ablated,
            self.metric,
            threshold,
            order,
            self.reads,
            self.mask,
            **rules,
        )


def setting(
    name: str, ablation: str = "resample", reads: Tensor | None = LAST, **options: bool
) -> Setting:
    model = double(name)
    forward = EdgeForward(model, Graph(model.description.shape, **options))
    return prepared(forward, ablation, reads)


def prepared(forward: EdgeForward, ablation: str, reads: Tensor | None) -> Setting:
    generator = torch.Generator().manual_seed(3)
    size = (2, BATCH, LENGTH)
    vocabulary = forward.graph.shape.d_vocab
    tokens, corrupt = torch.randint(0, vocabulary, size, generator=generator)
    with torch.no_grad():
        ablated = forward.outputs(corrupt)
        logits = forward.run(forward.embedded(tokens), reads=reads).logits
    if ablation == "zero":
        ablated = torch.zeros(len(ablated), 1, 1, 1, dtype=ablated.dtype)
    elif ablation == "mean":
        ablated = ablated.mean(1, keepdim=True)
    return Setting(forward, tokens, ablated, divergence(logits), reads)


def divergence(reference: Tensor) -> Metric:
    """KL of the model from the circuit, mean over the positions read."""
    logs = reference.log_softmax(-1)

    def metric(logits: Tensor) -> Tensor:
        return (logs.exp() * (logs - logits.log_softmax(-1))).sum(-1).mean(-1)

    return metric


def same(
    case: Setting,
    circuit: Circuit,
    judged: dict[Edge, Judged],
    order: list[Edge],
    tolerance: float = 1e-9,
    absolute: bool = False,
) -> None:
    """Scores to the tolerance; decisions wherever it leaves no choice, which is everywhere."""
    assert len(judged) == len(order) == case.forward.graph.n_edges
    for rank, edge in enumerate(order):
        number, plain = case.forward.graph.index[edge], judged[edge]
        size = abs(plain.effect) if absolute else plain.effect
        margin = size - circuit.threshold
        assert not plain.evaluated or abs(margin) > tolerance
        assert circuit.order[number] == rank
        assert circuit.evaluated[number] == plain.evaluated
        assert circuit.kept[number] == plain.kept
        assert abs(circuit.effect[number] - plain.effect) < tolerance
        assert abs(circuit.score[number] - plain.score) < tolerance
        assert abs(circuit.margin[number] - margin) < tolerance
    logits = case.forward.logits(
        case.tokens, torch.from_numpy(circuit.kept), case.ablated, case.reads, case.mask
    )
    assert abs(circuit.final - float(case.metric(logits).mean())) < tolerance


def spread(judged: dict[Edge, Judged]) -> None:
    """The case tests something: edges of both kinds."""
    kept = sum(one.kept for one in judged.values())
    assert 0.04 * len(judged) < kept < 0.96 * len(judged)
