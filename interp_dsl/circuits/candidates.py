"""Sets of edges that are tested together, each taken out of the same accepted state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from interp_dsl.models.graph import Bools, Graph, Ints


@dataclass(frozen=True)
class Candidates:
    """Sets of edges into receivers of one stage, each into one: `receiver` [n], ascending. A
    candidate takes what candidate `after` [n] of the same receiver takes (-1: nothing), which
    stands before it, and the edges from `senders` [n], at its `place` [n] where these are told
    apart. `numbers` [n]: which candidate is the first that was asked for, the second and so on."""

    receiver: Ints
    after: Sequence[int]
    senders: Sequence[Sequence[int]]
    place: Sequence[int]
    numbers: Sequence[int]

    @property
    def n(self) -> int:
        return len(self.after)

    @classmethod
    def chain(cls, graph: Graph, edges: Ints, guesses: Bools) -> Candidates:
        """Each of some edges [n], which are no direct ones, without those before it that are
        guessed to go [n]. All behind the first of these lead into the receiver that it leads
        into."""
        receivers = graph.receiver_of[edges]
        order = np.argsort(receivers, kind="stable")
        numbers = np.argsort(order)
        gone = np.maximum.accumulate(np.where(guesses, numbers, -1))
        after = np.append(-1, gone[:-1])[order].tolist()
        senders, places = graph.sender_of[edges[order]], graph.place_of[edges[order]]
        about = (after, senders[:, None].tolist(), places.tolist(), numbers.tolist())
        return cls(receivers[order], *about)

    @classmethod
    def cut(cls, receiver: int, senders: Ints) -> Candidates:
        """One that takes all edges into a receiver that there are, from `senders`."""
        return cls(np.array([receiver]), [-1], [senders.tolist()], [0], [0])
