"""Curves and factorings as lines, graphs and printed tables, checked against the tables by hand."""

from __future__ import annotations

import polars as pl
import pytest

from interp_dsl.language.cells import cells
from interp_dsl.runs.bands import bands, places, quantities
from interp_dsl.runs.bases import ablations, figure, findings, kind, letter, modules, spectra
from interp_dsl.runs.curve_rows import alike, point_words
from interp_dsl.runs.factored import FINDINGS
from interp_dsl.runs.select import Selection, blocks, columns_of, select
from interp_dsl.runs.text import layout
from interp_dsl.verbs.factors import FACTORINGS
from tests.runs import curved


def test_a_line_a_direction_with_its_band() -> None:
    table = curved.sensitive()
    assert places(table, "kl") == [(unit, "END") for unit in curved.UNITS]
    assert quantities(table, "kl") == ["effect", "median", "ratio"]
    found = bands(table, "kl", ("L1.resid_pre", "END"), "median")
    assert [line.name for line in found.lines] == list(curved.DIRECTIONS)
    assert (found.x, found.band) == ("length (% of the median norm)", "quartiles")
    for line, slope in zip(found.lines, curved.DIRECTIONS.values(), strict=True):
        assert [p.x for p in line.points] == [0, 25, 50, 75, 100]
        for p in line.points:
            y = slope * (p.x / 100) ** 2
            assert (p.y, p.low, p.high) == pytest.approx((y, y / 2, 1.5 * y))
        assert [row["threshold"] for row in line.whole] == [0.5, 2.0]


def test_what_has_no_value_at_a_length_is_no_point() -> None:
    found = bands(curved.sensitive(), "kl", ("L0.resid_pre", "END"), "ratio")
    assert [[p.x for p in line.points] for line in found.lines] == [[25, 50, 75, 100]] * 3
    assert [line.points[0].low for line in found.lines] == pytest.approx([0.45, 0.9, 1.8])


def test_sides_are_lines_of_their_own_and_shares_have_no_band() -> None:
    table = curved.regions()
    found = bands(table, "distance", ("L0.resid_post", "END"), "relative")
    assert [line.name for line in found.lines] == ["line, clean", "line, corrupt"]
    assert (found.x, found.band) == ("share of the way", "")
    assert [p.y for p in found.lines[1].points] == [0, 0, 0.5, 1, 1]
    assert {p.low for line in found.lines for p in line.points} == {None}


@pytest.mark.parametrize(("table", "rows"), [("sens", 6), ("regions", 2)])
def test_curves_of_a_place_are_printed_in_two_blocks_of_80_columns(table: str, rows: int) -> None:
    held = curved.everything()[table].filter(pl.col("unit") != curved.UNITS[1])
    found, what = select(held, table, Selection())
    whole, points = blocks(found, 5)
    assert (whole.n, whole.shown) == (rows, min(rows, 5)) and points.shown == 5
    for block in (whole, points):
        assert max(cells(line) for line in layout(block.columns)) <= 80, layout(block.columns)
    names = {c.name for c in points.columns}
    assert {"length", "effect", "95% interval", "median", "quartiles"} <= names
    assert not names & {"position", "n", "threshold", "slope", "dropped"}
    assert "n = 32" in whole.common and "END" in whole.common
    assert what.startswith({"sens": "kl, 3 curves", "regions": "distance, 2 curves"}[table])


def test_numbers_of_a_block_are_those_of_the_table() -> None:
    found, _ = select(curved.sensitive(), "sens", Selection())
    whole, points = ({c.name: list(c.cells) for c in b.columns} for b in blocks(found, None))
    assert whole["reached"][:4] == ["70.7%", "·", "50.0%", "100.0%"]
    assert whole["95% interval"][:3] == ["[63.6%, 77.8%]", "·", "[45.0%, 55.0%]"]
    at = points["length"].index("50%")
    assert (points["effect"][at], points["95% interval"][at]) == ("+0.250", "[+0.188, +0.312]")
    assert points["quartiles"][at] == "[0.125, 0.375]"


def test_what_all_rows_have_in_common_is_said_and_left_out() -> None:
    rows, _ = select(curved.regions(), "regions", Selection())
    assert alike(rows) == "L0.resid_post at END, line, n = 32"
    assert "side" in {c.name for b in blocks(rows, None) for c in b.columns}
    assert {"unit", "n", "dropped"} <= {c.name for c in columns_of(rows)}, "all, where none is said"


def test_dropped_examples_are_not_left_out() -> None:
    rows = curved.regions().with_columns(dropped=pl.col("dropped") + 3)
    whole = blocks(select(rows, "regions", Selection())[0], None)[0]
    assert [list(c.cells) for c in whole.columns if c.name == "dropped"] == [["3", "3"]]


def test_flips_stand_beside_the_jumps_where_they_were_counted() -> None:
    def shown(rows: pl.DataFrame) -> dict[str, list[str]]:
        whole = blocks(select(rows, "regions", Selection())[0], None)[0]
        return {c.name: list(c.cells) for c in whole.columns}

    is_whole = pl.col("length").is_null()
    rows = curved.regions().with_columns(flips=pl.lit(None, pl.Float64))
    assert "flips" not in shown(rows)
    counted = rows.with_columns(flips=pl.when(is_whole).then(pl.lit(37.5)))
    assert shown(counted)["flips"] == ["37.50", "37.50"]


def test_a_point_in_words() -> None:
    line = bands(curved.sensitive(), "kl", ("L0.resid_pre", "END")).lines[1]
    said = dict(point_words(line.rows[2]))
    assert said["at"] == "50%" and said["effect"] == "+0.5000 [+0.3750, +0.6250]"
    assert said["ratio"] == "1.000 [0.900, 1.100]" and said["n"] == "32"


# ---- factorings


def test_the_findings_known_here_are_those_that_the_methods_make() -> None:
    for method in FACTORINGS.values():
        assert set(FINDINGS[method.keyed.column]) == set(method.findings)


def test_findings_stand_side_by_side() -> None:
    table = curved.findings()
    assert kind(table) == "basis" and kind(curved.ranks()) == "matrix"
    assert kind(curved.sensitive()) is None and kind(curved.spectrum()) is None
    rows = {(r[0], r[1]): r[2:] for r in findings(table).rows()}
    assert rows["edges_required", "L0.resid_mid"] == (4.0, 100.0)
    assert rows["modularity", "model"] == (0.5, 0.375)
    assert next(iter(rows)) == ("modularity", "model")
    held, what = select(curved.ranks(), "ranks", Selection())
    assert what == "2 findings by matrix"
    assert [list(c.cells) for c in columns_of(held)] == [
        ["activation_rank", "synchronised"],
        ["L0.mlp"] * 2,
        ["4", "·"],
        ["3", "·"],
        ["·", "1,024"],
    ]
    assert [figure(v) for v in (None, 3.0, 1234567.0, 0.25)] == ["·", "3", "1,234,567", "0.250"]


def test_a_metric_of_findings_can_still_be_asked_for() -> None:
    rows, _ = select(curved.findings(), "bases", Selection(metric="directions"))
    assert set(rows["metric"]) == {"directions"} and len(rows) == 6


def test_spectra_are_shares_of_the_greatest_without_rounding() -> None:
    found = spectra(curved.spectrum())
    assert [one.title for one in found] == list(curved.LAYERS) and all(one.log for one in found)
    first, second = found[0].lines
    assert [(p.x, p.y) for p in first.points] == [(k + 1, pytest.approx(0.1**k)) for k in range(5)]
    assert [p.y for p in second.points] == [1, 0.5, 0.25, 0.125, 0.0625]
    names = [line.name for line in spectra(curved.rank_spectra())[0].lines]
    assert names == ["W_in activations", "W_in slopes", "W_out activations", "W_out slopes"]


def test_ablations_are_a_line_a_basis() -> None:
    one = ablations(curved.ablation())[1]
    assert one.title == "L0.resid_mid" and not one.log
    assert [[p.y for p in line.points] for line in one.lines] == [
        [0.5, 1, 1, 1],
        [0.25, 0.5, 0.75, 1],
    ]


def test_modules_are_lettered_by_size_and_stand_below_each_other() -> None:
    graph = modules(curved.edges(), curved.modules(), "pca")
    assert graph.layers == curved.LAYERS and graph.left_out == 0
    said = [[letter(graph.module[n]) for n in graph.row(layer)] for layer in graph.layers]
    assert said == [["A", "A", "B", "·"], ["A", "A", "B", "·"], ["A", "A", "B"]]
    assert len({graph.x[layer, 2] for layer in graph.layers}) == 1
    weights = [link.weight for link in graph.links if link.source[0] == "L0.resid_pre"]
    assert weights == pytest.approx([1, 0.75, 0.5, 0.25, 0]), "orders of magnitude over the least"


def test_the_strongest_edges_are_drawn() -> None:
    graph = modules(curved.edges(), curved.modules(), "interaction", most=6)
    assert [link.edge for link in graph.links] == [1000, 100, 10] * 2 and graph.left_out == 4
    assert graph.links[2].weight == pytest.approx(0.5), "weights are those among all edges"


def test_small_eigenvalues_are_not_0() -> None:
    """Those of a place from 1000 by ten downwards, to the one that is rounding."""
    rows = curved.spectrum().filter(layer=curved.LAYERS[0], basis=curved.BASES[0])
    (value,) = [c for c in columns_of(rows) if c.name == "value"]
    for said, truth in zip(value.cells, rows["value"], strict=True):
        assert float(said) == pytest.approx(truth, rel=1e-3)
    assert value.cells[:3] == ["1000", "100", "10"] and value.cells[-1] == "-1.000e-17"
    assert value.cells[3] == "1.000e+00", "a single figure says too little"
    nothing = rows.with_columns(value=pl.lit(0.0))
    assert {*next(c for c in columns_of(nothing) if c.name == "value").cells} == {"0.000"}
