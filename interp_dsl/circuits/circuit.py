"""What ACDC finds of every edge, finished or on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from interp_dsl.circuits.progress import Snapshot
from interp_dsl.models.graph import Bools, Ints

Floats = NDArray[np.float64]


@dataclass
class Circuit:
    """What a search has found, by the number of an edge [E]: `order` its rank, -1 where it was
    not searched; its `effect`; the running `score` after it was judged; its `margin` effect - τ (of
    |effect| under `absolute`), below 0 for what is removed; whether it was `evaluated`, or dropped
    or judged as dead; whether it is `kept`. The first `judged` edges of the order are done. `tests`
    counts the candidates run, `again` the edges so near to the threshold that they were measured
    again."""

    threshold: float
    start: float
    order: Ints
    effect: Floats
    score: Floats
    margin: Floats
    evaluated: Bools
    kept: Bools
    judged: int = 0
    tests: int = 0
    again: int = 0

    @property
    def final(self) -> float:
        """The running score at the end."""
        return float(self.score[self.order.argmax()])


def blank(threshold: float, order: Ints, n_edges: int) -> Circuit:
    """Before a search of the edges in this order: all edges kept."""
    rank = np.full(n_edges, -1)
    rank[order] = np.arange(len(order))
    effect, score, margin = np.zeros((3, n_edges))
    evaluated, kept = np.zeros(n_edges, dtype=bool), np.ones(n_edges, dtype=bool)
    return Circuit(threshold, 0.0, rank, effect, score, margin, evaluated, kept)


def stacked(circuits: Sequence[Circuit]) -> Snapshot:
    """Every field of some circuits, stacked."""
    return {
        field.name: np.stack([getattr(circuit, field.name) for circuit in circuits])
        for field in fields(Circuit)
    }


def unstacked(snapshot: Snapshot) -> list[Circuit]:
    """The circuits of a snapshot; of an empty one, none."""
    values = [snapshot[field.name] for field in fields(Circuit)] if snapshot else []
    return [
        Circuit(*(x.item() if x.ndim == 0 else x.copy() for x in held))
        for held in zip(*values, strict=True)
    ]
