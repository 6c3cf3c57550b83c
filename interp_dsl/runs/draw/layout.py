"""Where the nodes of a circuit stand: in rows from the embedding up to the logits, the heads of a
layer side by side, its MLP above them.

Sugiyama, Tagawa and Toda 1981's scheme for layered graphs: sweeps up and down sort each row by the
mean place of its neighbours, and the order with the fewest crossings is kept. Within the order, the
places that lie nearest to those means are found exactly, by isotonic regression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from interp_dsl.runs.circuit import Circuit
from interp_dsl.runs.nodes import Node, in_order, level, parse_node

if TYPE_CHECKING:
    import polars as pl

SWEEPS = 8
BLOCK = 256

Edge = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Layout:
    """`rows` of node names from the bottom up; `x` of every node in node widths, 0 at the left,
    neighbours of a row at least 1 apart."""

    rows: tuple[tuple[str, ...], ...]
    x: Mapping[str, float]
    nodes: Mapping[str, Node]

    @property
    def row(self) -> dict[str, int]:
        """The row of every node."""
        return {name: i for i, row in enumerate(self.rows) for name in row}


def lay_out(circuit: Circuit, edges: pl.DataFrame | None = None) -> Layout:
    """The layout of a circuit's kept edges, or of the `edges` of it that are to be drawn."""
    shown = circuit.edges if edges is None else edges
    pairs = [(s, t) for s, t in shown.select("source", "target").iter_rows() if s != t]
    names = {*shown["source"], *shown["target"]}
    nodes = {name: node for name in names if (node := parse_node(name)) is not None}
    levels = {name: level(node, circuit.graph.n_layers) for name, node in nodes.items()}
    rows: dict[int, list[str]] = {}
    for name in in_order(nodes, circuit.graph.n_layers):
        rows.setdefault(levels[name], []).append(name)
    order, x = _ordered([rows[i] for i in sorted(rows)], sorted(set(pairs)))
    left = min(x.values(), default=0.0)
    return Layout(tuple(map(tuple, order)), {n: v - left for n, v in x.items()}, nodes)


def _ordered(
    rows: list[list[str]], pairs: Sequence[Edge]
) -> tuple[list[list[str]], dict[str, float]]:
    """The rows in the best order that the sweeps come by, and the places."""
    below: dict[str, list[str]] = {name: [] for row in rows for name in row}
    above: dict[str, list[str]] = {name: [] for row in rows for name in row}
    for source, target in pairs:
        above[source].append(target)
        below[target].append(source)
    height = {name: i for i, row in enumerate(rows) for name in row}
    x = {name: i - (len(row) - 1) / 2 for row in rows for i, name in enumerate(row)}
    best, fewest = ([list(row) for row in rows], dict(x)), crossings(pairs, x, height)
    for sweep in range(SWEEPS):
        upward = sweep % 2 == 0
        near = below if upward else above
        for row in rows if upward else reversed(rows):
            means = {n: _mean([x[m] for m in near[n]], x[n]) for n in row}
            row.sort(key=means.__getitem__)
            x.update(zip(row, spread([means[n] for n in row]), strict=True))
        for row in rows:
            means = {n: _mean([x[m] for m in (*below[n], *above[n])], x[n]) for n in row}
            x.update(zip(row, spread([means[n] for n in row]), strict=True))
        found = crossings(pairs, x, height)
        if found < fewest:
            best, fewest = ([list(row) for row in rows], dict(x)), found
    return best


def spread(wanted: Sequence[float], offsets: Sequence[float] | None = None) -> list[float]:
    """The places nearest to those wanted (least squares) of which each is at least as far right of
    the one before as its offset is: 1 where none are given. place - offset must not fall, so pool
    adjacent violators."""
    apart = range(len(wanted)) if offsets is None else offsets
    pools: list[tuple[float, int]] = []
    for place, offset in zip(wanted, apart, strict=True):
        total, count = place - offset, 1
        while pools and pools[-1][0] / pools[-1][1] > total / count:
            before, n = pools.pop()
            total, count = total + before, count + n
        pools.append((total, count))
    means = [total / count for total, count in pools for _ in range(count)]
    return [mean + offset for mean, offset in zip(means, apart, strict=True)]


def crossings(pairs: Sequence[Edge], x: Mapping[str, float], height: Mapping[str, int]) -> int:
    """How many pairs of edges cross as straight lines, those with a common end left out."""
    ends = np.array([[(x[n], height[n]) for n in pair] for pair in pairs]).reshape(-1, 2, 2)
    c, d = ends[None, :, 0], ends[None, :, 1]
    found = 0
    for start in range(0, len(ends), BLOCK):
        a, b = (ends[start : start + BLOCK, None, end] for end in (0, 1))
        cross = (_side(a, b, c) * _side(a, b, d) < 0) & (_side(c, d, a) * _side(c, d, b) < 0)
        found += int(np.triu(cross, start + 1).sum())
    return found


def _side(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """On which side of the line from a to b the point c lies; 0 on it, within rounding."""
    area = (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1])
    area = area - (b[..., 1] - a[..., 1]) * (c[..., 0] - a[..., 0])
    return np.where(np.abs(area) < 1e-9, 0.0, np.sign(area))


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise
