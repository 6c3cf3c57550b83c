"""Communities of a weighted undirected graph: modularity, and Louvain's method to raise it (Blondel
et al. 2008, arXiv 0803.0476); Leiden's (Traag et al. 2019) where igraph is installed.

    Q = sum_c [ w_c / m - g (d_c / 2m)^2 ]

with m the total weight, w_c the weight inside a community, d_c the sum of its degrees, g the
resolution. Weights are not negative; an edge given twice counts twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

Edge = tuple[int, int, float]
Neighbours = list[dict[int, float]]

LEAST_GAIN = 1e-12
"""A move must raise the modularity by more than rounding could."""


def modularity(
    n: int, edges: Iterable[Edge], labels: Sequence[int], resolution: float = 1
) -> float:
    """Q of a partition of nodes 0..n-1; 0 for a graph without edges."""
    inside: dict[int, float] = defaultdict(float)
    degree: dict[int, float] = defaultdict(float)
    total = 0.0
    for one, other, weight in edges:
        total += weight
        degree[labels[one]] += weight
        degree[labels[other]] += weight
        if labels[one] == labels[other]:
            inside[labels[one]] += weight
    if not total:
        return 0.0
    spread = sum((d / (2 * total)) ** 2 for d in degree.values())
    return sum(inside.values()) / total - resolution * spread


def louvain(n: int, edges: Iterable[Edge], resolution: float = 1, seed: int = 0) -> tuple[int, ...]:
    """A community for each node, numbered by their first nodes. Nodes are visited in an order drawn
    from the seed; each goes where the modularity gains most, then communities become nodes."""
    graph = _neighbours(n, edges)
    rng = np.random.default_rng(seed)
    labels = list(range(n))
    while True:
        moved = _moved(graph, resolution, rng)
        labels = [moved[label] for label in labels]
        if len(set(moved)) == len(graph):
            return renumbered(labels)
        graph = _merged(graph, moved)


def leiden(
    n: int, edges: Iterable[Edge], resolution: float = 1, seed: int = 0, iterations: int = 10
) -> tuple[int, ...]:
    """The same by Leiden's method. Raises ImportError without igraph."""
    import random

    import igraph

    held = list(edges)
    graph = igraph.Graph(n, [(one, other) for one, other, _ in held])
    igraph.set_random_number_generator(random.Random(seed))
    found = graph.community_leiden(
        "modularity",
        weights=[weight for *_, weight in held],
        resolution=resolution,
        n_iterations=iterations,
    )
    return renumbered(found.membership)


def components(n: int, edges: Iterable[Edge]) -> tuple[int, ...]:
    """The connected component of each node, numbered by their first nodes."""
    parent = list(range(n))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = node = parent[parent[node]]
        return node

    for one, other, _ in edges:
        parent[root(one)] = root(other)
    return renumbered([root(node) for node in range(n)])


def renumbered(labels: Sequence[int]) -> tuple[int, ...]:
    """The same partition with labels 0, 1, … in the order of their first nodes."""
    names = {label: name for name, label in enumerate(dict.fromkeys(labels))}
    return tuple(names[label] for label in labels)


def _neighbours(n: int, edges: Iterable[Edge]) -> Neighbours:
    """Adjacency; a node's weight to itself counts an edge's both ends."""
    graph: Neighbours = [defaultdict(float) for _ in range(n)]
    for one, other, weight in edges:
        graph[one][other] += weight
        graph[other][one] += weight
    return graph


def _moved(graph: Neighbours, resolution: float, rng: np.random.Generator) -> list[int]:
    """Communities after moving single nodes until none gains."""
    degree = [sum(row.values()) for row in graph]
    total = sum(degree)
    label, weight = list(range(len(graph))), list(degree)
    order = rng.permutation(len(graph)).tolist()
    any_moved = total > 0
    while any_moved:
        any_moved = False
        for node in order:
            links: dict[int, float] = defaultdict(float)
            for other, w in graph[node].items():
                if other != node:
                    links[label[other]] += w
            home, share = label[node], resolution * degree[node] / total
            weight[home] -= degree[node]
            links[home] += 0
            gains = {c: inside - share * weight[c] for c, inside in links.items()}
            best = max(gains, key=gains.__getitem__)
            if gains[best] > gains[home] + LEAST_GAIN * total:
                label[node], any_moved = best, True
            weight[label[node]] += degree[node]
    return list(renumbered(label))


def _merged(graph: Neighbours, label: Sequence[int]) -> Neighbours:
    """Communities as nodes."""
    merged: Neighbours = [defaultdict(float) for _ in range(len(set(label)))]
    for node, row in enumerate(graph):
        for other, weight in row.items():
            merged[label[node]][label[other]] += weight
    return merged
