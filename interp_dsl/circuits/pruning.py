"""Edge pruning (Bhaskar et al. 2024, arXiv 2406.16778): which n edges a metric needs, learned as
masks under a constraint on how many there are.

    min over masks m, max over λ:  E[F(z_w z_e)] + λ1 (t - s) + λ2 (t - s)²

z_e is a hard-concrete mask of an edge, z_w one of the node that writes it, 1 for embeddings; s is
the expected share of edges gone, 1 - mean P(z_w > 0) P(z_e > 0), and t what it should be: it rises
from 0 to 1 - n / E while masks warm up. F is the metric's mean over examples. The paper constrains
nodes apart as well; here their masks count in the one constraint."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import torch
from torch import Tensor

from interp_dsl.circuits import concrete
from interp_dsl.circuits.found import Found
from interp_dsl.circuits.learning import Learning
from interp_dsl.circuits.progress import Progress, Snapshot
from interp_dsl.circuits.ranked import first_edges, ranking, refuse_direct
from interp_dsl.circuits.setting import Setting
from interp_dsl.models.graph import Bools, Graph


def prune_edges(
    setting: Setting,
    n: int,
    steps: int = 600,
    lr: float = 0.1,
    multiplier_lr: float = 1.0,
    warmup: float = 0.7,
    mask: float = 0.9,
    seed: int = 0,
    among: Bools | None = None,
    snapshot: Snapshot | None = None,
) -> Generator[Progress, None, Found]:
    """A circuit of at most n edges: those most likely to be there, log P(z_w > 0) + log P(z_e > 0),
    which are the scores. Adam of a constant rate each for masks, which begin as `mask`, and for
    multipliers, which must outgrow what F loses. The constraint is whole after the share `warmup`
    of the steps; a step is one pass over all examples, each with a draw of its own. Of `among` [E]
    only these edges have masks and are counted; all others are there."""
    graph = setting.graph
    refuse_direct(graph)
    device = setting.tokens.device
    stays = setting.empty if among is None else ~among
    fixed = torch.from_numpy(stays).to(device)
    searched = ~fixed
    edges = concrete.logits(graph.n_edges, mask, device)
    writers = concrete.logits(len(graph.senders) - len(graph.embeds), mask, device)
    multipliers = torch.zeros(2, device=device, requires_grad=True)
    groups: list[dict[str, Any]] = [
        {"params": [edges, writers], "lr": lr},
        {"params": [multipliers], "lr": multiplier_lr, "maximize": True},
    ]
    learning = Learning(torch.optim.Adam(groups), seed, snapshot)
    while learning.step < steps:
        draws = [
            concrete.sampled(x, len(setting.tokens), learning.generator) for x in (edges, writers)
        ]
        masks = draws[0] * _of_edges(graph, draws[1], 1.0)
        value = setting.soft(torch.where(fixed, 1.0, masks))
        alive = concrete.log_alive(edges) + _of_edges(graph, concrete.log_alive(writers), 0.0)
        share = 1 - n / max(1, int(searched.sum()))
        target = share * min(1.0, (learning.step + 1) / max(1.0, warmup * steps))
        short = target - (1 - alive[searched].exp().mean())
        loss = value + multipliers[0] * short + multipliers[1] * short.square()
        learning.descend(loss)
        settled = concrete.settled(edges) * _of_edges(graph, concrete.settled(writers), 1.0)
        n_kept = int(((settled > 0.5) | fixed).sum())
        yield learning.progress(steps, n_kept, value)
    with torch.no_grad():
        edges, writers = edges.double(), writers.double()
        alive = concrete.log_alive(edges) + _of_edges(graph, concrete.log_alive(writers), 0.0)
    scores = alive.cpu().numpy()
    order = ranking(scores)
    kept = first_edges(graph, order[~stays[order]], n, stays)
    return Found(kept, scores, float(setting.means(kept)))


def _of_edges(graph: Graph, writers: Tensor, embeds: float) -> Tensor:
    """What belongs to the writer of each edge [..., E], from writers [..., S] but for embeddings,
    whose own is given."""
    given = torch.full_like(writers[..., :1], embeds).expand(*writers.shape[:-1], len(graph.embeds))
    sender_of = torch.from_numpy(graph.sender_of).to(writers.device)
    return torch.cat([given, writers], -1)[..., sender_of]
