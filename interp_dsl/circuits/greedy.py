"""Backward elimination: take away, again and again, the edge that is missed least.

    H = all edges
    while |H| > n:
        e = argmin F(H - e) over e in H
        H = H - e

F is the metric's mean over examples, by real evaluation of every candidate. What hangs in the air
without e goes with it, before the candidate is measured: candidates are circuits as they would be
left. Unlike ACDC, all edges are compared before one goes, so that no order decides; of two edges
that do for each other, one stays.

A turn evaluates at most |H| circuits, one for edges that leave the same behind; all turns to the
end fewer than E² / 2 when edges go one at a time: for graphs of hundreds of edges. `share` takes
that part of the edges left at once, at least one; turns are then log(E) / share, evaluations
E / share, but edges that do for each other may go together."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from interp_dsl.circuits.found import Found
from interp_dsl.circuits.progress import Progress, Snapshot
from interp_dsl.circuits.setting import Floats, Setting
from interp_dsl.models.graph import Bools
from interp_dsl.models.paths import on_path


@dataclass(frozen=True)
class Elimination(Found):
    """`scores` holds the turn, from 1, in which an edge went; for those that stayed one more than
    the last. `effect` [E] is F(H - e) - F(H) when last measured."""

    effect: Floats

    def after(self, turn: int) -> Bools:
        """The circuit [E] that was left after a turn."""
        return self.scores > turn


def greedy(
    setting: Setting,
    n: int = 0,
    limit: float = math.inf,
    share: float = 0.0,
    among: Bools | None = None,
    snapshot: Snapshot | None = None,
) -> Generator[Progress, None, Elimination]:
    """Eliminate until at most n edges are left, or until the next turn would raise F above
    `limit`. Of `among` [E] only these edges go and are counted; all others stay. Any turn can be
    the one to go on from."""
    graph = setting.graph
    stays = setting.empty if among is None else ~among
    count = int((~stays).sum())
    if snapshot is None:
        kept = on_path(graph, setting.full) | stays
        score = float(setting.means(kept))
        turn, turns, effect = 0, np.zeros(graph.n_edges), np.zeros(graph.n_edges)
    else:
        kept, turns, effect = (snapshot[name].copy() for name in ("kept", "turns", "effect"))
        turn, score = int(snapshot["turn"]), float(snapshot["score"])

    def made() -> Snapshot:
        held = {"kept": kept, "turns": turns, "effect": effect, "turn": turn, "score": score}
        return {name: np.array(value) for name, value in held.items()}

    while True:
        edges = np.flatnonzero(kept & ~stays)
        yield Progress(math.nan, count - len(edges), count - n, int(kept.sum()), score, made)
        if len(edges) <= n:
            break
        without = np.tile(kept, (len(edges), 1))
        without[np.arange(len(edges)), edges] = False
        without = on_path(graph, without) | stays
        circuits, which = np.unique(without, axis=0, return_inverse=True)
        scores = setting.means(circuits)[which]
        effect[edges] = scores - score
        least = np.argsort(scores, kind="stable")[: max(1, int(share * len(edges)))]
        left = np.asarray(without[least].all(0))
        value = float(scores[least[0]])
        if len(least) > 1:
            left = on_path(graph, left) | stays
            value = float(setting.means(left))
        if value > limit:
            break
        turn += 1
        turns[kept & ~left] = turn
        kept, score = left, value
    turns[kept] = turn + 1
    return Elimination(kept, turns, score, effect)
