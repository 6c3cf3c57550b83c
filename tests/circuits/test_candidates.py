"""Candidates by the states that they leave receivers in: read back, they are the sets that they
were made of."""

from __future__ import annotations

import numpy as np
import pytest

from interp_dsl.circuits.candidates import Candidates
from interp_dsl.models.graph import Graph, Ints
from tests.circuits.models import double

GRAPH = Graph(double("gpt2").description.shape)


def edges_of_stage(seed: int, n: int) -> Ints:
    """Some edges into the heads of the second layer, in any order."""
    into = [i for i, e in enumerate(GRAPH.edges) if e.target.startswith("L1H")]
    return np.random.default_rng(seed).permutation(into)[:n]


@pytest.mark.parametrize("seed", range(4))
def test_states_are_the_sets_read_by_receiver(seed: int) -> None:
    edges = edges_of_stage(seed, 9)
    guesses = np.random.default_rng(seed).random(9) < 0.5
    taken = np.tril(np.tile(guesses, (9, 1)), -1) | np.eye(9, dtype=bool)
    found = Candidates.of(GRAPH, edges, taken)
    assert found.n == 9 and set(found.state_of) == set(GRAPH.receiver_of[edges].tolist())
    assert (np.diff(found.senders) > 0).all() and (np.diff(found.receiver) >= 0).all()
    for candidate in range(9):
        wanted = {
            int(edge) for edge, is_taken in zip(edges, taken[candidate], strict=True) if is_taken
        }
        read = set()
        for receiver, states in found.state_of.items():
            state = states[candidate]
            if state < 0:
                continue
            assert found.receiver[state] == receiver
            into = np.flatnonzero(GRAPH.receiver_of == receiver)
            senders = found.senders[found.removed[state]]
            read |= {int(edge) for edge in into if GRAPH.sender_of[edge] in senders}
        assert read == wanted


def test_no_state_stands_twice() -> None:
    edges = edges_of_stage(0, 6)
    taken = np.tril(np.ones((6, 6), dtype=bool))
    found = Candidates.of(GRAPH, edges, taken)
    states = {
        (r, bytes(row)) for r, row in zip(found.receiver.tolist(), found.removed, strict=True)
    }
    assert len(states) == len(found.receiver) == 6
    assert all(states[-1] >= 0 for states in found.state_of.values())


def test_a_cut_takes_all() -> None:
    found = Candidates.cut(5, np.array([0, 2]))
    assert found.n == 1 and found.removed.all() and found.state_of[5].tolist() == [0]
