"""How good circuits are, from numbers alone: ROC curves against a known circuit, and faithfulness
over size.

Conmy et al. 2023 (arXiv 2304.14997), section 4 and table 2, for ROC curves; Mueller et al. 2025
(MIB, arXiv 2504.13151) for CPR and CMD. Edges, nodes or any other things that a circuit keeps or
leaves are counted alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Numbers = NDArray[np.float64]
Marks = NDArray[np.bool_]

PER_MILLE = np.array([1, 2, 5, 10, 20, 50, 100, 200, 500, 1000])
FRACTIONS: Numbers = PER_MILLE / 1000
"""MIB's grid: the shares of a graph's edges that a method's circuits keep."""


# ---- which edges are kept


def above(scores: ArrayLike, thresholds: ArrayLike) -> Marks:
    """What is kept at each threshold, scores >= threshold: [thresholds, edges]."""
    return np.asarray(scores, float)[None, :] >= np.asarray(thresholds, float)[:, None]


def strongest(scores: ArrayLike, sizes: ArrayLike) -> Marks:
    """The circuits of the given sizes with the largest scores, ties to the first:
    [sizes, edges]."""
    order = np.argsort(-np.asarray(scores, float), kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return rank[None, :] < np.asarray(sizes)[:, None]


def grid_sizes(n_edges: int) -> NDArray[np.int64]:
    """The sizes of MIB's grid for a graph, rounded down."""
    return PER_MILLE * n_edges // 1000


# ---- against a known circuit


def roc_points(kept: ArrayLike, truth: ArrayLike) -> Numbers:
    """False and true positive rate of each circuit: [circuits, 2] of kept [circuits, edges] and
    truth [edges]. ValueError where the truth has all edges or none: a rate is undefined then."""
    marks, true = _marks(kept, truth)
    if true.all() or not true.any():
        raise ValueError("the true circuit must have some of the edges, not all and not none")
    return np.stack([marks[:, ~true].mean(axis=1), marks[:, true].mean(axis=1)], axis=1)


def precision_recall(kept: ArrayLike, truth: ArrayLike) -> Numbers:
    """Precision and recall of each circuit, [circuits, 2]; a circuit of nothing is precise (1)."""
    marks, true = _marks(kept, truth)
    if not true.any():
        raise ValueError("the true circuit has no edges")
    hits, sizes = marks[:, true].sum(axis=1), marks.sum(axis=1)
    precision = np.where(sizes > 0, hits / np.maximum(sizes, 1), 1.0)
    return np.stack([precision, hits / true.sum()], axis=1)


def frontier(points: ArrayLike) -> Numbers:
    """The points (FPR, TPR) by FPR, between (0, 0) and (1, 1), without those of less TPR than a
    point of no more FPR has. [points, 2]"""
    held = np.asarray(points, float).reshape(-1, 2)
    if held.size and not ((held >= 0) & (held <= 1)).all():
        raise ValueError("rates lie between 0 and 1")
    best, kept = 0.0, [(0.0, 0.0)]
    for fpr, tpr in held[np.lexsort((-held[:, 1], held[:, 0]))]:
        if tpr >= best:
            best = tpr
            kept.append((fpr, tpr))
    return np.array([*kept, (1.0, 1.0)])


def auc_pessimistic(points: ArrayLike) -> float:
    """Area under the frontier's staircase: between two points only the TPR of the left one is
    known to be reached. The convention of Conmy et al.'s table 2."""
    fpr, tpr = frontier(points).T
    return float(np.diff(fpr) @ tpr[:-1])


def auc_trapezoid(points: ArrayLike) -> float:
    """Area under the straight lines between the frontier's points: what circuits chosen at random
    between two neighbours reach. Never below the staircase."""
    fpr, tpr = frontier(points).T
    return _area(fpr, tpr)


# ---- faithfulness over size


def faithfulness(values: ArrayLike, empty: float, full: float) -> Numbers:
    """(m(C) - m(empty)) / (m(full) - m(empty)): 0 with every edge ablated, 1 with none."""
    if full == empty:
        raise ValueError("the whole model and the empty circuit measure the same: nothing to share")
    return (np.asarray(values, float) - empty) / (full - empty)


def cpr(faithful: ArrayLike) -> float:
    """MIB's integrated circuit performance ratio, the area under faithfulness [10] over FRACTIONS;
    higher is better. The area begins at 0.1 % of the edges, so that faithfulness 1 throughout gives
    0.999."""
    return _area(FRACTIONS, _on_grid(faithful))


def cmd(faithful: ArrayLike) -> float:
    """MIB's integrated circuit-model distance, the area under |1 - faithfulness| [10] over
    FRACTIONS; lower is better, 0 is perfect."""
    return _area(FRACTIONS, np.abs(1 - _on_grid(faithful)))


def size_curve(sizes: ArrayLike, values: ArrayLike, empty: float, full: float) -> Numbers:
    """Edges and faithfulness of circuits, [circuits, 2], by size, equal ones as given."""
    held = np.stack([np.asarray(sizes, float), faithfulness(values, empty, full)], axis=1)
    return held[np.argsort(held[:, 0], kind="stable")]


def smallest(curve: ArrayLike, at_least: float) -> int | None:
    """Edges of the smallest circuit of a size curve that is as faithful as that; None where none
    is."""
    held = np.asarray(curve, float).reshape(-1, 2)
    reached = held[held[:, 1] >= at_least, 0]
    return int(reached.min()) if len(reached) else None


def _marks(kept: ArrayLike, truth: ArrayLike) -> tuple[Marks, Marks]:
    marks, true = np.atleast_2d(np.asarray(kept, bool)), np.asarray(truth, bool)
    if marks.shape[1:] != true.shape:
        raise ValueError(f"circuits over {marks.shape[1]} edges, the truth over {len(true)}")
    return marks, true


def _on_grid(faithful: ArrayLike) -> Numbers:
    held = np.asarray(faithful, float)
    if held.shape != FRACTIONS.shape:
        raise ValueError(f"{held.shape} values for the {len(FRACTIONS)} sizes of the grid")
    return held


def _area(x: Numbers, y: Numbers) -> float:
    return float(np.diff(x) @ (y[1:] + y[:-1]) / 2)
