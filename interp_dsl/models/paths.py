"""Which parts of a graph still matter when only some edges are kept. Boolean arrays, no torch.

`kept` is [..., E], leading axes are circuits. In a graph by position a path may change places
wherever it likes: attention carries it on, and where places lie is for the prompts to say."""

from __future__ import annotations

import numpy as np

from interp_dsl.models.graph import Bools, Graph, Group


def reached(graph: Graph, kept: Bools) -> Bools:
    """Senders [..., S] to which kept edges lead from an embedding."""
    present = graph.present(kept)
    found = np.zeros((*present.shape[:-1], len(graph.senders)), dtype=bool)
    found[..., : len(graph.embeds)] = True
    for group in graph.groups[:-1]:
        edges = group.matrix(present) & found[..., None, : group.senders]
        found[..., graph.nodes(group)] |= edges.any(-1)
        join(graph, group, found)
    return found


def reaching(graph: Graph, kept: Bools) -> Bools:
    """Senders [..., S] from which kept edges lead to the logits. Where the heads of a layer share a
    norm, each reaches what one of them reaches: its output changes what the norm makes of theirs.
    An edge into any other node changes nothing at the logits."""
    present = graph.present(kept)
    found = np.zeros((*present.shape[:-1], len(graph.senders)), dtype=bool)
    for group in reversed(graph.groups):
        edges = group.matrix(present)
        if group.layer is not None:
            join(graph, group, found)
            edges = edges & found[..., graph.nodes(group), None]
        found[..., : group.senders] |= edges.any(-2)
    return found


def on_path(graph: Graph, kept: Bools) -> Bools:
    """The kept edges [..., E] that lie on a path of kept edges from an embedding to the logits; a
    direct edge does when one does that it stands behind."""
    sources, targets = reached(graph, kept), reaching(graph, kept)
    present = graph.present(kept).copy()
    for group in graph.groups:
        edges = group.matrix(present)
        edges &= sources[..., None, : group.senders]
        if group.layer is not None:
            edges &= targets[..., graph.nodes(group), None]
        present[..., group.edges] = edges.reshape(*edges.shape[:-2], -1)
    if graph.places:
        found: Bools = graph.by_place(kept) & present[..., None, :]
        return found.reshape(kept.shape)
    used = np.zeros((*present.shape[:-1], graph.n_receivers), dtype=bool)
    for group in graph.groups:
        used[..., group.receivers] = group.matrix(present).any(-1)
    return np.concatenate([present, used[..., list(graph.direct_receivers)]], -1)


def join(graph: Graph, group: Group, found: Bools) -> None:
    """Where heads share a norm, let all heads of a layer be found [..., S] when one is."""
    if graph.joined and group.channel != "mlp":
        nodes = graph.nodes(group)
        found[..., nodes] = found[..., nodes].any(-1, keepdims=True)
