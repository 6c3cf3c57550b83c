"""Which curves tables make, and through which points."""

from __future__ import annotations

import polars as pl

from interp_dsl.report.curves import charts, found_circuits
from tests.report import made


def evaluated() -> pl.DataFrame:
    rows = [
        made.score("circuit", "gap", None, value=v, low=v - 1, high=v + 1, threshold=t)
        for t, v in ((0.5, 2.0), (0.05, 5.0), (0.005, 6.0))
    ]
    return made.frame(rows)


def test_an_evaluation_over_thresholds_is_a_curve_over_sizes() -> None:
    sizes = {0.5: 7, 0.05: 10, 0.005: 20}
    (chart,) = charts(evaluated(), "curve", sizes, {"gap": "logits"})["gap"]
    assert (chart.x_axis, chart.y_axis) == ("edges kept", "gap (logits)")
    (line,) = chart.lines
    assert [(p.x, p.y, p.low, p.high) for p in line.points] == [
        (7, 2, 1, 3),
        (10, 5, 4, 6),
        (20, 6, 5, 7),
    ]
    assert line.points[0].note == " edges, threshold 0.5"


def test_without_sizes_it_is_one_over_thresholds() -> None:
    (chart,) = charts(evaluated(), "curve", {}, {})["gap"]
    assert chart.x_axis == "threshold" and chart.log
    assert [p.x for p in chart.lines[0].points] == [0.5, 0.05, 0.005]


def test_shares_of_the_edges_are_a_curve_on_a_log_scale() -> None:
    units = {"circuit": 0.9, "0.1%": 0.0, "10%": 0.5, "100%": 1.0}
    rows = [made.score(unit, "cpr", None, value=v) for unit, v in units.items()]
    (chart,) = charts(made.frame(rows), "proof", {}, {})["cpr"]
    assert (chart.title, chart.y_axis) == ("proof: faithfulness by size", "faithfulness")
    assert chart.log and [(p.x, p.y) for p in chart.lines[0].points] == [
        (0.1, 0),
        (10, 0.5),
        (100, 1),
    ]


def test_a_sweep_is_a_line_a_unit_the_largest_first() -> None:
    rows = [
        made.score(f"L0H{head}", "gap", -float(head) * k, layer=0, head=head, k=k)
        for head in range(9)
        for k in (1, 2, 3)
    ]
    (chart,) = charts(made.frame(rows), "who", {}, {})["gap"]
    assert [line.name for line in chart.lines] == [f"L0H{head}" for head in (8, 7, 6, 5, 4, 3)]
    assert [(p.x, p.y) for p in chart.lines[0].points] == [(1, -8), (2, -16), (3, -24)]
    assert chart.y_axis == "effect on gap" and not chart.log


def test_a_table_without_a_parameter_makes_none() -> None:
    assert charts(made.heads(), "who", {}, {}) == {}
    assert charts(made.edges(), "wire", {}, {}) == {}


def test_circuits_of_a_search_by_size() -> None:
    found = [
        {"threshold": t, "edges": n, "metrics": {"kl": kl}}
        for t, n, kl in ((0.1, 9, 0.5), (0.2, 5, 0.75))
    ]
    (chart,) = found_circuits("sizes", found, {"kl": "nats"})
    assert chart.y_axis == "kl (nats)"
    assert [(p.x, p.y) for p in chart.lines[0].points] == [(9, 0.5), (5, 0.75)]
    assert found_circuits("one", found[:1], {}) == []
