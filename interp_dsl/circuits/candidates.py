"""Sets of edges that are tested together, each taken out of the same accepted state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from interp_dsl.models.graph import Bools, Graph, Ints


@dataclass(frozen=True)
class Candidates:
    """`n` sets of edges into receivers of one stage. Between them they leave each receiver in few
    states besides the accepted one: state i is one of `receiver` [states], without the edges from
    `senders`, ascending, at `places` where these are told apart, that `removed` [states, senders]
    marks. `state_of` holds, by receiver, the
    state that each candidate [n] leaves it in, or -1. States stand in the order of their receivers,
    and for each in the order of the candidates that come to it."""

    n: int
    receiver: Ints
    senders: Ints
    removed: Bools
    state_of: dict[int, Ints]
    places: Ints | None = None

    @classmethod
    def of(cls, graph: Graph, edges: Ints, taken: Bools) -> Candidates:
        """Those that take the `taken` [n, edges] of some edges, which are no direct ones."""
        n_places = max(1, len(graph.places))
        cells, column = np.unique(
            graph.sender_of[edges] * n_places + graph.place_of[edges], return_inverse=True
        )
        senders, places = np.divmod(cells, n_places)
        receivers = graph.receiver_of[edges]
        found: list[int] = []
        removed: list[Bools] = []
        state_of: dict[int, Ints] = {}
        for receiver in np.unique(receivers).tolist():
            mine = np.flatnonzero(receivers == receiver)
            rows = taken[:, mine]
            states: dict[bytes, int] = {bytes(len(mine)): -1}
            firsts, numbers = [], []
            for candidate, row in enumerate(rows):
                key = row.tobytes()
                if key not in states:
                    states[key] = len(found)
                    found.append(receiver)
                    firsts.append(candidate)
                numbers.append(states[key])
            without = np.zeros((len(firsts), len(senders)), dtype=bool)
            without[:, column[mine]] = rows[firsts]
            removed.append(without)
            state_of[receiver] = np.array(numbers)
        return cls(
            len(taken),
            np.array(found),
            senders,
            np.concatenate(removed),
            state_of,
            places if graph.places else None,
        )

    @classmethod
    def cut(cls, receiver: int, senders: Ints) -> Candidates:
        """One that takes all edges into a receiver that there are, from `senders`, ascending."""
        removed = np.ones((1, len(senders)), dtype=bool)
        return cls(1, np.array([receiver]), senders, removed, {receiver: np.zeros(1, dtype=int)})
