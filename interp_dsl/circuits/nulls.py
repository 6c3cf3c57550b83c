"""What faithfulness comes to by chance: random circuits of a circuit's size, and the circuit with
other examples' ablated values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from interp_dsl.circuits.evidence import faithfulness
from interp_dsl.circuits.ranked import refuse_direct
from interp_dsl.circuits.setting import Floats, Setting
from interp_dsl.models.graph import Bools, Graph

TRIES = 100


def random_null(setting: Setting, n: int, count: int, seed: int) -> Floats:
    """Normalised faithfulness of random circuits of n edges, [count]."""
    return faithfulness(setting, random_circuits(setting.graph, n, count, seed)).normalized


def shuffled_null(setting: Setting, kept: Bools, count: int, seed: int) -> Floats:
    """Normalised faithfulness of a circuit [E] where every example gets the ablated values of
    another one, [count] draws. The empty circuit gets them too. Examples should have their parts at
    the same positions. Raises ValueError for a single example or values that all of them share."""
    if len(setting.tokens) < 2 or setting.ablated.shape[1] < 2:
        raise ValueError("shuffling needs two examples or more with ablated values of their own")
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        ring = rng.permutation(len(setting.tokens))
        order = np.empty_like(ring)
        order[ring] = np.roll(ring, 1)
        other = setting.ablated[:, torch.from_numpy(order).to(setting.ablated.device)]
        found.append(faithfulness(replace(setting, ablated=other), kept).normalized)
    return np.array(found)


def random_circuits(graph: Graph, n: int, count: int, seed: int) -> Bools:
    """Circuits of exactly n edges, all on paths from an embedding to the logits: [count, E]. Edges
    come in random order, each with a random way from what the circuit reaches and to it, as far as
    that fits. Raises ValueError where no circuit has n edges."""
    rng = np.random.default_rng(seed)
    return np.array([_one(graph, n, rng) for _ in range(count)]).reshape(count, graph.n_edges)


def _one(graph: Graph, n: int, rng: np.random.Generator) -> Bools:
    refuse_direct(graph)
    for _ in range(TRIES):
        draw = _Draw(graph, rng)
        while len(draw.kept) < n and draw.add(n):
            pass
        if len(draw.kept) == n:
            kept = np.zeros(graph.n_edges, dtype=bool)
            kept[list(draw.kept)] = True
            return kept
    raise ValueError(f"no circuit of {n} edges was found in {TRIES} tries")


class _Draw:
    """One random circuit as it grows: its edges, and the nodes that lie on its paths (-1 for the
    logits)."""

    def __init__(self, graph: Graph, rng: np.random.Generator) -> None:
        self.kept: set[int] = set()
        self._rng = rng
        self._sources = graph.sender_of.tolist()
        self._targets = graph.node_of[graph.receiver_of].tolist()
        self._inside = {-1, *range(len(graph.embeds))}
        self._into: dict[int, list[int]] = {}
        self._out_of: dict[int, list[int]] = {}
        for edge, (source, target) in enumerate(zip(self._sources, self._targets, strict=True)):
            self._into.setdefault(target, []).append(edge)
            self._out_of.setdefault(source, []).append(edge)

    def add(self, most: int) -> bool:
        """Try every edge once, as long as there are fewer than `most`; has one been added?"""
        before = len(self.kept)
        for edge in self._rng.permutation(len(self._sources)).tolist():
            if len(self.kept) == most:
                break
            if edge not in self.kept:
                path = self._path(edge)
                if len(self.kept) + len(path) <= most:
                    self.kept.update(path)
                    self._inside.update(self._sources[one] for one in path)
        return len(self.kept) > before

    def _path(self, edge: int) -> list[int]:
        """The edge with a random way to it and on from it; all of them are new."""
        path = [edge]
        source, target = self._sources[edge], self._targets[edge]
        while source not in self._inside:
            path.append(self._any(self._into[source]))
            source = self._sources[path[-1]]
        while target not in self._inside:
            path.append(self._any(self._out_of[target]))
            target = self._targets[path[-1]]
        return path

    def _any(self, edges: list[int]) -> int:
        return edges[int(self._rng.integers(len(edges)))]
