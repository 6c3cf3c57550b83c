"""Subnetwork probing (Cao et al. 2021, arXiv 2104.03514), as Conmy et al. 2023 set it against ACDC:
which nodes a metric needs, learned as masks, without a probe.

    minimise over logits m:  E[F(z)] + λ · mean σ(m - β log(-γ / ζ)),  z ~ hard concrete of m

A mask for the query, key and value of each head, or for the head where they are not apart, and one
for each MLP: it mixes the node's activation in the circuit (1) with the ablated one (0). A node's
input stands for it, except for an MLP, whose output does; a head's output goes when all of its
inputs have, 1 - Π (1 - z), which is its ablated value then. So a mask of zeros and ones is a
circuit of edges: all those between nodes that are kept."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from interp_dsl.circuits import concrete
from interp_dsl.circuits.found import Found
from interp_dsl.circuits.learning import Learning
from interp_dsl.circuits.progress import Progress, Snapshot
from interp_dsl.circuits.ranked import refuse_direct
from interp_dsl.circuits.setting import Floats, Setting
from interp_dsl.models.graph import Graph
from interp_dsl.models.paths import on_path


@dataclass(frozen=True)
class Probed(Found):
    """`nodes` [receivers - 1] holds the probability that the mask of each is not 0, by the number
    of its receiver; an edge's score is the product of its ends'."""

    nodes: Floats


def probe(
    setting: Setting,
    strength: float,
    steps: int = 400,
    lr: float = 0.05,
    mask: float = 0.9,
    seed: int = 0,
    snapshot: Snapshot | None = None,
) -> Generator[Progress, None, Probed]:
    """The nodes whose masks end above 1/2, and all edges between them. `strength` is λ. Adam of a
    constant rate, from masks of `mask`; a step is one pass over all examples, each with a draw of
    its own."""
    graph = setting.graph
    refuse_direct(graph)
    logits = concrete.logits(graph.n_receivers - 1, mask, setting.tokens.device)
    learning = Learning(torch.optim.Adam([logits], lr=lr), seed, snapshot)
    while learning.step < steps:
        masks = concrete.sampled(logits, len(setting.tokens), learning.generator)
        value = setting.soft(edge_masks(graph, masks))
        loss = value + strength * concrete.log_alive(logits).exp().mean()
        learning.descend(loss)
        n_kept = int((edge_masks(graph, concrete.settled(logits)) > 0.5).sum())
        yield learning.progress(steps, n_kept, value)
    with torch.no_grad():
        nodes = concrete.settled(logits.double()) > 0.5
        alive = concrete.log_alive(logits.double()).exp()
        kept = on_path(graph, edge_masks(graph, nodes.double()).bool().cpu().numpy())
        scores = edge_masks(graph, alive).cpu().numpy()
    return Probed(kept, scores, float(setting.means(kept)), alive.cpu().numpy())


def edge_masks(graph: Graph, masks: Tensor) -> Tensor:
    """Edges [..., E] from masks [..., receivers - 1] of all receivers but the final residual."""
    one = torch.ones_like(masks[..., :1])
    nodes = graph.node_of[:-1]
    inputs = [np.flatnonzero(nodes == node) for node in range(len(graph.embeds), nodes.max() + 1)]
    gone = torch.stack([(1 - masks[..., mine]).prod(-1) for mine in inputs], -1)
    senders = torch.cat([one.expand(*one.shape[:-1], len(graph.embeds)), 1 - gone], -1)
    is_mlp = torch.tensor([channel == "mlp" for _, channel in graph.receivers[:-1]])
    receivers = torch.cat([torch.where(is_mlp.to(masks.device), one, masks), one], -1)
    sender_of, receiver_of = (
        torch.from_numpy(x).to(masks.device) for x in (graph.sender_of, graph.receiver_of)
    )
    return senders[..., sender_of] * receivers[..., receiver_of]
