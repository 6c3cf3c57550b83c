"""Candidates by what each adds to another: read back, they are the sets that were asked for."""

from __future__ import annotations

import numpy as np
import pytest

from interp_dsl.circuits.candidates import Candidates
from interp_dsl.models.graph import Graph
from tests.circuits.models import double

GRAPH = Graph(double("gpt2").description.shape)


def taken(found: Candidates, number: int) -> set[tuple[int, int]]:
    """Sender and receiver of every edge that a candidate takes."""
    receiver, after = int(found.receiver[number]), found.after[number]
    assert after < number
    before = taken(found, after) if after >= 0 else set()
    assert all(other == receiver for _, other in before)
    return before | {(sender, receiver) for sender in found.senders[number]}


@pytest.mark.parametrize("seed", range(4))
def test_a_chain_is_the_sets_asked_for(seed: int) -> None:
    """Edges into the heads of the second layer: some before the first that is guessed to go, into
    any of them and in any order; then those into one of them."""
    random = np.random.default_rng(seed)
    into = [i for i, e in enumerate(GRAPH.edges) if e.target.startswith("L1H")]
    mine = GRAPH.receiver_of[into] == GRAPH.receiver_of[into[7]]
    apart, alike = (random.permutation(np.array(into)[of]) for of in (~mine, mine))
    edges = np.concatenate([apart[:5], alike])
    guesses = np.append(np.zeros(5, dtype=bool), random.random(len(alike)) < 0.5)
    guesses[5] = True
    found = Candidates.chain(GRAPH, edges, guesses)
    assert found.n == len(edges) and (np.diff(found.receiver) >= 0).all()
    pairs = list(zip(GRAPH.sender_of[edges].tolist(), GRAPH.receiver_of[edges], strict=True))
    for place, number in enumerate(found.numbers):
        gone = {pair for pair, goes in zip(pairs[:place], guesses, strict=False) if goes}
        assert taken(found, number) == gone | {pairs[place]}


def test_a_cut_takes_all() -> None:
    found = Candidates.cut(5, np.array([0, 2]))
    assert found.n == 1 and taken(found, 0) == {(0, 5), (2, 5)}
