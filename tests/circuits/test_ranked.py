"""Circuits from scores: against brute force over prefixes, and by hand."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from interp_dsl.circuits.ranked import first_edges, growth, ranking, top_edges
from interp_dsl.models.graph import Bools, Graph, Ints
from interp_dsl.models.paths import on_path
from tests.circuits.built import gate
from tests.circuits.models import double
from tests.circuits.settings import named

MODELS = ("attn_only", "gpt2", "gpt_neox", "gemma2")


def graph_of(name: str) -> Graph:
    return Graph(double(name).description.shape)


def scores_of(graph: Graph, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=graph.n_edges)


def prefixes(graph: Graph, order: Ints) -> list[Bools]:
    """On a path, of the first 0, 1, 2, … edges."""
    found = []
    for count in range(len(order) + 1):
        kept = np.zeros(graph.n_edges, dtype=bool)
        kept[order[:count]] = True
        found.append(on_path(graph, kept))
    return found


@pytest.mark.parametrize("name", MODELS)
def test_the_largest_prefix_that_fits(name: str) -> None:
    graph = graph_of(name)
    scores = scores_of(graph, 0)
    for order in (ranking(scores), growth(graph, scores)):
        assert sorted(order) == list(range(graph.n_edges))
        tried = prefixes(graph, order)
        for n in (0, 1, 5, graph.n_edges // 2, graph.n_edges, graph.n_edges + 3):
            wanted = max(int(one.sum()) for one in tried if one.sum() <= n)
            found = first_edges(graph, order, n)
            assert found.sum() == wanted
            assert any((found == one).all() for one in tried)


@pytest.mark.parametrize("name", MODELS)
def test_growth_takes_the_best_edge_into_what_is_reached(name: str) -> None:
    """One step at a time from its definition."""
    graph = graph_of(name)
    scores = np.round(scores_of(graph, 1), 1)
    targets = graph.node_of[graph.receiver_of]
    layers = [set(range(*graph.heads(layer).indices(999))) for layer in range(graph.shape.n_layers)]
    reached, order = {-1}, []
    while len(order) < graph.n_edges:
        open_edges = [
            edge for edge in range(graph.n_edges) if edge not in order and targets[edge] in reached
        ]
        order.append(max(open_edges, key=lambda edge: (scores[edge], -edge)))
        source = int(graph.sender_of[order[-1]])
        reached |= {source}
        if graph.joined:
            reached |= next((heads for heads in layers if source in heads), set())
    assert growth(graph, scores).tolist() == order


def test_an_edge_that_leads_nowhere_yet_waits() -> None:
    """By score alone the strong edge into a head comes first and lies on no path; grown, the edge
    out of that head has to come first."""
    graph = gate("and").graph
    strong = {"embed -> L0H0.v": 9.0, "L0H1 -> logits": 3.0, "L0H0 -> logits": 1.0}
    scores = np.array([strong.get(str(edge), 0.0) for edge in graph.edges])
    grown = [str(graph.edges[edge]) for edge in growth(graph, scores)[:3]]
    assert grown == ["L0H1 -> logits", "L0H0 -> logits", "embed -> L0H0.v"]
    wanted = {"embed -> L0H0.v", "L0H0 -> logits"}
    assert named(graph, top_edges(graph, scores, threshold=0.5)) == wanted
    assert named(graph, top_edges(graph, scores, threshold=0.5, grown=True)) == wanted
    assert named(graph, top_edges(graph, scores, n=2)) == wanted
    assert not top_edges(graph, scores, n=1).any()


def test_signs() -> None:
    graph = gate("and").graph
    strong = {"embed -> logits": -2.0, "L0.mlp -> logits": 1.0, "embed -> L0.mlp": 1.0}
    scores = np.array([strong.get(str(edge), 0.0) for edge in graph.edges])
    assert named(graph, top_edges(graph, scores, threshold=1.0)) == set(strong)
    rest = set(strong) - {"embed -> logits"}
    assert named(graph, top_edges(graph, scores, threshold=1.0, absolute=False)) == rest
    assert named(graph, top_edges(graph, scores, n=1)) == {"embed -> logits"}
    assert named(graph, top_edges(graph, scores, n=2, absolute=False)) == rest


def test_what_is_refused() -> None:
    graph = gate("and").graph
    scores = np.zeros(graph.n_edges)
    for limits in ({}, {"n": 1, "threshold": 1.0}):
        with pytest.raises(ValueError, match="by their number or by a threshold"):
            top_edges(graph, scores, **limits)
    with pytest.raises(ValueError, match="for 13 edges"):
        top_edges(graph, scores[:-1], n=1)
    with pytest.raises(ValueError, match="not a number"):
        top_edges(graph, scores + np.nan, n=1)
    with pytest.raises(ValueError, match="no -1 edges"):
        top_edges(graph, scores, n=-1)
    with pytest.raises(ValueError, match="direct edges"):
        top_edges(gate("and", direct=True).graph, scores, n=1)


def test_the_nodes_behind_receivers() -> None:
    for name in MODELS:
        graph = graph_of(name)
        for receiver, (target, _) in enumerate(graph.receivers):
            node = graph.node_of[receiver]
            assert target == ("logits" if node < 0 else graph.senders[node])


def test_ranked_edges_need_no_torch() -> None:
    said = "import sys, interp_dsl.circuits.ranked; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", said], check=False).returncode == 0
