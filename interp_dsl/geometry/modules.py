"""Modules of a chain of layers: communities of the graph of interactions between its directions
(Bushnaq et al. 2024, arXiv 2405.10928).

A node is a direction of a layer. The weight of an edge E of layer l is log10(E / e_l), 0 below e_l,
the least edge of that layer that the model needs for its score: interactions are compared by orders
of magnitude."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from interp_dsl.geometry.communities import Edge, louvain, modularity

Partition = Callable[[int, Sequence[Edge]], tuple[int, ...]]


@dataclass(frozen=True)
class Module:
    """`size` directions in layers `first` to `last`."""

    number: int
    size: int
    first: int
    last: int


@dataclass(frozen=True)
class Modules:
    """`labels`: the community of each layer's directions; directions without an edge are alone.
    `share`: of all edge weight, what is inside of communities."""

    labels: tuple[tuple[int, ...], ...]
    modularity: float
    share: float

    @property
    def table(self) -> list[Module]:
        """Communities of more than one direction, the largest first."""
        where: dict[int, list[int]] = {}
        for layer, labels in enumerate(self.labels):
            for label in labels:
                where.setdefault(label, []).append(layer)
        found = [
            Module(label, len(layers), min(layers), max(layers))
            for label, layers in where.items()
            if len(layers) > 1
        ]
        return sorted(found, key=lambda module: (-module.size, module.number))


def modules(
    edges: Sequence[Tensor],
    least: Sequence[float],
    partition: Partition = louvain,
    resolution: float = 1,
) -> Modules:
    """edges [upper, lower] of each layer to the next, squared interactions; `least` is e_l."""
    sizes = [edges[0].shape[1], *(e.shape[0] for e in edges)]
    graph = logarithmic(edges, least)
    labels = partition(sum(sizes), graph)
    inside = sum(w for one, other, w in graph if labels[one] == labels[other])
    total = sum(w for *_, w in graph)
    return Modules(
        _by_layer(labels, sizes),
        modularity(sum(sizes), graph, labels, resolution),
        inside / total if total else 0.0,
    )


def logarithmic(edges: Sequence[Tensor], least: Sequence[float]) -> list[Edge]:
    """The weighted graph; nodes are numbered layer by layer, the first layer's first."""
    graph: list[Edge] = []
    below = 0
    for values, floor in zip(edges, least, strict=True):
        above = below + values.shape[1]
        weights = (values / floor).log10()
        for i, j in (weights > 0).nonzero().tolist():
            graph.append((below + j, above + i, float(weights[i, j])))
        below = above
    return graph


def _by_layer(labels: Sequence[int], sizes: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    parts = torch.split(torch.tensor(labels), list(sizes))
    return tuple(tuple(part.tolist()) for part in parts)
