"""Circuits of nodes: which of some units a metric needs, all others set to what a source says.

A circuit is a set of units [U] that stay as they are. F(C) is a metric's mean over examples with
the circuit alone, the larger the worse, by real evaluation. Units may be anything that can be set:
heads, MLPs, features of dictionaries and their errors (Marks et al. 2024, arXiv 2403.19647)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interp_dsl.circuits.progress import Progress
from interp_dsl.circuits.rules import PACKED, eliminations
from interp_dsl.circuits.setting import Floats
from interp_dsl.models.graph import Bools

Measure = Callable[[Bools], Floats]
"""F of circuits [C, U]: [C]."""
Told = Callable[[Progress], None]
"""Of how far a search is."""


@dataclass(frozen=True)
class NodeSet:
    """`kept` [U]. Of each unit F before and after it was taken out when last tried (NaN where it
    was not), and the turn in which that was, from 1."""

    kept: Bools
    before: Floats
    after: Floats
    turn: NDArray[np.int64]

    @classmethod
    def of(cls, kept: Bools) -> NodeSet:
        nothing = np.full(len(kept), np.nan)
        return cls(kept, nothing, nothing.copy(), np.zeros(len(kept), np.int64))


def acdc(
    measure: Measure,
    order: Sequence[int],
    threshold: float,
    absolute: bool,
    told: Told,
) -> NodeSet:
    """ACDC over nodes (Conmy et al. 2023, arXiv 2304.14997, without edges): one after another, in
    this order, a unit goes where F rises by less than the threshold; with `absolute`, where it
    changes by less.

    Most go, so that what comes next is tried beforehand: circuits without the next unit, the next
    two, … are evaluated together, and stand as far as all of them went. The decisions are those of
    one at a time."""
    found = NodeSet.of(np.ones(len(order), dtype=bool))
    score, at, width = float(measure(found.kept[None])[0]), 0, 1
    while at < len(order):
        tried = list(order[at : at + width])
        without = np.tile(found.kept, (len(tried), 1))
        for number, unit in enumerate(tried):
            without[number:, unit] = False
        width = min(PACKED, 2 * width)
        for unit, value in zip(tried, measure(without).tolist(), strict=True):
            at += 1
            found.before[unit], found.after[unit], found.turn[unit] = score, value, at
            change = abs(value - score) if absolute else value - score
            if change >= threshold:
                width = max(1, width // 4)
                break
            found.kept[unit], score = False, value
        told(Progress(math.nan, at, len(order), int(found.kept.sum()), score))
    return found


def eliminated(
    measure: Measure, n: int, limit: float, share: float, start: Bools, told: Told
) -> NodeSet:
    """Backward elimination: of the units left, all compared, the one goes that is missed least;
    until n are left, or until the next would raise F above the limit. `share` takes that part of
    those left at once. Told is how many circuits have been measured, within a turn too."""
    found, most = NodeSet.of(start.copy()), eliminations(int(start.sum()), n, share)
    score, turn, done = float(measure(found.kept[None])[0]), 0, 1
    while (left := np.flatnonzero(found.kept)).size > n:
        without = np.tile(found.kept, (len(left), 1))
        without[np.arange(len(left)), left] = False
        values, turn = np.empty(len(left)), turn + 1
        for first in range(0, len(left), PACKED):
            values[first : first + PACKED] = measure(without[first : first + PACKED])
            told(Progress(math.nan, done + min(len(left), first + PACKED), most, len(left), score))
        found.before[left], found.after[left], found.turn[left] = score, values, turn
        going = np.argsort(values, kind="stable")[: max(1, int(share * len(left)))]
        going = going[: len(left) - n]
        rest = found.kept.copy()
        rest[left[going]] = False
        score_without = float(values[going[0]])
        if len(going) > 1:
            score_without = float(measure(rest[None])[0])
        if score_without > limit:
            break
        found.kept[:], score, done = rest, score_without, done + len(left) + 1
        told(Progress(math.nan, done, most, int(rest.sum()), score))
    return found


def fewest(enough: Callable[[Bools], Bools], ranked: Sequence[int], told: Told) -> NodeSet:
    """The first units of a ranking, as many as it takes until `enough` is true of them: doubled
    until it is, then halved in between. It is true of those found and not of one fewer; where it
    comes and goes with their number, of fewer still it may be. All of them, where it never is."""

    def of(n: int) -> Bools:
        kept = np.zeros(len(ranked), dtype=bool)
        kept[list(ranked[:n])] = True
        return kept

    total = len(ranked)
    sizes = sorted({0, total, *(2**i for i in range(math.ceil(math.log2(total + 1))))})
    suffices = enough(np.stack([of(n) for n in sizes]))
    first = next((i for i, is_enough in enumerate(suffices) if is_enough), len(sizes) - 1)
    low, high = (sizes[first - 1] if first else -1), sizes[first]
    while high - low > 1:
        middle = (low + high) // 2
        if enough(of(middle)[None])[0]:
            high = middle
        else:
            low = middle
        told(Progress(math.nan, total - (high - low), total, high, math.nan))
    return NodeSet.of(of(high))


def ranked(scores: Floats, absolute: bool) -> list[int]:
    """Units by their scores, the largest first; by their sizes where `absolute`."""
    order = np.argsort(-(np.abs(scores) if absolute else scores), kind="stable")
    return [int(number) for number in order]


def best(scores: Floats, absolute: bool, n: int | None, threshold: float | None) -> NodeSet:
    """The n best, or those whose score is the threshold or more."""
    size = np.abs(scores) if absolute else scores
    kept = np.zeros(len(scores), dtype=bool)
    if n is not None:
        kept[ranked(scores, absolute)[:n]] = True
    else:
        assert threshold is not None, "the checker asks for one of them"
        kept = size >= threshold
    return NodeSet.of(kept)


def worst_sets(
    gap: Callable[[Bools], Floats], kept: Bools, most: int, drawn: Bools
) -> tuple[float, float]:
    """Completeness (Wang et al. 2023, arXiv 2211.00593): the gap |m(C ∖ K) - m(full ∖ K)| of no K,
    and the largest found, K growing one unit of the circuit at a time, always by the worst, and of
    the sets `drawn` [S, U]. `gap` is that of sets K [S, U]."""
    nothing = np.zeros((1, len(kept)), dtype=bool)
    none = float(gap(nothing)[0])
    worst, out = none, nothing[0]
    for _ in range(min(most, int(kept.sum()))):
        left = np.flatnonzero(kept & ~out)
        trials = np.tile(out, (len(left), 1))
        trials[np.arange(len(left)), left] = True
        found = gap(trials)
        out = trials[int(found.argmax())]
        worst = max(worst, float(found.max()))
    if len(drawn):
        worst = max(worst, float(gap(drawn).max()))
    return none, worst


def halves(kept: Bools, count: int, seed: int) -> Bools:
    """Sets that hold each unit of a circuit with probability 1/2: [count, U]."""
    drawn: Bools = np.random.default_rng(seed).random((count, len(kept))) < 0.5
    return drawn & kept


def of_size(size: int, n_units: int, count: int, seed: int) -> Bools:
    """Random circuits of so many units: [count, U]."""
    scores = np.random.default_rng(seed).random((count, n_units))
    ranks: Bools = scores.argsort(1).argsort(1) < size
    return ranks
