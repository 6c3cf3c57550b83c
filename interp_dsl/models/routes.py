"""What units of edges and of paths come to in a model's graph. No torch.

A path `A -> B -> C` is the effect of A on C through B alone (path patching, Goldowsky-Dill et al.
2023, arXiv 2304.05969): B is computed from what the measured run gives it but for the edge from A,
C reads that B, and only what lies behind C is recomputed. Several paths at once are the treeified
hypothesis of that paper as long as they make no further path between them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np

from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.models.graph import Bools, Graph, Ints
from interp_dsl.plan.names import hops, node_of
from interp_dsl.plan.places import ALL, Positions, Unit

KINDS = ("heads", "mlps")
"""Nodes that may let an effect through."""


class Route(NamedTuple):
    """Where a unit's effect starts, `origins` (senders), and by number the edges `along` which it
    then travels, and those by which it enters the run, `last`, at their positions. A node that is
    no origin is computed anew from what travels to it, and nothing else of it differs."""

    origins: tuple[int, ...]
    along: tuple[int, ...]
    last: dict[Positions, tuple[int, ...]]


class Routes:
    """Units' routes in a graph without direct edges, the model's `name` for messages. Between a
    sender and its receiver, nodes of the kinds `through` carry the effect too."""

    def __init__(self, graph: Graph, name: str, through: Sequence[str] = ()) -> None:
        self.graph, self.through, self._name = graph, tuple(through), name
        self._senders = {sender: number for number, sender in enumerate(graph.senders)}
        self._receivers: dict[str, list[int]] = {}
        for number, (target, channel) in enumerate(graph.receivers):
            self._receivers.setdefault(target, []).append(number)
            self._receivers.setdefault(f"{target}.{channel}", []).append(number)

    def of(self, unit: Unit) -> Route:
        """The route of a unit. Raises InterpError E201 for an edge that the graph lacks, E657 for
        paths that make others when they are changed at once."""
        extra = stray(unit)
        if extra is not None:
            raise InterpError(strays(unit, extra), exit_code=1)
        along: dict[int, None] = {}
        last: dict[Positions, dict[int, None]] = {}
        spread: dict[int, set[int]] = {}
        for target in unit.targets:
            *inner, final = (self._hop(hop) for hop in hops(str(target.site.edge)))
            entering = last.setdefault(target.positions, {})
            for sender, receivers in inner:
                along |= dict.fromkeys(self._carried(sender, receivers, along))
            entering |= dict.fromkeys(self._carried(*final, along))
            for sender, receivers in (*inner, final):
                spread.setdefault(sender, set()).update(receivers)
        if self.through and len(spread) > 1:
            self._check_spread(unit, spread)
        starts = (str(t.site.edge).partition(" -> ")[0] for t in unit.targets)
        origins = dict.fromkeys(self._senders[start] for start in starts)
        return Route(tuple(origins), tuple(along), {at: tuple(e) for at, e in last.items()})

    def marked(self, units: Iterable[Unit]) -> Bools:
        """Which edges of the graph [E] units of edges name, at their places where it has some."""
        found = np.zeros(self.graph.n_edges, dtype=bool)
        for unit in units:
            for at, entering in self.of(unit).last.items():
                place = self.graph.places.index(str(at)) if self.graph.places else 0
                found[np.array(entering) + place * self.graph.n_additive] = True
        return found

    def _hop(self, hop: str) -> tuple[int, tuple[int, ...]]:
        """The sender and the receivers of an edge; of one to a head as a whole, its three."""
        start, _, end = hop.partition(" -> ")
        sender, receivers = self._senders.get(start), self._receivers.get(end, [])
        seen = (self.graph.group_of[receiver].senders for receiver in receivers)
        if sender is None or not receivers or any(sender >= n for n in seen):
            raise InterpError(
                Diagnostic(
                    "E201",
                    f"{self._name} has no edge {hop}",
                    help="an edge leads forward, from what it has to what it has",
                )
            )
        return sender, tuple(receivers)

    def _carried(
        self, sender: int, receivers: tuple[int, ...], along: dict[int, None]
    ) -> Iterable[int]:
        """The edges into the receivers of one hop, from its sender and from what lets the effect
        through; the edges to and between these join those along which it travels."""
        carriers: list[int] = []
        if self.through:
            carriers = np.flatnonzero(self._between(sender, receivers)).tolist()
        for place, carrier in enumerate(carriers):
            for receiver in self._reads[carrier]:
                before = [s for s in (sender, *carriers[:place]) if s < self._seen(receiver)]
                along |= dict.fromkeys(self._edge(s, receiver) for s in before)
        for receiver in receivers:
            seen = self._seen(receiver)
            yield from (self._edge(s, receiver) for s in (sender, *carriers) if s < seen)

    def _between(self, sender: int, receivers: Iterable[int]) -> Bools:
        """The senders [S] of the kinds that carry, behind a sender and before a receiver."""
        numbers = np.arange(len(self.graph.senders))
        end = max(map(self._seen, receivers))
        found: Bools = self._carries & (self._first_seen > sender) & (numbers < end)
        return found

    def _edge(self, sender: int, receiver: int) -> int:
        group = self.graph.group_of[receiver]
        return int(group.start + (receiver - group.first) * group.senders + sender)

    def _seen(self, receiver: int) -> int:
        return self.graph.group_of[receiver].senders

    @cached_property
    def _reads(self) -> dict[int, list[int]]:
        """The receivers that each sender's own inputs are."""
        found: dict[int, list[int]] = {}
        for receiver, node in enumerate(self.graph.node_of):
            found.setdefault(int(node), []).append(receiver)
        return found

    @cached_property
    def _first_seen(self) -> Ints:
        """How many senders each sender reads [S]; none of an embedding."""
        reads = (self._reads.get(number, []) for number in range(len(self.graph.senders)))
        return np.array([self._seen(r[0]) if r else 0 for r in reads])

    @cached_property
    def _carries(self) -> Bools:
        """Which senders [S] are of the kinds that carry."""
        kinds = [
            "mlps" if name.endswith(".mlp") else "" if "embed" in name else "heads"
            for name in self.graph.senders
        ]
        return np.isin(kinds, self.through)

    def _check_spread(self, unit: Unit, spread: dict[int, set[int]]) -> None:
        """What lets the effect of one sender through may not serve another's that leads
        elsewhere."""
        shared: dict[frozenset[int], Bools] = {}
        for sender, receivers in spread.items():
            key = frozenset(receivers)
            mine = self._between(sender, receivers)
            shared[key] = shared[key] | mine if key in shared else mine
        for one, other in combinations(shared.values(), 2):
            if (one & other).any():
                name = self.graph.senders[int(np.flatnonzero(one & other)[0])]
                raise InterpError(
                    Diagnostic(
                        "E657",
                        f"{_named(unit)} cannot be changed at once",
                        notes=(f"{name} would carry the effect of one along another",),
                        help="change them one at a time, or leave `through` out",
                    ),
                    exit_code=1,
                )


def by_position(graph: Graph, units: Iterable[Unit]) -> Graph:
    """The graph by position at the places that units of edges name; itself where they name none."""
    found = dict.fromkeys(t.positions for unit in units for t in unit.targets)
    return graph if found.keys() <= {ALL} else replace(graph, places=tuple(map(str, found)))


def stray(unit: Unit) -> str | None:
    """A path that the edges of a unit's paths make when they are changed at once, and that is none
    of them; None where there is none."""
    if all(len(hops(str(target.site.edge))) == 1 for target in unit.targets):
        return None
    ends: dict[str, dict[tuple[str, Positions | None], None]] = {}
    given: set[tuple[str, Positions]] = set()
    starts: dict[str, None] = {}
    for target in unit.targets:
        path = str(target.site.edge)
        places = path.split(" -> ")
        given.add((path, target.positions))
        starts[places[0]] = None
        for place, then in pairwise(places[:-1]):
            ends.setdefault(node_of(place), {})[then, None] = None
        ends.setdefault(node_of(places[-2]), {})[places[-1], target.positions] = None
    waiting = list(starts)
    while waiting:
        path = waiting.pop()
        for place, positions in ends.get(node_of(path.rpartition(" -> ")[2]), {}):
            longer = f"{path} -> {place}"
            if positions is None:
                waiting.append(longer)
            elif (longer, positions) not in given:
                return longer
    return None


def strays(unit: Unit, extra: str) -> Diagnostic:
    """What is told of paths that together make an extra one."""
    return Diagnostic(
        "E657",
        f"{_named(unit)} cannot be changed at once",
        notes=(f"together they make {extra} too",),
        help="name that one as well, or change them one at a time",
    )


def _named(unit: Unit) -> str:
    return "these paths" if len(str(unit)) > 80 else str(unit)
