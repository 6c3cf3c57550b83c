"""Figures of tables behind a step's name, against the tables."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from interp_dsl.plan.algebra import Run
from interp_dsl.plan.dictionaries import DictionaryOf, Fitted, Inspect, Relate
from interp_dsl.plan.places import Site, Target
from interp_dsl.plan.tasks import Plan
from interp_dsl.report.further import error_charts, figures, with_meanings
from interp_dsl.report.plot import figure
from interp_dsl.report.reading import Reading
from interp_dsl.runs.errors import ERROR_COLUMNS
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.schema import EXAMPLE_COLUMNS, plain_table
from tests.runs import related


@pytest.fixture
def reading(tmp_path: Path) -> Reading:
    """A run that relates the features of three places, of the lowest of which some are known."""
    folder = RunFolder.create(tmp_path, "related", datetime(2026, 1, 1))
    run = Run("m", "data:d", "text")
    of = tuple(
        DictionaryOf(
            "sae", (Fitted(f"L{i}", Target(Site("resid_post", i)), "topk", (("width", 9),)),)
        )
        for i in range(3)
    )
    seen = Inspect("i", "seen", run, of[0], None, "examples", ())
    graph = Relate("r", "graph", run, of, "similarity", (), 8)
    folder.write_plan(Plan((seen, graph)))
    examples = [
        {
            **dict.fromkeys(EXAMPLE_COLUMNS),
            **{"feature": 1, "activation": 2.0, "share": 1.0, "prompt": 0, "position": 1},
            **{"before": "a", "token": token, "after": "."},
        }
        for token in (" cat", " dog")
    ]
    folder.write_table("seen", plain_table(examples, EXAMPLE_COLUMNS))
    folder.write_table("graph.pairs", related.pairs())
    folder.write_table("graph.communities", related.communities())
    folder.write_table("ways.planes", related.planes())
    return Reading(folder)


def test_pairs_are_a_graph_that_says_what_features_mean(reading: Reading) -> None:
    (svg,) = figures(reading, "graph.pairs", related.pairs())
    assert svg.count('class="edge"') == len(related.PAIRS)
    assert "L0.resid_post 1: module A,  cat   dog" in svg
    assert "L0.resid_post 2: module B<" in svg
    assert "L1.resid_post 4 → L2.resid_post 7: 0.95" in svg
    shown = with_meanings(reading, "graph.pairs", related.pairs())
    assert shown["below fires on"].to_list()[:3] == [" cat   dog", " cat   dog", ""]
    assert "above fires on" not in shown.columns
    assert figure(reading.folder, "graph.pairs") == svg


def test_planes_are_pictures_with_a_square_a_point(reading: Reading) -> None:
    table = related.planes()
    drawn = figures(reading, "ways.planes", table)
    assert len(drawn) == 2
    fills = re.findall(r'class="pixel"[^>]*fill="(#\w+)"', drawn[0])
    expected = [
        "#" + "".join(f"{round(255 * x):02x}" for x in row)
        for row in table.filter(prompt=0).select("a", "b", "c").iter_rows()
    ]
    assert fills == expected
    assert "along 0.75, across 0.25: alike to a 0.00, b 0.50, c 0.25; next &#x27; down&#x27;" in (
        drawn[0].replace("'", "&#x27;")
    )


def test_errors_are_ratios_over_the_features_on() -> None:
    rows = [
        {
            **dict.fromkeys(ERROR_COLUMNS),
            "unit": "L1.resid_post",
            "position": "last",
            "dictionary": f"sae[k={k}]",
            "l0": float(k),
            "direction": direction,
            "metric": "kl",
            "ratio": ratio and ratio * k,
        }
        for k in (8, 2)
        for direction, ratio in (("error", 1.0), ("random", 3.0), ("covariance", None))
    ]
    (chart,) = error_charts(plain_table(rows, ERROR_COLUMNS), "sens.errors")
    (line,) = chart.lines
    assert line.name == "random" and [(p.x, p.y) for p in line.points] == [(2, 6), (8, 24)]
    few = plain_table(rows, ERROR_COLUMNS).filter(pl.col("dictionary") == "sae[k=2]")
    assert list(error_charts(few, "sens.errors")) == []


def test_a_chart_of_errors_has_so_many_directions_and_says_of_how_many() -> None:
    rows = [
        {
            **dict.fromkeys(ERROR_COLUMNS),
            **{"unit": "L1.resid_post", "position": "all", "metric": "kl"},
            **{"dictionary": f"k={k}", "l0": float(k), "direction": f"d{i}", "ratio": 1.0 + i / k},
        }
        for k in (2, 8)
        for i in range(30)
    ]
    (chart,) = error_charts(plain_table(rows, ERROR_COLUMNS), "sens.errors")
    assert [line.name for line in chart.lines] == [f"d{i}" for i in range(24)]
    assert chart.title.endswith("the first 24 of 30 directions")
