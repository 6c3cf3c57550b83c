"""Completeness and minimality of a circuit (Wang et al. 2023, arXiv 2211.00593, section 4).

    complete:  |m(C ∖ K) - m(M ∖ K)| is small for every K ⊆ C
    minimal:   for every v in C some K ⊆ C ∖ v makes |m(C ∖ (K ∪ v)) - m(C ∖ K)| large

M is the whole model, m the metric's mean over examples. K and v are sets of edges: a node is all
edges out of it, so that a node knocked out is one whose output is ablated everywhere."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from interp_dsl.circuits.setting import Floats, Setting
from interp_dsl.models.graph import Bools, Graph, Ints

# ** sets of edges **


def node_set(graph: Graph, nodes: Iterable[str]) -> Bools:
    """All edges out of nodes, by the names of senders: [E]. Raises ValueError for another name."""
    numbers = []
    for name in nodes:
        if name not in graph.senders:
            raise ValueError(f"no sender {name!r} in this graph")
        numbers.append(graph.senders.index(name))
    return np.isin(graph.sender_of, numbers)


def nodes_in(graph: Graph, kept: Bools) -> tuple[str, ...]:
    """The heads and MLPs that edges of a circuit [E] come from."""
    senders = np.unique(graph.sender_of[kept & (graph.sender_of >= len(graph.embeds))])
    return tuple(graph.senders[sender] for sender in senders)


def each_node(graph: Graph, kept: Bools) -> Bools:
    """A set for each of a circuit's heads and MLPs, in the order of `nodes_in`: [nodes, E]."""
    sets = [node_set(graph, [name]) for name in nodes_in(graph, kept)]
    return np.array(sets, dtype=bool).reshape(-1, graph.n_edges)


def each_edge(kept: Bools) -> Bools:
    """A set for each edge of a circuit, [edges, E]."""
    edges = np.flatnonzero(kept)
    sets = np.zeros((len(edges), len(kept)), dtype=bool)
    sets[np.arange(len(edges)), edges] = True
    return sets


def random_sets(graph: Graph, kept: Bools, count: int, seed: int) -> Bools:
    """Sets that hold each head and MLP of a circuit with probability 1/2: [count, E]."""
    senders = [graph.senders.index(name) for name in nodes_in(graph, kept)]
    drawn = np.zeros((count, len(graph.senders) + 1), dtype=bool)  # the last: of direct edges
    drawn[:, senders] = np.random.default_rng(seed).random((count, len(senders))) < 0.5
    return drawn[:, graph.sender_of]


# ** criteria **


def incompleteness(setting: Setting, kept: Bools, sets: Bools) -> Floats:
    """|m(C ∖ K) - m(M ∖ K)| for each K of [sets, E]: [sets]. No edges are the empty K."""
    alone, model = setting.means(np.stack([kept & ~sets, ~sets]))
    distance: Floats = np.abs(alone - model)
    return distance


def worst_set(setting: Setting, kept: Bools, most: int = 10) -> tuple[Bools, float]:
    """A K of at most so many of the circuit's nodes for which it is least complete, and its
    incompleteness: the node that raises it most joins, again and again, and the best K on the way
    counts. Each turn measures every node left."""
    nodes = each_node(setting.graph, kept)
    chosen = np.zeros_like(kept)
    worst, distance = chosen, float(incompleteness(setting, kept, chosen[None])[0])
    for _ in range(min(most, len(nodes))):
        found = incompleteness(setting, kept, nodes | chosen)
        joins = int(found.argmax())
        chosen, nodes = nodes[joins] | chosen, np.delete(nodes, joins, axis=0)
        if found[joins] > distance:
            worst, distance = chosen, float(found[joins])
    return worst, distance


@dataclass(frozen=True)
class Minimality:
    """For each unit v: the largest `change` [units] of m, without its sign, and which K, by number
    [units], it was found with."""

    change: Floats
    with_set: Ints


def minimality(
    setting: Setting, kept: Bools, units: Bools, sets: Bools | None = None
) -> Minimality:
    """For each v of `units` [units, E], the most that taking it away changes over every K of `sets`
    [sets, E], v not counted among K. None: the empty K alone."""
    found = []
    for k in setting.empty[None] if sets is None else sets:
        without_k = kept & ~(k & ~units)
        with_v, without_v = setting.means(np.stack([without_k, without_k & ~units]))
        found.append(np.abs(without_v - with_v))
    change = np.stack(found)
    return Minimality(change.max(0), change.argmax(0))
