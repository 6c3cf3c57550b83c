"""ROC curves, areas and faithfulness over size: by hand, by brute force, from published points."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from interp_dsl.circuits.curves import (
    FRACTIONS,
    above,
    auc_pessimistic,
    auc_trapezoid,
    cmd,
    cpr,
    faithfulness,
    frontier,
    grid_sizes,
    precision_recall,
    roc_points,
    size_curve,
    smallest,
    strongest,
)

PUBLISHED = Path(__file__).parent / "acdc_points.csv"
REFERENCE = Path(__file__).resolve().parents[3] / "shared" / "data" / "circuit-reference"
RATES = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=8).map(
    lambda found: np.array(found, float).reshape(-1, 2) / 8
)


# ** points **


def test_rates_of_three_circuits_of_five_edges() -> None:
    truth = [True, True, False, False, False]
    kept = [[True, False, False, False, False], [True, True, True, False, False], [False] * 5]
    assert roc_points(kept, truth).tolist() == [[0, 0.5], [1 / 3, 1], [0, 0]]
    assert precision_recall(kept, truth).tolist() == [[1, 0.5], [2 / 3, 1], [1, 0]]


@pytest.mark.parametrize("truth", [[True, True], [False, False]])
def test_rates_need_edges_inside_and_outside(truth: list[bool]) -> None:
    with pytest.raises(ValueError, match="not all and not none"):
        roc_points([[True, False]], truth)


def test_circuits_and_truth_are_over_the_same_edges() -> None:
    with pytest.raises(ValueError, match="over 2 edges, the truth over 3"):
        roc_points([[True, False]], [True, False, True])


def test_edges_at_thresholds_and_at_sizes() -> None:
    scores = [0.5, -1.0, 2.0, 0.5]
    assert above(scores, [0.5, 1.0]).tolist() == [
        [True, False, True, True],
        [False, False, True, False],
    ]
    assert strongest(scores, [0, 2, 4]).tolist() == [
        [False] * 4,
        [True, False, True, False],
        [True] * 4,
    ]


# ** areas **


def test_areas_of_one_point_by_hand() -> None:
    # staircase 0·¼ + ½·¾; trapezoids ¼·½/2 + ¾·(½+1)/2
    assert auc_pessimistic([[0.25, 0.5]]) == 0.375
    assert auc_trapezoid([[0.25, 0.5]]) == 0.0625 + 0.5625


def test_areas_without_points_and_of_the_perfect_circuit() -> None:
    assert (auc_pessimistic([]), auc_trapezoid([])) == (0.0, 0.5)
    assert (auc_pessimistic([[0, 1]]), auc_trapezoid([[0, 1]])) == (1.0, 1.0)


def test_a_point_that_another_beats_is_not_on_the_frontier() -> None:
    points = [[0.5, 0.75], [0.25, 0.5], [0.5, 0.25], [0.75, 0.5]]
    assert frontier(points).tolist() == [[0, 0], [0.25, 0.5], [0.5, 0.75], [1, 1]]
    with pytest.raises(ValueError, match="between 0 and 1"):
        frontier([[0.5, 1.5]])


@given(RATES)
def test_the_frontier_is_what_no_point_beats(points: np.ndarray) -> None:
    beaten = [
        any(p[0] <= q[0] and p[1] > q[1] for p in [*points.tolist(), [0.0, 0.0]]) for q in points
    ]
    left = {tuple(q) for q, out in zip(points, beaten, strict=True) if not out}
    assert {tuple(q) for q in frontier(points)} == left | {(0.0, 0.0), (1.0, 1.0)}


@given(RATES)
def test_the_staircase_counts_the_cells_below_it(points: np.ndarray) -> None:
    below = sum(
        max((tpr for fpr, tpr in points if fpr <= cell / 8), default=0.0) for cell in range(8)
    )
    assert auc_pessimistic(points) == pytest.approx(below / 8)
    assert auc_pessimistic(points) <= auc_trapezoid(points) + 1e-12


@given(arrays(float, 12, elements=st.integers(0, 30)), arrays(bool, 12))
def test_the_area_of_a_ranking_is_the_share_of_ordered_pairs(
    scores: np.ndarray, truth: np.ndarray
) -> None:
    """Without ties the ROC's trapezoids are the Mann-Whitney statistic, but the frontier of the
    points may only be higher."""
    if truth.all() or not truth.any():
        return
    scores = scores + np.arange(12) / 100
    pairs = [a > b for a in scores[truth] for b in scores[~truth]]
    points = roc_points(above(scores, scores), truth)
    assert auc_trapezoid(points) >= np.mean(pairs) - 1e-12
    if auc_pessimistic(points) == 1.0:
        assert all(pairs)


@pytest.mark.parametrize(
    ("task", "metric", "level", "pessimistic", "trapezoid"),
    [
        ("docstring", "kl", "edge", 0.982, 0.985),
        ("docstring", "task", "edge", 0.972, 0.977),
        ("greater-than", "kl", "edge", 0.853, 0.910),
        ("greater-than", "task", "edge", 0.461, 0.559),
        ("ioi", "kl", "edge", 0.869, 0.886),
        ("ioi", "task", "edge", 0.589, 0.670),
        ("docstring", "kl", "node", 0.950, None),
        ("docstring", "task", "node", 0.938, None),
        ("greater-than", "kl", "node", 0.890, None),
        ("greater-than", "task", "node", 0.766, None),
        ("ioi", "kl", "node", 0.880, None),
        ("ioi", "task", "node", 0.777, None),
        ("tracr-reverse", "l2", "edge", 0.200, None),
    ],
)
def test_areas_of_published_points(
    task: str, metric: str, level: str, pessimistic: float, trapezoid: float | None
) -> None:
    """ACDC's circuits under corrupted activations, as counts of edges or nodes that are and are not
    in the known circuit: Conmy et al. 2023, table 2, from the authors' published sweeps."""
    rows = pl.read_csv(PUBLISHED).filter(task=task, metric=metric, level=level)
    assert len(rows)
    points = rows.select(
        pl.col("false_positives") / pl.col("negatives"),
        pl.col("true_positives") / pl.col("positives"),
    ).to_numpy()
    assert round(auc_pessimistic(points), 3) == pessimistic
    if trapezoid is not None:
        assert round(auc_trapezoid(points), 3) == trapezoid


# ** faithfulness over size **


def test_faithfulness_is_a_share_of_the_gap() -> None:
    assert faithfulness([1.0, 3.0, 4.0], 1.0, 3.0).tolist() == [0.0, 1.0, 1.5]
    with pytest.raises(ValueError, match="measure the same"):
        faithfulness([1.0], 2.0, 2.0)


def test_cpr_and_cmd_of_constant_faithfulness() -> None:
    assert cpr(np.ones(10)) == pytest.approx(0.999)
    assert cmd(np.ones(10)) == 0.0
    assert cpr(np.full(10, 1.25)) == pytest.approx(1.25 * 0.999)
    assert cmd(np.full(10, 1.25)) == pytest.approx(0.25 * 0.999)


def test_cpr_and_cmd_of_a_step_by_hand() -> None:
    # 0 up to 10 % of the edges, 1 from 20 % on: a ramp of width 0.1 and height 1, then 0.8 of 1
    step = [0.0] * 7 + [1.0] * 3
    assert cpr(step) == pytest.approx(0.05 + 0.8)
    assert cmd(step) == pytest.approx(0.099 + 0.05)
    with pytest.raises(ValueError, match="10 sizes"):
        cpr([1.0])


@given(st.integers(1, 10**7))
def test_sizes_of_the_grid_round_down(n_edges: int) -> None:
    sizes = grid_sizes(n_edges)
    assert sizes[-1] == n_edges
    assert all(0 <= f * n_edges - size < 1 + 1e-6 for f, size in zip(FRACTIONS, sizes, strict=True))


def test_the_smallest_circuit_that_is_faithful_enough() -> None:
    curve = size_curve([30, 10, 20], [3.0, 1.0, 2.8], 0.0, 3.0)
    assert curve[:, 0].tolist() == [10, 20, 30]
    assert [smallest(curve, level) for level in (0.3, 0.9, 1.0, 1.1)] == [10, 20, 30, None]


@pytest.mark.skipif(not REFERENCE.is_dir(), reason="needs ../shared/data/circuit-reference")
def test_published_circuits_of_ioi_by_size() -> None:
    """Hanna et al. 2024 (arXiv 2403.17806), GPT-2 small on IOI: a logit difference of 2.69 of 3.81
    with 1,849 edges by EAP-IG, of 2.45 with 1,812 by EAP; fewer edges reach both."""
    table = pl.read_csv(REFERENCE / "pareto.ioi.csv")
    full, empty = (table[name][0] for name in ("baseline", "corrupted_baseline"))
    for method, size, value, enough in (("EAP-IG", 1849, 2.69, 1757), ("EAP", 1812, 2.45, 362)):
        sizes, values = table[f"edges_{method}"], table[f"loss_{method}"]
        curve = size_curve(sizes, values, empty, full)
        share = curve[curve[:, 0] == size, 1].item()
        assert share == pytest.approx((value - empty) / (full - empty), abs=0.002)
        by_hand = min(n for n, found in zip(sizes, values, strict=True) if found >= value - 0.005)
        assert by_hand == enough == smallest(curve, (value - 0.005 - empty) / (full - empty))


@pytest.mark.skipif(not REFERENCE.is_dir(), reason="needs ../shared/data/circuit-reference")
@pytest.mark.parametrize(("task", "true"), [("greater-than", 240), ("ioi", 215)])
def test_published_overlaps_with_known_circuits(task: str, true: int) -> None:
    """The same paper's precision and recall of the first n edges: put back into marks of single
    edges, they come out again, and both methods' ROC curves lie above chance."""
    table = pl.read_csv(REFERENCE / f"overlap.{task}.csv")
    truth = np.arange(32_491) < true
    for method in ("EAP", "EAP-IG"):
        published = table.select(f"{method}_edge_precision", f"{method}_edge_recall").to_numpy()
        hits = np.round(published[:, 1] * true).astype(int)
        n = np.round(hits / np.where(hits, published[:, 0], 1)).astype(int)
        kept = np.zeros((len(table), len(truth)), bool)
        for row, found, size in zip(kept, hits, n, strict=True):
            row[:found] = True
            row[true : true + size - found] = True
        filled = n > 0
        np.testing.assert_allclose(precision_recall(kept, truth)[filled], published[filled])
        points = roc_points(kept, truth)
        assert 0.5 < auc_trapezoid(points) < 1


def test_the_scores_need_no_torch() -> None:
    said = "import sys, interp_dsl.circuits.curves; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", said], check=False).returncode == 0
