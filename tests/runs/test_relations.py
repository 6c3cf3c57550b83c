"""Walks through related features and pictures of planes, read from tables."""

from __future__ import annotations

import pytest

from interp_dsl.runs.planes import Pixel, pictures
from interp_dsl.runs.relations import Relations
from tests.runs.related import PAIRS, communities, pairs, planes


def held() -> Relations:
    return Relations(pairs(), communities())


def test_neighbours_are_those_of_the_pairs_the_nearest_first() -> None:
    found = held()
    assert found.layers == ("L0.resid_post", "L1.resid_post", "L2.resid_post")
    up = found.neighbours(("L0.resid_post", 1), "pearson", above=True)
    assert [(n.node, n.value) for n in up] == [
        (("L1.resid_post", 4), 0.9),
        (("L1.resid_post", 5), 0.4),
    ]
    turned = found.neighbours(("L0.resid_post", 1), "jaccard", above=True)
    assert [n.node[1] for n in turned] == [5, 4]
    down = found.neighbours(("L1.resid_post", 5), "pearson", above=False)
    assert [n.node for n in down] == [("L0.resid_post", 2), ("L0.resid_post", 1)]
    assert found.neighbours(("L2.resid_post", 7), "pearson", above=True) == []
    for below, i, above, j, _ in PAIRS:  # what leads up leads down again
        ups = found.neighbours((below, i), "pearson", above=True)
        downs = found.neighbours((above, j), "pearson", above=False)
        assert (above, j) in [n.node for n in ups] and (below, i) in [n.node for n in downs]


def test_features_are_ranked_by_their_best_pair_on_either_side() -> None:
    assert held().features("L1.resid_post", "pearson") == [(4, 0.95), (5, 0.7)]
    assert held().features("L1.resid_post", "jaccard") == [(5, 0.7), (4, pytest.approx(0.1))]


def test_communities_are_numbered_by_size_and_measures_are_those_that_have_values() -> None:
    found = held()
    assert found.community["L2.resid_post", 7] == 0 and found.members(0) == 3
    assert found.community["L0.resid_post", 2] == 1 and found.members(1) == 2
    assert "decoder_cosine" not in found.measures and found.measures[0] == "pearson"


def test_the_graph_has_the_strongest_pairs() -> None:
    graph = held().graph("pearson")
    assert graph.layers == held().layers and len(graph.links) == len(PAIRS)
    assert graph.module["L1.resid_post", 4] == 0 and graph.module["L2.resid_post", 8] is None
    few = held().graph("pearson", 2)
    assert {(link.source[1], link.target[1]) for link in few.links} == {(1, 4), (4, 7)}


def test_pictures_hold_each_point_where_it_lies() -> None:
    table = planes()
    found = pictures(table)
    assert [p.title for p in found] == [f"L0.resid_post at last, prompt {i}" for i in (0, 1)]
    for row in table.filter(prompt=1).to_dicts():
        picture = found[1]
        at = picture.across.index(row["across"]), picture.along.index(row["along"])
        pixel = picture.pixels[at[0]][at[1]]
        assert pixel.alike == (row["a"], row["b"], row["c"])
        assert (pixel.nearest, pixel.token) == (row["nearest"], row["token"])
    assert found[0].tokens == [(" down", 0.5), (" up", 0.5)]
    assert Pixel((1.0, 0.5, 0.0), "a", "").colour == (255, 128, 0)
