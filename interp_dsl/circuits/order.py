"""The order in which a search tests edges. No torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from interp_dsl.circuits.rules import ORDERS
from interp_dsl.models.graph import Graph, Group, Ints

APART = 256
"""Edges between two marks at which a search can be taken up: each costs about a pass."""


def stage_of(graph: Graph, group: Group) -> int:
    """Stages in execution order: a layer's heads, its MLP, the final residual at last."""
    layer = graph.shape.n_layers if group.layer is None else group.layer
    return 2 * layer + (group.channel == "mlp")


def stages(graph: Graph) -> Ints:
    """The stage of each edge's receiver [E]."""
    by_receiver = np.array([stage_of(graph, group) for group in graph.group_of])
    found: Ints = by_receiver[graph.receiver_of]
    return found


def marks(graph: Graph, order: Ints) -> list[int]:
    """Where a search in this order can be taken up, as numbers of edges judged, ascending: at its
    beginning; before a receiver of another stage, or one at least `APART` edges after the last
    mark; and at its end."""
    stage, found = stages(graph)[order], [0]
    for first in np.flatnonzero(np.diff(graph.receiver_of[order])) + 1:
        if stage[first] != stage[first - 1] or first - found[-1] >= APART:
            found.append(int(first))
    return [*found, len(order)]


def edge_order(graph: Graph, order: str | Sequence[int]) -> Ints:
    """Numbers of edges in the order of their tests, always from the last stage to the first.

    reverse  the original ACDC's: of a layer's heads first all direct edges, then the edges, by
             channel v, k, q; receivers and senders from the last head to the first; senders from
             the last layer to the first, the embeddings at last; in a graph by position the places
             of each from the last to the first
    forward  inside a stage as the edges are numbered, the places of each in turn
    a list   every edge once. Raises ValueError where a stage comes after an earlier one"""
    if isinstance(order, str):
        if order not in ORDERS:
            raise ValueError(f"an order is one of {', '.join(ORDERS)} or a list, not {order!r}")
        place, number = graph.place_of, np.arange(graph.n_edges)
        keys = (
            (-place, _reverse_key(graph))
            if order == "reverse"
            else (
                place,
                number - place * graph.n_additive,
            )
        )
        return np.lexsort((*keys, -stages(graph)))
    found = np.array(order, dtype=np.int64)
    if sorted(found) != list(range(graph.n_edges)):
        raise ValueError(f"an order lists each of the {graph.n_edges} edges once")
    if (np.diff(stages(graph)[found]) > 0).any():
        raise ValueError("an order goes from the logits down: a stage comes after an earlier one")
    return found


def _reverse_key(graph: Graph) -> Ints:
    """Receivers from the last to the first; the senders of each likewise, embeddings last and in
    their own order; direct edges before all others."""
    n_embeds, sender = len(graph.embeds), graph.sender_of
    rank = np.where(sender < n_embeds, len(graph.senders) + sender, len(graph.senders) - sender)
    key = (graph.n_receivers - graph.receiver_of) * 3 * len(graph.senders) + rank
    key[graph.n_edges - len(graph.direct_receivers) :] -= (
        3 * len(graph.senders) * (graph.n_receivers + 1)
    )
    found: Ints = key
    return found
