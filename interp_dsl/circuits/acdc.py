"""Automatic circuit discovery (Conmy et al. 2023, arXiv 2304.14997, algorithm 1), exactly.

    H = all edges, F = the metric, to be small
    for each edge e, from the logits down:
        if F(H - e) - F(H) < τ:  H = H - e

F is the mean over examples. An edge's effect is F(H - e) - F(H), the running score F(H) the one
measured when the last edge was removed. How the tests are made fast without changing any of them
stands in suffix.py."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Generator, Sequence
from typing import TypeVar

import numpy as np
import torch

from interp_dsl.circuits.candidates import Candidates
from interp_dsl.circuits.circuit import Circuit, Floats, blank, stacked, unstacked
from interp_dsl.circuits.clean import Clean
from interp_dsl.circuits.found import finished
from interp_dsl.circuits.guesses import Guesses
from interp_dsl.circuits.order import edge_order, marks, stages
from interp_dsl.circuits.progress import Progress, Snapshot, Work
from interp_dsl.circuits.rules import PRESETS, Rules
from interp_dsl.circuits.suffix import Suffix
from interp_dsl.models.graph import Bools, Ints
from interp_dsl.models.paths import reaching
from interp_dsl.models.room import is_out_of_memory
from interp_dsl.plan.memory import tested_at_once

Number = TypeVar("Number", float, Floats)


def acdc(
    clean: Clean,
    thresholds: float | Sequence[float],
    rules: Rules = PRESETS["original"],
    among: Bools | None = None,
    snapshot: Snapshot | None = None,
) -> Generator[Progress, None, list[Circuit]]:
    """The circuits of one or more thresholds τ, with progress after each batch of edges. A search
    takes over what an earlier one has found up to the first edge that the two judge differently.
    Of `among` [E] only these edges are judged, and all others kept.

    From a snapshot of the same search it goes on, and ends with the very numbers that it would have
    ended with: where a snapshot can be made, the search itself begins from nothing but what the
    snapshot holds."""
    if rules.direct != clean.forward.graph.direct:
        raise ValueError("the graph has direct edges when the rules have, and only then")
    values = [thresholds] if isinstance(thresholds, int | float) else thresholds
    begun = unstacked(snapshot or {})
    found: list[Circuit] = []
    for number, threshold in enumerate(values):
        later = len(values) - number - 1
        search = _Search(clean, rules, float(threshold), among, found, later)
        if number < len(begun):
            search.take_up(begun[number])
        else:
            search.begin()
        yield from search.run()
        found.append(search.circuit)
    return found


def discover(
    clean: Clean,
    thresholds: float | Sequence[float],
    rules: Rules = PRESETS["original"],
    among: Bools | None = None,
) -> list[Circuit]:
    """`acdc` without its progress."""
    return finished(acdc(clean, thresholds, rules, among))


class _Search:
    """The state of one search: `circuit.kept` is H, `score` is F(H). `earlier` thresholds' circuits
    are finished, as many as `later` are to come."""

    def __init__(
        self,
        clean: Clean,
        rules: Rules,
        threshold: float,
        among: Bools | None,
        earlier: Sequence[Circuit],
        later: int,
    ) -> None:
        self.clean, self.rules, self.graph = clean, rules, clean.forward.graph
        self.earlier, self.later = earlier, later
        self.order = edge_order(self.graph, rules.order)
        self.order = self.order if among is None else self.order[among[self.order]]
        self.circuit = blank(threshold, self.order, self.graph.n_edges)
        self.score = 0.0
        model = clean.forward.model
        self._batch = rules.batch or tested_at_once(
            clean.tokens.numel() * clean.forward.graph.shape.d_model, clean.tokens.device.type
        )
        self._close = 32 * torch.finfo(model.dtype).eps if rules.close is None else rules.close
        self._stages = stages(self.graph)
        self._marks = marks(self.graph, self.order)
        self._direct = np.full(self.graph.n_receivers, -1)
        self._direct[list(self.graph.direct_receivers)] = self.graph.n_additive + np.arange(
            len(self.graph.direct_receivers)
        )
        self._suffix: Suffix | None = None
        self._guesses = Guesses(self.graph, self.circuit, self.order)

    def run(self) -> Generator[Progress, None, None]:
        circuit, total = self.circuit, len(self.order)
        while True:
            is_mark = circuit.judged == self._marks[bisect_left(self._marks, circuit.judged)]
            if is_mark:
                self._suffix = None
                self._guesses = Guesses(self.graph, circuit, self.order)
            kept, made = int(circuit.kept.sum()), self._snapshot if is_mark else None
            yield Progress(
                circuit.threshold, circuit.judged, total, kept, self.score, made, self._work
            )
            if circuit.judged == total:
                return
            with torch.no_grad():
                circuit.judged += self._step(circuit.judged)

    def begin(self) -> None:
        """Take over what the earlier search that agrees longest has found."""
        mine = self.circuit
        lengths = [self._agreement(other) for other in self.earlier]
        if not lengths or not max(lengths):
            if self.rules.start == "measured":
                self.score = self.clean.start
            mine.start = self.score
            return
        shared, other = max(lengths), self.earlier[lengths.index(max(lengths))]
        edges = self.order[:shared]
        for name in ("effect", "score", "evaluated", "kept"):
            getattr(mine, name)[edges] = getattr(other, name)[edges]
        mine.margin[edges] = self._margin(mine.effect[edges])
        mine.start, mine.judged = other.start, shared
        self.score = float(mine.score[edges[-1]])

    def take_up(self, circuit: Circuit) -> None:
        """Go on where a snapshot was made."""
        if circuit.threshold != self.circuit.threshold:
            raise ValueError(f"a snapshot of another threshold: {circuit.threshold}")
        self.circuit, self.score = circuit, circuit.start
        if circuit.judged:
            self.score = float(circuit.score[self.order[circuit.judged - 1]])

    def _snapshot(self) -> Snapshot:
        return stacked([*self.earlier, self.circuit])

    def _work(self) -> Work:
        circuit = self.circuit
        is_judged = circuit.order < circuit.judged
        last = self._stages.max()
        share = (last - self._stages + 1) / (last + 1)
        reach = np.append(reaching(self.graph, circuit.kept & is_judged), True)
        is_sure = reach[self.graph.node_of[self.graph.receiver_of]]
        return Work(
            float(share[is_judged & circuit.evaluated].sum()),
            float(share[~is_judged & is_sure].sum()),
            float(share[~is_judged].sum() + self.later * share.sum()),
        )

    def _agreement(self, other: Circuit) -> int:
        """Up to which edge another threshold's search judges as this one would."""
        effect, evaluated = other.effect[self.order], other.evaluated[self.order]
        margin = self._margin(effect)
        kept = (margin >= 0) & (evaluated | (not self.rules.drop_dead))
        agrees = kept == other.kept[self.order]
        agrees &= ~(evaluated & self._is_close(margin, other.score[self.order]))
        return len(agrees) if agrees.all() else int(agrees.argmin())

    def _step(self, done: int) -> int:
        """Judge the next edge or more; how many."""
        if self._suffix is None:
            self._suffix = self._built(self.order[done])
        ahead = self.order[done : self._marks[bisect_right(self._marks, done)]]
        is_tested = self._suffix.live(ahead) & ~self._is_cut(ahead)
        if not is_tested[0]:
            dead = ahead[: _run(~is_tested)]
            removed = self.rules.drop_dead or bool(self._margin(0.0) < 0)
            self._note(dead, 0.0, self.score, removed, evaluated=False)
            return len(dead)
        is_direct = self.graph.sender_of[ahead] < 0
        n = 1 if is_direct[0] else min(self._batch, _run(is_tested & ~is_direct))
        return self._test(self._suffix, ahead[:n])

    def _built(self, edge: int) -> Suffix:
        """The state of the edges kept, from the stage that an edge leads into."""
        return Suffix(self.clean, self.circuit.kept, int(self._stages[edge]))

    def _is_cut(self, edges: Ints) -> Bools:
        """Do they lead into receivers that have lost their direct edges?"""
        direct = self._direct[self.graph.receiver_of[edges]]
        found: Bools = (direct >= 0) & (direct != edges) & ~self.circuit.kept[direct]
        return found

    def _test(self, suffix: Suffix, edges: Ints) -> int:
        """Test edges into this stage, each where those before it that are guessed to go are gone.
        Judge them up to the first that was guessed wrong: its own test is still right. Behind one
        that is guessed to go no other receiver is begun: it would carry that one along."""
        guesses = self._guesses.of(edges)
        receivers = self.graph.receiver_of[edges]
        is_alone = (receivers == receivers[guesses.argmax()]) | ~np.logical_or.accumulate(guesses)
        edges, guesses = edges[: _run(is_alone)], guesses[: _run(is_alone)]
        try:
            scores = suffix.test(self._candidates(edges, guesses))
        except (RuntimeError, MemoryError) as error:
            if len(edges) == 1 or not is_out_of_memory(error):
                raise
            self._batch = len(edges) // 2
            return 0
        self.circuit.tests += len(edges)
        accepted, judged, start = -1, 0, self.score
        for edge, guess in zip(edges.tolist(), guesses, strict=True):
            score, effect = scores[judged], scores[judged] - self.score
            if self._is_close(self._margin(effect), score):
                is_current = suffix.is_new and accepted < 0
                self._test_anew(edge, suffix if is_current else self._built(edge))
                return judged + 1
            is_removed = self._judge(edge, effect, score)
            accepted = judged if is_removed else accepted
            judged += 1
            if is_removed != guess:
                break
        if accepted >= 0:
            suffix.accept(accepted)
        for late in range(judged, len(edges)):
            gone = np.flatnonzero(guesses[:late])
            base = scores[gone[-1]] if len(gone) else start
            self._guesses.tested(int(edges[late]), bool(self._margin(scores[late] - base) < 0))
        return judged

    def _test_anew(self, edge: int, suffix: Suffix) -> None:
        """Judge an edge alone, by a state that is new: score and effect then depend on nothing but
        the edges kept. The search goes on from that state."""
        alone = self._candidates(np.array([edge]), np.ones(1, dtype=bool))
        score = suffix.test(alone)[0]
        self.circuit.again += 1
        is_first = self.rules.start == "zero" and bool(self.circuit.kept.all())
        if self._judge(edge, score - (0.0 if is_first else suffix.score), score):
            suffix.accept(0)
        self._suffix = suffix

    def _candidates(self, edges: Ints, guesses: Bools) -> Candidates:
        """Each of some edges without those before it that are guessed to go. Without its direct
        edge, a receiver loses all that it still receives."""
        if self.graph.sender_of[edges[0]] >= 0:
            return Candidates.chain(self.graph, edges, guesses)
        receiver = int(self.graph.receiver_of[edges[0]])
        group = self.graph.group_of[receiver]
        kept = group.matrix(self.circuit.kept)[receiver - group.first]
        return Candidates.cut(receiver, np.flatnonzero(kept))

    def _judge(self, edge: int, effect: float, score: float) -> bool:
        """Is the edge removed, given its effect and the score without it?"""
        removed = bool(self._margin(effect) < 0)
        self._note(edge, effect, score, removed, evaluated=True)
        self._guesses.judged(edge, removed)
        return removed

    def _note(
        self, edges: Ints | int, effect: float, score: float, removed: bool, *, evaluated: bool
    ) -> None:
        circuit = self.circuit
        if removed:
            self.score = score
        circuit.effect[edges], circuit.margin[edges] = effect, self._margin(effect)
        circuit.score[edges], circuit.evaluated[edges] = self.score, evaluated
        circuit.kept[edges] = not removed

    def _margin(self, effect: Number) -> Number:
        size = abs(effect) if self.rules.absolute else effect
        return size - self.circuit.threshold

    def _is_close(self, margin: Floats | float, score: Floats | float) -> Bools | bool:
        return np.abs(margin) < self._close * np.maximum(1.0, np.abs(score))


def _run(flags: Bools) -> int:
    """How many of them are set before the first that is not."""
    return len(flags) if flags.all() else int(flags.argmin())
