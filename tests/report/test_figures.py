"""Figures: places and colours are to scale."""

from __future__ import annotations

import itertools
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp_dsl.report.figures.bars import Bar, Ranking, bars
from interp_dsl.report.figures.heatmap import Cell, Grid, heatmap
from interp_dsl.report.figures.lines import Chart, Line, Point, lines
from interp_dsl.report.figures.style import tick, ticks
from interp_dsl.report.plot import stacked

SVG = "{http://www.w3.org/2000/svg}"


def parsed(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)


def of_class(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [e for e in root.iter() if name in (e.get("class") or "").split()]


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_round_inside_and_evenly_apart(low: float, span: float) -> None:
    found = ticks(low, low + span)
    assert 1 <= len(found) <= 6
    room = 1e-6 * (abs(low) + span)
    assert low - room <= found[0] and found[-1] <= low + span + room
    steps = [b - a for a, b in itertools.pairwise(found)]
    if len(steps) > 1:
        assert max(steps) - min(steps) <= room


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [(0, 10, [0, 2, 4, 6, 8, 10]), (-1.2, 0.9, [-1, -0.5, 0, 0.5]), (3, 3, [3])],
)
def test_ticks_by_hand(low: float, high: float, wanted: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(wanted)


def test_ticks_read_well() -> None:
    assert [tick(v) for v in (-0.5, 1e-17, 0.30000000000000004, 2000)] == [
        "−0.5",
        "0",
        "0.3",
        "2000",
    ]


def grid(values: dict[tuple[int, int], float], rows: int, columns: int) -> Grid:
    cells = {
        at: Cell(f"L{at[0]}H{at[1]}", value, value - 1, value + 1) for at, value in values.items()
    }
    names = tuple(map(str, range(rows))), tuple(map(str, range(columns)))
    return Grid("t", "effect (logits)", "layer", "head", *names, cells)


def test_a_map_is_white_at_zero_and_equal_for_both_signs() -> None:
    root = parsed(heatmap(grid({(0, 0): -4.0, (0, 1): 4.0, (1, 0): 0.0, (1, 1): 1.0}, 2, 2)))
    cells = of_class(root, "cell")
    assert [float(c.get("fill-opacity", "")) for c in cells] == [1, 1, 0, 0.25]
    assert cells[0].get("fill") != cells[1].get("fill") == cells[3].get("fill")
    assert cells[0].get("class") == "cell negative"
    words = [t.text for t in root.iter(f"{SVG}text")]
    assert {"−4.000", "0", "+4.000", "effect (logits)", "layer", "head"} <= set(words)


def test_a_missing_cell_stays_empty() -> None:
    assert len(of_class(parsed(heatmap(grid({(0, 0): 1.0, (1, 1): 2.0}, 2, 2))), "cell")) == 2


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (12, 12), (48, 64), (3, 300)])
def test_maps_of_any_size_keep_cells_inside_and_apart(rows: int, columns: int) -> None:
    values = {(r, c): float(r - c) for r in range(rows) for c in range(columns)}
    root = parsed(heatmap(grid(values, rows, columns)))
    _, _, width, height = map(float, (root.get("viewBox") or "").split())
    boxes = [
        tuple(float(c.get(k, "")) for k in ("x", "y", "width", "height"))
        for c in of_class(root, "cell")
    ]
    assert len(set(boxes)) == rows * columns
    assert all(x >= 0 and x + w <= width and y >= 0 and y + h <= height for x, y, w, h in boxes)
    labels = [t for t in root.iter(f"{SVG}text") if t.get("text-anchor") == "end"]
    assert len(labels) <= rows + columns + 1


def test_bars_share_one_scale() -> None:
    held = [Bar("a", 2.0, 1.0, 3.0), Bar("b", -1.0, -1.5, -0.5), Bar("c", 0.5, verified=1.0)]
    root = parsed(bars(Ranking("t", "effect", held, left_out=7)))
    drawn = [e for e in root.iter(f"{SVG}rect") if e.get("class") in ("positive", "negative")]
    widths = [float(e.get("width", "")) for e in drawn]
    assert [w / widths[0] for w in widths] == pytest.approx([1, 0.5, 0.25], rel=1e-3)
    assert [e.get("class") for e in drawn] == ["positive", "negative", "positive"]
    zero = float(drawn[0].get("x", ""))
    assert float(drawn[1].get("x", "")) + widths[1] == pytest.approx(zero, abs=0.02)
    whiskers = [re.findall(r"[\d.]+", e.get("d", "")) for e in of_class(root, "whisker")]
    unit = widths[0] / 2
    assert [float(whiskers[0][0]), float(whiskers[0][2])] == pytest.approx(
        [zero + unit, zero + 3 * unit], abs=0.1
    )
    assert len(of_class(root, "mark")) == 2, "the bar's own, and the one of the note"
    assert any("7 smaller ones are not drawn" in (t.text or "") for t in root.iter(f"{SVG}text"))


def test_bars_of_zeros_are_drawn() -> None:
    parsed(bars(Ranking("t", "effect", [Bar("a", 0.0)])))


@pytest.mark.parametrize("log", [False, True])
def test_points_of_a_chart_are_to_scale(log: bool) -> None:
    points = [Point(1, 0.0), Point(10, 1.0, 0.5, 1.5), Point(100, 2.0)]
    other = [Point(1, 2.0), Point(100, 0.0)]
    chart = Chart("t", "edges", "gap", [Line("a", points), Line("b", other)], log)
    root = parsed(lines(chart))
    dots = [(float(e.get("cx", "")), float(e.get("cy", ""))) for e in of_class(root, "dot")]
    share = (dots[1][0] - dots[0][0]) / (dots[2][0] - dots[0][0])
    assert share == pytest.approx(0.5 if log else 9 / 99, abs=1e-3)
    assert (dots[1][1] - dots[0][1]) == pytest.approx(dots[2][1] - dots[1][1], abs=0.05)
    assert dots[0][1] == pytest.approx(dots[4][1], abs=0.01) and dots[0][1] > dots[2][1]
    strokes = {e.get("stroke-dasharray") for e in of_class(root, "curve")}
    assert len(strokes) == 2, "colour alone tells no line from another"
    named = {t.text: float(t.get("y", "")) for t in root.iter(f"{SVG}text") if t.text in ("a", "b")}
    assert named["a"] < named["b"]


def ends(root: ElementTree.Element) -> list[tuple[float, float, float]]:
    """The middle, the top and the bottom of each whisker."""
    found = []
    for path in of_class(root, "whisker"):
        at = re.match(r"M([\d.]+) ([\d.]+)V([\d.]+)", path.get("d", ""))
        assert at is not None
        found.append((float(at[1]), float(at[2]), float(at[3])))
    return found


@pytest.mark.parametrize("n", [2, 10, 24, 60])
def test_names_of_many_lines_stay_inside_and_apart(n: int) -> None:
    """All lines end at the bottom of the figure, the worst place for their names."""
    held = [Line(f"line {i}", [Point(1, 100.0 * i), Point(2, 0.0)]) for i in range(n)]
    root = parsed(lines(Chart("t", "x", "y", held)))
    names = [t for t in root.iter(f"{SVG}text") if (t.text or "").startswith("line ")]
    heights = sorted(float(t.get("y", "")) for t in names)
    assert len(heights) == n
    assert all(b - a >= 11 for a, b in itertools.pairwise(heights))
    axis = [t for t in root.iter(f"{SVG}text") if t.text == "x"]
    assert min(heights) > 30 and max(heights) < float(axis[0].get("y", "")) - 20


def test_a_wide_interval_does_not_press_points_together() -> None:
    """Points from 1 to 5 with intervals of 0.4, one of 1,000, which ends in arrows."""
    points = [Point(x, x, x - 0.2, x + 0.2) for x in (1.0, 2.0, 4.0, 5.0)]
    wide = Point(3.0, 3.0, -500.0, 500.0)
    root = parsed(lines(Chart("t", "x", "y", [Line("a", [*points, wide])])))
    dots = [float(c.get("cy", "")) for c in of_class(root, "dot")]
    whiskers = {x: (top, bottom) for x, top, bottom in ends(root)}
    unit = (max(dots) - min(dots)) / 4
    lengths = sorted(bottom - top for top, bottom in whiskers.values())
    assert lengths[:4] == pytest.approx([0.4 * unit] * 4, abs=0.2)
    assert max(dots) - min(dots) > 150
    paths = [p.get("d", "") for p in of_class(root, "whisker")]
    assert sum("h6" not in d for d in paths) == 1
    said = [t.text or "" for t in root.iter(f"{SVG}title")]
    assert any("[-500" in s and "+500" in s for s in said)


def test_intervals_alike_are_all_drawn_whole() -> None:
    points = [Point(x, x / 100, x / 100 - 7, x / 100 + 7) for x in (1.0, 2.0, 3.0)]
    root = parsed(lines(Chart("t", "x", "y", [Line("a", points)])))
    dots = [float(c.get("cy", "")) for c in of_class(root, "dot")]
    unit = (max(dots) - min(dots)) / 0.02
    assert [b - t for _, t, b in ends(root)] == pytest.approx([14 * unit] * 3, rel=0.05)
    assert all("h6" in p.get("d", "") for p in of_class(root, "whisker"))


def test_a_bound_below_zero_goes_to_the_edge_of_a_logarithmic_axis() -> None:
    points = [Point(1.0, 1.0, 0.5, 2.0), Point(2.0, 100.0, -3.0, 200.0)]
    root = parsed(lines(Chart("t", "x", "y", [Line("a", points)], log_y=True)))
    (_, _, first), (_, _, second) = ends(root)
    dots = [float(c.get("cy", "")) for c in of_class(root, "dot")]
    assert second > first > dots[0] > dots[1]


def test_a_chart_of_a_single_point_is_drawn() -> None:
    parsed(lines(Chart("t", "x", "y", [Line("a", [Point(3, 3)])])))


def test_figures_stand_one_below_the_other() -> None:
    one = heatmap(grid({(0, 0): 1.0, (0, 1): 1.0}, 1, 2))
    both = parsed(stacked([one, one]))
    single = [float(n) for n in (parsed(one).get("viewBox") or "").split()]
    assert [float(n) for n in (both.get("viewBox") or "").split()] == pytest.approx(
        [0, 0, single[2], 2 * single[3]], abs=1
    )
    tops = [float(inner.get("y", "")) for inner in both.findall(f"{SVG}svg")]
    assert tops == pytest.approx([0, single[3]], abs=1)
    assert stacked([one]) == one
