"""Searches of some edges, the others staying in: against plain loops over these edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from interp_dsl.circuits.acdc import discover
from interp_dsl.circuits.found import finished
from interp_dsl.circuits.greedy import greedy
from interp_dsl.circuits.pruning import prune_edges
from interp_dsl.circuits.ranked import growth, ranking, top_edges
from interp_dsl.circuits.rules import Rules
from interp_dsl.models.graph import Bools, Graph
from interp_dsl.models.paths import on_path
from tests.circuits.exact import setting
from tests.circuits.models import double
from tests.circuits.sequential import published_order
from tests.circuits.settings import added, named

SIZES = [0.5, 2.0, 1.0, 3.0]


def some(graph: Graph, seed: int, share: float = 0.5) -> Bools:
    return np.random.default_rng(seed).random(graph.n_edges) < share


@pytest.mark.parametrize("name", ["plain", "attn_only", "gpt_neox", "gemma2"])
@pytest.mark.parametrize("options", [{}, {"absolute": True}, {"order": "forward"}])
def test_acdc_judges_them_as_the_plain_search_does(name: str, options: dict[str, bool]) -> None:
    case = setting(name)
    graph = case.forward.graph
    among = some(graph, 0)
    order = [edge for edge in published_order(graph) if among[graph.index[edge]]]
    if "order" in options:
        stage = {edge: int(edge.target[1]) if edge.target != "logits" else 9 for edge in order}
        order = sorted(order, key=lambda e: (-stage[e], e.channel != "mlp", graph.index[e]))
    judged = case.plain(0.03, order, absolute=bool(options.get("absolute")))
    for batch in (1, 6):
        (found,) = discover(case.clean(), 0.03, Rules(batch=batch, **options), among)
        assert found.kept[~among].all() and (found.order[~among] == -1).all()
        assert not found.evaluated[~among].any()
        for rank, edge in enumerate(order):
            number, plain = graph.index[edge], judged[edge]
            assert found.order[number] == rank
            assert found.kept[number] == plain.kept
            assert found.effect[number] == pytest.approx(plain.effect, abs=1e-9)
    kept = sum(one.kept for one in judged.values())
    assert 0 < kept < len(order)


def test_thresholds_share_what_they_judge_alike() -> None:
    case = setting("plain")
    among = some(case.forward.graph, 3)
    both = discover(case.clean(), [0.01, 0.1], Rules(), among)
    for found in both:
        (alone,) = discover(case.clean(), found.threshold, Rules(), among)
        assert (alone.kept == found.kept).all()
        assert alone.final == pytest.approx(found.final, abs=1e-9)


def test_elimination_from_its_definition() -> None:
    """A forward pass a candidate; what is not searched is put back after every look for paths."""
    place = added([0.5, 2.0, 1.0])
    graph, among = place.graph, some(place.graph, 1, 0.6)

    def score(kept: Bools) -> float:
        logits = place.forward.logits(
            place.tokens, torch.from_numpy(kept), place.ablated, place.reads
        )
        return float(place.metric(logits).mean())

    search = finished(greedy(place, n=1, among=among))
    kept = on_path(graph, np.ones(graph.n_edges, dtype=bool)) | ~among
    turn = 0
    while (kept & among).sum() > 1:
        candidates = []
        for edge in np.flatnonzero(kept & among):
            left = kept.copy()
            left[edge] = False
            left = on_path(graph, left) | ~among
            candidates.append((score(left), edge, left))
        kept = min(candidates, key=lambda one: one[:2])[2]
        turn += 1
        assert (search.after(turn) == kept).all()
    assert turn > 1
    assert (search.kept == kept).all()


@pytest.mark.parametrize("name", ["attn_only", "gpt2", "gemma2"])
@pytest.mark.parametrize("grown", [False, True])
def test_the_best_of_them_are_the_largest_prefix_that_fits(name: str, grown: bool) -> None:
    graph = Graph(double(name).description.shape)
    among = some(graph, 2)
    scores = np.random.default_rng(0).normal(size=graph.n_edges)
    first = np.where(among, np.abs(scores), np.inf)
    order = growth(graph, first) if grown else ranking(first)
    tried = []
    for count in range(int(among.sum()) + 1):
        kept = ~among
        kept[[e for e in order if among[e]][:count]] = True
        tried.append(on_path(graph, kept) | ~among)
    for n in (0, 3, int(among.sum()) // 2, graph.n_edges):
        found = top_edges(graph, scores, n, grown=grown, among=among)
        wanted = max(int((one & among).sum()) for one in tried if (one & among).sum() <= n)
        assert found[~among].all() and (found & among).sum() == wanted
        assert any((found == one).all() for one in tried)
    found = top_edges(graph, scores, threshold=0.5, grown=grown, among=among)
    wanted = on_path(graph, (np.abs(scores) >= 0.5) | ~among) | ~among
    assert (found == wanted).all()


@pytest.mark.parametrize("method", ["prune", "greedy"])
def test_of_additive_heads_the_best_searched_one_is_found(method: str) -> None:
    """Heads 0 and 1 are searched, and of their four edges two may stay: those of head 1."""
    place = added(SIZES)
    graph = place.graph
    among = np.array([any(f"L0H{h}" in (e.source, e.target) for h in (0, 1)) for e in graph.edges])
    if method == "prune":
        found = finished(prune_edges(place, 2, steps=400, among=among))
    else:
        found = finished(greedy(place, n=2, among=among))
    assert found.kept[~among].all()
    assert named(graph, found.kept & among) == {"embed -> L0H1.v", "L0H1 -> logits"}
    assert found.value == pytest.approx(0.5**2, abs=1e-9)
