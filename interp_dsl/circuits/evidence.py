"""How well circuits stand for the model: what they measure alone, and the model without them.

The metric m is of any sign and need not be small. A circuit alone is the model with all other edges
ablated; f = (m(C) - m(∅)) / (m(full) - m(∅)) is a ratio of means over examples, 0 for no edges and
1 for all (Mueller et al. 2025, MIB, arXiv 2504.13151)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from interp_dsl.circuits import curves
from interp_dsl.circuits.ranked import top_edges
from interp_dsl.circuits.setting import Floats, Setting
from interp_dsl.models.graph import Bools


@dataclass(frozen=True)
class Faithfulness:
    """The metric by example: of each circuit, [..., B]; of the model with no edges and with all of
    them, [B]."""

    circuit: Floats
    empty: Floats
    full: Floats

    @property
    def raw(self) -> Floats:
        """m(C), mean over examples: [...]."""
        means: Floats = self.circuit.mean(-1)
        return means

    @property
    def normalized(self) -> Floats:
        """f, [...]. Raises ValueError where no edges measure the same as all."""
        return curves.faithfulness(self.raw, float(self.empty.mean()), float(self.full.mean()))


def faithfulness(setting: Setting, kept: Bools) -> Faithfulness:
    """Of circuits [..., E], all measured in one batch."""
    circuits = kept.reshape(-1, kept.shape[-1])
    values = setting.values(np.concatenate([[setting.empty, setting.full], circuits]))
    return Faithfulness(values[2:].reshape(*kept.shape[:-1], -1), values[0], values[1])


def knocked_out(setting: Setting, kept: Bools) -> Faithfulness:
    """The model without circuits [..., E]: all edges but theirs. What a complete circuit leaves
    behind measures as no edges do."""
    return faithfulness(setting, ~kept)


@dataclass(frozen=True)
class SizeCurve:
    """Circuits [10, E] of MIB's sizes by one ranking of edges, with f [10] and the areas."""

    kept: Bools
    faithful: Floats

    @property
    def sizes(self) -> Floats:
        """Edges of each circuit, [10]; where a few hang on no path, fewer than the grid asks."""
        sizes: Floats = self.kept.sum(-1).astype(float)
        return sizes

    @property
    def cpr(self) -> float:
        return curves.cpr(self.faithful)

    @property
    def cmd(self) -> float:
        return curves.cmd(self.faithful)


def size_curve(
    setting: Setting, scores: ArrayLike, absolute: bool = True, grown: bool = False
) -> SizeCurve:
    """By scores [E], as in `top_edges`."""
    graph = setting.graph
    sizes = curves.grid_sizes(graph.n_edges)
    kept = np.stack([top_edges(graph, scores, n, None, absolute, grown) for n in sizes.tolist()])
    return SizeCurve(kept, faithfulness(setting, kept).normalized)
