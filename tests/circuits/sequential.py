"""ACDC as published, an edge at a time: one whole edge-patched pass for each. Order and dead
receivers by names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from interp_dsl.circuits.forward import EdgeForward
from interp_dsl.models.graph import Edge, Graph


class Judged(NamedTuple):
    effect: float
    score: float
    evaluated: bool
    kept: bool


def published_order(graph: Graph) -> list[Edge]:
    """The final residual, then from the last layer its MLP and its heads; of these the direct edges
    first; channels v, k, q; heads and senders from the last to the first, embeddings at last."""
    writers = [name for name in reversed(graph.senders) if "embed" not in name]
    senders = [*writers, *(name for name in graph.senders if "embed" in name)]
    receivers = [("logits", "logits")]
    for layer in reversed(range(graph.shape.n_layers)):
        heads = [f"L{layer}H{head}" for head in reversed(range(graph.shape.n_heads))]
        channels = "vkq" if graph.split_qkv else ["attn"]
        mine = [(head, channel) for channel in channels for head in heads]
        receivers.append((f"L{layer}.mlp", "mlp"))
        receivers += [(f"direct {head}", channel) for head, channel in mine]
        receivers += mine
    edges = []
    for target, channel in receivers:
        if target.startswith("direct "):
            head = target.removeprefix("direct ")
            edges.append(Edge(head, head, channel))
        else:
            edges += [Edge(sender, target, channel) for sender in senders if sender != target]
    return [edge for edge in edges if edge in graph.index]


def sequential(
    forward: EdgeForward,
    tokens: Tensor,
    ablated: Tensor,
    metric: Callable[[Tensor], Tensor],
    threshold: float,
    order: Sequence[Edge],
    reads: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    drop_dead: bool = True,
    absolute: bool = False,
    start: str = "measured",
) -> dict[Edge, Judged]:
    kept = {edge: True for edge in forward.graph.edges}

    def measured() -> float:
        flags = torch.tensor([kept[edge] for edge in forward.graph.edges])
        with torch.no_grad():
            logits = forward.logits(tokens, flags, ablated, reads, mask)
            return float(metric(logits).double().mean())

    score = measured() if start == "measured" else 0.0
    found = {}
    for edge in order:
        if drop_dead and not leads_to_logits(edge, kept, forward.graph):
            kept[edge] = False
            found[edge] = Judged(0.0, score, False, False)
            continue
        kept[edge] = False
        new = measured()
        effect = new - score
        if (abs(effect) if absolute else effect) < threshold:
            score = new
        else:
            kept[edge] = True
        found[edge] = Judged(effect, score, True, kept[edge])
    return found


def leads_to_logits(edge: Edge, kept: dict[Edge, bool], graph: Graph) -> bool:
    """Does what an edge enters reach the logits over kept edges?"""
    if edge.target == "logits":
        return True
    direct = Edge(edge.target, edge.target, edge.channel)
    if edge != direct and not kept.get(direct, True):
        return False
    nodes = [edge.target]
    if graph.shape.post_norms and "H" in edge.target:
        stem = edge.target.split("H")[0] + "H"
        nodes = [name for name in graph.senders if name.startswith(stem)]
    return any(
        leads_to_logits(onward, kept, graph)
        for onward, is_kept in kept.items()
        if is_kept and onward.source in nodes and onward.source != onward.target
    )
