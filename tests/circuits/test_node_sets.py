"""Circuits of nodes: searches against loops that try one circuit at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest

from interp_dsl.circuits.node_sets import (
    acdc,
    best,
    eliminated,
    fewest,
    halves,
    of_size,
    worst_sets,
)
from interp_dsl.circuits.progress import Progress
from interp_dsl.circuits.setting import Floats
from interp_dsl.models.graph import Bools

U = 23


class Counted:
    """F of single circuits, and how many calls and circuits it took."""

    def __init__(self, one: Callable[[Bools], float]) -> None:
        self.one, self.calls, self.circuits = one, 0, 0

    def __call__(self, kept: Bools) -> Floats:
        self.calls, self.circuits = self.calls + 1, self.circuits + len(kept)
        return np.array([self.one(row) for row in kept])


def silent(at: Progress) -> None:
    assert at.kept >= 0 and 0 <= at.done <= at.total


def tangled(seed: int, few: bool) -> Callable[[Bools], float]:
    """A metric in which units matter together; with `few`, most of them hardly."""
    random = np.random.default_rng(seed)
    weights, pairs = random.normal(size=U), random.normal(size=(U, U)) * 0.3
    if few:
        weights[4:] *= 0.01
        pairs[4:] *= 0.01
    return lambda kept: float(weights @ ~kept + ~kept @ pairs @ ~kept)


@pytest.mark.parametrize("few", [True, False])
@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_acdc_decides_as_one_unit_at_a_time(seed: int, absolute: bool, few: bool) -> None:
    one = tangled(seed, few)
    order = np.random.default_rng(seed + 50).permutation(U).tolist()
    kept, score = np.ones(U, dtype=bool), one(np.ones(U, dtype=bool))
    told = {}
    for unit in order:
        without = kept.copy()
        without[unit] = False
        change = one(without) - score
        told[unit] = (score, one(without))
        if (abs(change) if absolute else change) < 0.2:
            kept, score = without, one(without)
    measure = Counted(one)
    found = acdc(measure, order, 0.2, absolute, silent)
    np.testing.assert_array_equal(found.kept, kept)
    np.testing.assert_allclose([(found.before[u], found.after[u]) for u in order], [*told.values()])
    np.testing.assert_array_equal(found.turn[order], np.arange(1, U + 1))
    assert 0 < kept.sum() < U and measure.circuits <= 1 + 3 * U + 64


def test_acdc_goes_over_units_that_do_nothing_many_at_a_time() -> None:
    matters = np.isin(np.arange(500), [77, 400])
    measure = Counted(lambda kept: float(matters @ ~kept))
    found = acdc(measure, range(500), 0.5, False, silent)
    np.testing.assert_array_equal(found.kept, matters)
    assert measure.calls < 30


def test_known_answers_of_acdc() -> None:
    costs = np.linspace(0, 1, U)
    added = acdc(Counted(lambda kept: float(costs @ ~kept)), range(U), 0.31, False, silent)
    np.testing.assert_array_equal(added.kept, costs >= 0.31)
    either = acdc(Counted(lambda kept: float(not kept[:2].any())), [*range(U)], 0.5, False, silent)
    assert either.kept.tolist() == [False, True, *[False] * (U - 2)]
    both = acdc(Counted(lambda kept: float(not kept[:2].all())), [*range(U)], 0.5, False, silent)
    assert both.kept.tolist() == [True, True, *[False] * (U - 2)]


@pytest.mark.parametrize("n", [0, 5])
def test_elimination_takes_the_one_that_is_missed_least(n: int) -> None:
    one = tangled(3, False)
    kept = np.ones(U, dtype=bool)
    while kept.sum() > n:
        left = np.flatnonzero(kept)
        without = [np.where(np.arange(U) == unit, False, kept) for unit in left]
        kept = min(without, key=one)
    found = eliminated(Counted(one), n, math.inf, 0.0, np.ones(U, dtype=bool), silent)
    np.testing.assert_array_equal(found.kept, kept)


def test_elimination_stops_at_its_limit_and_takes_several_at_once() -> None:
    costs = np.linspace(0, 1, U)
    measure = Counted(lambda kept: float(costs @ ~kept))
    limited = eliminated(measure, 0, 3.0, 0.0, np.ones(U, dtype=bool), silent)
    most = int((costs.cumsum() <= 3.0).sum())
    np.testing.assert_array_equal(limited.kept, np.arange(U) >= most)
    quick = Counted(measure.one)
    shared = eliminated(quick, 4, math.inf, 0.5, np.ones(U, dtype=bool), silent)
    np.testing.assert_array_equal(shared.kept, np.arange(U) >= U - 4)
    assert quick.circuits < measure.circuits


@pytest.mark.parametrize(("n", "share"), [(190, 0.0), (5, 0.4)])
def test_an_elimination_tells_how_far_it_is_within_a_turn(n: int, share: float) -> None:
    """After 64 circuits at most, how many have been measured, by count; and with what is left, F
    of it."""
    costs, said = np.linspace(1, 2, 200), []
    measure = Counted(lambda kept: float(costs @ ~kept))

    def told(at: Progress) -> None:
        said.append((at.done, at.total, at.kept, at.score, measure.circuits))

    found = eliminated(measure, n, math.inf, share, np.ones(200, dtype=bool), told)
    done, most, kept, score, counted = map(np.array, zip(*said, strict=True))
    assert (np.diff(done) > 0).all() and (np.diff([0, *done]) <= 65).all()
    # a turn of one node knows what it leaves without measuring it again
    assert (counted <= done).all() and (counted[-1] == done[-1] or not share)
    assert done[-1] == most[-1] and set(most) == {most[-1]}
    assert kept.tolist() == sorted(kept, reverse=True) and kept[-1] == found.kept.sum() == n
    np.testing.assert_allclose(score, [costs[: 200 - k].sum() for k in kept])


@pytest.mark.parametrize("wanted", range(U + 1))
def test_the_fewest_of_a_ranking(wanted: int) -> None:
    ranked = np.random.default_rng(1).permutation(U).tolist()
    tried = []

    def enough(kept: Bools) -> Bools:
        tried.extend(kept.sum(1).tolist())
        return np.asarray(kept.sum(1) >= wanted)

    found = fewest(enough, ranked, silent)
    assert sorted(np.flatnonzero(found.kept).tolist()) == sorted(ranked[:wanted])
    assert len(tried) <= 2 * U.bit_length() + 2


def test_a_ranking_that_never_suffices_keeps_all() -> None:
    found = fewest(lambda kept: np.zeros(len(kept), dtype=bool), [2, 0, 1], silent)
    assert found.kept.all()


def test_the_best_by_score() -> None:
    scores = np.array([0.5, -2.0, 1.0, 0.0])
    assert best(scores, True, 2, None).kept.tolist() == [False, True, True, False]
    assert best(scores, False, 2, None).kept.tolist() == [True, False, True, False]
    assert best(scores, True, None, 1.0).kept.tolist() == [False, True, True, False]
    assert best(scores, False, None, 0.5).kept.tolist() == [True, False, True, False]


def test_the_worst_set_is_found_where_one_after_another_finds_it() -> None:
    """The gap adds up over units, so that the worst set of at most three is the three worst."""
    random = np.random.default_rng(4)
    sizes, kept = random.random(9), np.arange(9) < 6
    none, worst = worst_sets(lambda sets: 0.1 + sets @ sizes, kept, 3, halves(kept, 0, 0))
    trios = [sum(sizes[list(k)]) for k in combinations(range(6), 3)]
    assert none == pytest.approx(0.1) and worst == pytest.approx(0.1 + max(trios))
    drawn = halves(kept, 40, 1)
    assert not drawn[:, ~kept].any() and 0.3 < drawn[:, kept].mean() < 0.7
    _, with_drawn = worst_sets(lambda sets: sets @ sizes, kept, 0, drawn)
    assert with_drawn == pytest.approx(float((drawn @ sizes).max()))


def test_random_circuits_have_their_size() -> None:
    drawn = of_size(4, 11, 300, 0)
    assert (drawn.sum(1) == 4).all()
    np.testing.assert_allclose(drawn.mean(0), 4 / 11, atol=0.1)
