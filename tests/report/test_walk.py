"""Walking through the features of `relate` in the page: the data is the tables'."""

from __future__ import annotations

import json

import polars as pl
import pytest

from interp_dsl.report.page import page
from interp_dsl.report.reading import Reading
from interp_dsl.report.walk import strongest, walk
from interp_dsl.runs.relations import Relations
from tests.report.dom import parse
from tests.report.test_further import reading  # noqa: F401 - a fixture
from tests.runs import related


def test_the_data_are_the_tables(reading: Reading) -> None:  # noqa: F811
    found = walk(reading, "graph.pairs")
    assert found is not None and found.left_out == 0
    data = found.data
    names = [(data["places"][place], k) for place, k, *_ in data["features"]]
    pairs = {
        (*names[a], *names[b]): dict(zip(data["measures"], values, strict=True))
        for a, b, values, _ in data["pairs"]
    }
    for row in related.pairs().iter_rows(named=True):
        own = pairs.pop((row["below"], row["i"], row["above"], row["j"]))
        assert own == pytest.approx({m: row[m] for m in data["measures"]})
    assert not pairs and "decoder_cosine" not in data["measures"]
    held = dict(zip(names, data["features"], strict=True))
    letters = {
        name: data["communities"][community]["letter"]
        for name, (*_, community, _) in held.items()
        if community is not None
    }
    assert letters == {
        ("L0.resid_post", 1): "A", ("L1.resid_post", 4): "A", ("L2.resid_post", 7): "A",
        ("L0.resid_post", 2): "B", ("L1.resid_post", 5): "B",
    }  # fmt: skip
    assert [c["size"] for c in data["communities"]] == [3, 2]
    assert data["read_by"] == ["seen", None, None]
    assert held["L0.resid_post", 1][3] == ["·cat", "·dog"]
    assert held["L0.resid_post", 2][3] == []


def test_a_page_holds_so_many_pairs_and_says_what_is_left_out(reading: Reading) -> None:  # noqa: F811
    found = walk(reading, "graph.pairs", most=2)
    assert found is not None
    assert [values[0] for *_, values, _ in found.data["pairs"]] == [0.9, 0.95]
    assert (found.left_out, found.measure, found.features) == (3, "pearson", 3)


def test_of_two_places_the_least_alike_are_left_out() -> None:
    rows = pl.concat([related.pairs()] * 40)
    step = Relations(rows, related.communities())
    kept = strongest(step, 100)
    for (_,), part in rows.group_by("below"):
        own = kept.filter(below=part["below"][0])
        truth = sorted(part["pearson"], reverse=True)[:50]
        assert own["pearson"].to_list() == truth


def test_no_walk_where_nothing_is_related(reading: Reading) -> None:  # noqa: F811
    assert walk(reading, "graph.communities") is None and walk(reading, "ways.planes") is None


def test_without_a_script_the_page_says_where_the_pairs_are(reading: Reading) -> None:  # noqa: F811
    document = parse(page(reading.folder))
    panel = document.one(kind="walk")
    assert "the table below" in panel.one("noscript").said.lower()
    held = json.loads(panel.one("script").text)
    assert held["step"] == "graph.pairs" and len(held["pairs"]) == len(related.PAIRS)
