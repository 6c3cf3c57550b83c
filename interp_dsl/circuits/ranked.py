"""Circuits from edges' scores alone: the best edges, or the best that hang together.

Two orders in which edges join a circuit: by score, and grown from the logits (Hanna et al. 2024,
arXiv 2403.17806, section 3: like Dijkstra's search, always the best edge into what has been
reached). Either way, what lies on no path from an embedding to the logits is left out, and the size
asked for is that of what is left. No torch."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import ArrayLike, NDArray

from interp_dsl.models.graph import Bools, Graph, Ints
from interp_dsl.models.paths import on_path

Floats = NDArray[np.float64]


def top_edges(
    graph: Graph,
    scores: ArrayLike,
    n: int | None = None,
    threshold: float | None = None,
    absolute: bool = True,
    grown: bool = False,
    among: Bools | None = None,
) -> Bools:
    """The circuit [E] of the best edges by scores [E]: at most `n` of them, as many as the order
    gives without exceeding it; or those of at least `threshold`. `absolute`: by |score|; else
    the highest, and negative ones only when n asks for them. `grown`: in the order of `growth`;
    with a threshold the same edges are left either way. Of `among` [E] only these edges are chosen
    from and counted; all others are there. Raises ValueError unless there is one of n and
    threshold."""
    strength = strengths(graph, scores, absolute)
    stays = np.zeros(graph.n_edges, dtype=bool) if among is None else ~among
    if n is not None and threshold is None:
        return first_edges(graph, joining(graph, strength, grown, among), n, stays)
    if n is not None or threshold is None:
        raise ValueError("the best edges are given by their number or by a threshold")
    found: Bools = on_path(graph, (strength >= threshold) | stays) | stays
    return found


def strengths(graph: Graph, scores: ArrayLike, absolute: bool = True) -> Floats:
    """What edges are ranked by, [E]. Raises ValueError for scores that are not one number an edge,
    and for a graph with direct edges."""
    refuse_direct(graph)
    found = np.asarray(scores, float)
    if found.shape != (graph.n_edges,):
        raise ValueError(f"scores of shape {found.shape} for {graph.n_edges} edges")
    if np.isnan(found).any():
        raise ValueError("a score is not a number")
    return np.abs(found) if absolute else found


def refuse_direct(graph: Graph) -> None:
    """Raises ValueError for a graph with direct edges, which belong to ACDC's search."""
    if graph.direct:
        raise ValueError("direct edges are for ACDC; here a graph has none")


def joining(graph: Graph, strength: Floats, grown: bool, among: Bools | None = None) -> Ints:
    """The order in which edges join a circuit, those of `among` [E] alone: all others are there
    before them."""
    if among is not None:
        strength = np.where(among, strength, np.inf)
    order = growth(graph, strength) if grown else ranking(strength)
    return order if among is None else order[among[order]]


def ranking(strength: Floats) -> Ints:
    """Edges from the strongest to the weakest, equal ones as they are numbered."""
    return np.argsort(-strength, kind="stable")


def growth(graph: Graph, strength: Floats) -> Ints:
    """Edges in the order in which a circuit grows from the logits: always the strongest whose
    target has been reached, which its source then is. Where the heads of a layer share a norm,
    one reaches all."""
    into: dict[int, list[int]] = {}
    for edge, target in enumerate(graph.node_of[graph.receiver_of].tolist()):
        into.setdefault(target, []).append(edge)
    layers = [graph.heads(layer) for layer in range(graph.shape.n_layers)] if graph.joined else []
    heap: list[tuple[float, int]] = [(-strength[edge], edge) for edge in into.pop(-1)]
    heapify(heap)
    order: list[int] = []
    while heap:
        edge = heappop(heap)[1]
        order.append(edge)
        source = int(graph.sender_of[edge])
        reached = [source]
        for heads in layers:
            if heads.start <= source < heads.stop:
                reached = list(range(heads.start, heads.stop))
        for node in reached:
            for edge in into.pop(node, []):
                heappush(heap, (-strength[edge], edge))
    return np.array(order)


def first_edges(graph: Graph, order: Ints, n: int, stays: Bools | None = None) -> Bools:
    """The circuit [E] of the first edges of an order, without those on no path: the largest that
    has at most n edges, beside what `stays` [E] in any case. More edges never leave fewer on a
    path, so that it is found by halving."""
    if n < 0:
        raise ValueError(f"a circuit has no {n} edges")
    always = np.zeros(graph.n_edges, dtype=bool) if stays is None else stays

    def taken(count: int) -> Bools:
        kept = always.copy()
        kept[order[:count]] = True
        found: Bools = on_path(graph, kept) | always
        return found

    low, high = 0, len(order)
    while low < high:
        middle = (low + high + 1) // 2
        fits = (taken(middle) & ~always).sum() <= n
        low, high = (middle, high) if fits else (low, middle - 1)
    return taken(low)
