"""Edges by position: a graph's places in prompts, and what lies at them.

`at` [P, B, T] marks the tokens of each place in each prompt. Every token is of one place."""

from __future__ import annotations

import torch
from torch import Tensor

from interp_dsl.circuits.prompts import Prompts
from interp_dsl.models.graph import Bools, Graph


def spread(kept: Tensor, at: Tensor) -> Tensor:
    """Circuits [P·E] or [B, P·E] of a graph by position, token by token [B, E, T], as the
    edge-patched forward takes them. Gradients flow to `kept`."""
    rows = kept.view(-1, len(at), kept.shape[-1] // len(at))
    rows = rows.float() if rows.dtype == torch.bool else rows
    held = at.to(rows.dtype)
    return torch.einsum("bpe,pbt->bet", rows.expand(at.shape[1], -1, -1), held)


def carried(edges: Bools, sent: Tensor, at: Tensor) -> Tensor:
    """What n receivers get over `edges` [P, n, s] of `sent` [s, K, B, t, D] with `at` [P, B, t]:
    [n, K, B, t, D]."""
    marks = torch.from_numpy(edges).to(sent)
    weights = torch.einsum("pns,pbt->nsbt", marks, at.to(sent.dtype))
    found: Tensor = torch.einsum("nsbt,skbtd->nkbtd", weights, sent)
    return found


def live(
    graph: Graph, kept: Bools, at: Tensor, prompts: Prompts, windows: list[int | None]
) -> Bools:
    """From which places of receivers [R, P] kept edges lead to the logits that are read, token by
    token: an MLP and queries serve the token where they read, keys and values those that see it.
    `windows`: of each layer's attention."""
    device, (n_prompts, length) = at.device, at.shape[1:]
    found = torch.zeros(len(graph.senders), n_prompts, length, device=device)
    lives = torch.zeros(graph.n_receivers, len(at), dtype=torch.bool, device=device)
    places = at.float()
    by_place = torch.from_numpy(graph.by_place(kept)).float().to(device)
    for group in reversed(graph.groups):
        if group.layer is None:
            needed = _read(prompts, at)
        else:
            nodes = graph.nodes(group)
            if graph.joined and group.channel != "mlp":
                found[nodes] = found[nodes].amax(0)
            needed = found[nodes]
            if group.channel not in ("q", "mlp"):
                seen = _seeing(needed, prompts, windows[group.layer])
                needed = torch.maximum(needed, seen) if group.channel == "attn" else seen
        lives[group.receivers] = torch.einsum("mbt,pbt->mp", needed, places) > 0
        edges = by_place[:, group.edges].view(-1, group.members, group.senders)
        for edge, place in zip(edges, places, strict=True):
            found[: group.senders] += torch.einsum("ms,mbt->sbt", edge, needed * place)
        found.clamp_(max=1)
    marked: Bools = lives.cpu().numpy()
    return marked


def _read(prompts: Prompts, at: Tensor) -> Tensor:
    """The tokens whose logits are read [1, B, T]."""
    if prompts.reads is None:
        return torch.ones(1, *at.shape[1:], device=at.device)
    found = torch.zeros(at.shape[1:], device=at.device)
    return found.scatter(1, prompts.reads, 1.0)[None]


def _seeing(needed: Tensor, prompts: Prompts, window: int | None) -> Tensor:
    """The tokens that are seen from those needed [m, B, T]."""
    seen = prompts.seen(window, narrow=False)
    if seen is None:
        return needed.amax(-1, keepdim=True).expand_as(needed)
    return (torch.einsum("mbq,bqk->mbk", needed, _each(seen, needed)) > 0).float()


def _each(seen: Tensor, needed: Tensor) -> Tensor:
    """Who sees whom [B, T, T] in each prompt."""
    return seen[:, 0].float().expand(needed.shape[1], -1, -1)
