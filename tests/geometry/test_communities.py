"""Partitions of graphs whose communities are known."""

import itertools

import numpy as np
import pytest

from interp_dsl.geometry.communities import (
    Edge,
    components,
    leiden,
    louvain,
    modularity,
    renumbered,
)


def cliques(sizes: list[int]) -> list[Edge]:
    """Cliques of these sizes, each joined to the next by one edge."""
    edges: list[Edge] = []
    first = 0
    for size in sizes:
        if first:
            edges.append((first - 1, first, 1.0))
        edges += [(a, b, 1.0) for a, b in itertools.combinations(range(first, first + size), 2)]
        first += size
    return edges


def test_modularity_by_hand() -> None:
    edges = [(0, 1, 1.0), (2, 3, 1.0), (1, 2, 1.0)]
    assert modularity(4, edges, [0, 0, 1, 1]) == pytest.approx(2 / 3 - 2 * (3 / 6) ** 2)
    assert modularity(4, edges, [0, 0, 0, 0]) == pytest.approx(0)
    assert modularity(4, edges, [0, 0, 1, 1], resolution=0) == pytest.approx(2 / 3)
    assert modularity(3, [], [0, 1, 2]) == 0


def test_two_planted_modules_of_a_layered_graph_have_half() -> None:
    edges = [(j + 4 * m, 8 + i + 4 * m, 1.0) for m in (0, 1) for i in range(4) for j in range(4)]
    planted = [0] * 4 + [1] * 4 + [0] * 4 + [1] * 4
    assert modularity(16, edges, planted) == pytest.approx(0.5)
    assert louvain(16, edges) == tuple(planted)


@pytest.mark.parametrize("seed", range(5))
def test_cliques_are_communities(seed: int) -> None:
    sizes = [5, 4, 6, 5]
    expected = tuple(itertools.chain.from_iterable([c] * s for c, s in enumerate(sizes)))
    assert louvain(20, cliques(sizes), seed=seed) == expected


def test_a_small_graph_is_partitioned_nearly_as_well_as_can_be() -> None:
    """The method is greedy; but no two of its communities are better together."""
    rng = np.random.default_rng(3)
    for _ in range(5):
        edges = [
            (a, b, float(rng.uniform(0.1, 1)))
            for a, b in itertools.combinations(range(7), 2)
            if rng.random() < 0.4
        ]
        best = max(
            modularity(7, edges, labels)
            for labels in {renumbered(p) for p in itertools.product(range(4), repeat=7)}
        )
        found = louvain(7, edges)
        reached = modularity(7, edges, found)
        assert 0.8 * best <= reached <= best + 1e-9
        for one, other in itertools.combinations(set(found), 2):
            together = [one if label == other else label for label in found]
            assert modularity(7, edges, together) <= reached + 1e-9


def test_a_seed_gives_the_same_and_a_high_resolution_more_communities() -> None:
    rng = np.random.default_rng(0)
    edges = [(int(a), int(b), 1.0) for a, b in rng.integers(0, 60, (200, 2)) if a != b]
    assert louvain(60, edges, seed=4) == louvain(60, edges, seed=4)
    few, many = (len(set(louvain(60, edges, resolution=r))) for r in (0.5, 3.0))
    assert few < many


def test_nodes_without_edges_are_alone() -> None:
    assert louvain(4, [(1, 3, 1.0)]) == (0, 1, 2, 1)
    assert components(5, [(0, 3, 1.0), (3, 4, 1.0)]) == (0, 1, 2, 0, 0)


def test_leiden_agrees_on_cliques() -> None:
    pytest.importorskip("igraph", reason="igraph is an optional extra")
    sizes = [5, 4, 6, 5]
    expected = tuple(itertools.chain.from_iterable([c] * s for c, s in enumerate(sizes)))
    assert leiden(20, cliques(sizes)) == expected
