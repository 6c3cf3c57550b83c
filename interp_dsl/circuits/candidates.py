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
        n, n_places = len(taken), max(1, len(graph.places))
        cells = (graph.sender_of[edges] * n_places + graph.place_of[edges]).tolist()
        once = sorted(set(cells))
        senders, places = np.divmod(np.array(once), n_places)
        columns = {cell: column for column, cell in enumerate(once)}
        into: dict[int, list[int]] = {}
        for number, receiver in enumerate(graph.receiver_of[edges].tolist()):
            into.setdefault(receiver, []).append(number)
        found: list[int] = []
        removed: list[Bools] = []
        state_of: dict[int, Ints] = {}
        for receiver, mine in sorted(into.items()):
            rows = taken[:, mine]
            keys = [row.tobytes() for row in rows]
            new = [key for key in dict.fromkeys(keys) if any(key)]
            numbers = {key: len(found) + number for number, key in enumerate(new)}
            without = np.zeros((len(new), len(columns)), dtype=bool)
            without[:, [columns[cells[number]] for number in mine]] = rows[
                [keys.index(key) for key in new]
            ]
            state_of[receiver] = np.array([numbers.get(key, -1) for key in keys])
            removed.append(without)
            found += [receiver] * len(new)
        about = (np.array(found), senders, np.concatenate(removed), state_of)
        return cls(n, *about, places if graph.places else None)

    @classmethod
    def cut(cls, receiver: int, senders: Ints) -> Candidates:
        """One that takes all edges into a receiver that there are, from `senders`, ascending."""
        removed = np.ones((1, len(senders)), dtype=bool)
        return cls(1, np.array([receiver]), senders, removed, {receiver: np.zeros(1, dtype=int)})
