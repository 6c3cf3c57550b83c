"""Which edges a search will remove, guessed before they are tested. Guesses decide what is tested
together, never what is removed."""

from __future__ import annotations

import numpy as np

from interp_dsl.circuits.circuit import Circuit
from interp_dsl.models.graph import Bools, Graph, Ints

LAST = 8
"""So many edges judged last say what happens to most."""


class Guesses:
    """An edge will go when a test says so that came too late to count; else when the last edge from
    its sender, at its place, into this stage went; else when most of late did."""

    def __init__(self, graph: Graph, circuit: Circuit, order: Ints) -> None:
        n_places = max(1, len(graph.places))
        self._cell_of = graph.sender_of * n_places + graph.place_of
        self._circuit, self._order = circuit, order
        self._tested: dict[int, bool] = {}
        self._last = np.full(len(graph.senders) * n_places, -1, dtype=np.int8)

    def of(self, edges: Ints) -> Bools:
        """Will they be removed, [n]?"""
        last = self._last[self._cell_of[edges]]
        found = np.where(last < 0, self._mostly(), last > 0)
        for place, edge in enumerate(edges.tolist()):
            if edge in self._tested:
                found[place] = self._tested[edge]
        return found

    def tested(self, edge: int, removed: bool) -> None:
        """A test says whether it would be removed, from a state that is not the accepted one."""
        self._tested[edge] = removed

    def judged(self, edge: int, removed: bool) -> None:
        self._tested.pop(edge, None)
        self._last[self._cell_of[edge]] = removed

    def _mostly(self) -> bool:
        judged = self._order[max(0, self._circuit.judged - LAST) : self._circuit.judged]
        return 2 * int(self._circuit.kept[judged].sum()) <= len(judged)
