"""Automatic circuit discovery (Conmy et al. 2023, arXiv 2304.14997, algorithm 1), exactly.

    H = all edges, F = the metric, to be small
    for each edge e, from the logits down:
        if F(H - e) - F(H) < τ:  H = H - e

F is the mean over examples. An edge's effect is F(H - e) - F(H), the running score F(H) the one
measured when the last edge was removed. How the tests are made fast without changing any of them
stands in suffix.py."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TypeVar

import numpy as np
import torch

from interp_dsl.circuits.circuit import Circuit, Floats, blank, stacked, unstacked
from interp_dsl.circuits.clean import Clean
from interp_dsl.circuits.order import edge_order, marks, stages
from interp_dsl.circuits.progress import Progress, Snapshot, Work
from interp_dsl.circuits.rules import PRESETS, Rules
from interp_dsl.circuits.suffix import Suffix
from interp_dsl.models.graph import Bools, Ints
from interp_dsl.models.paths import reaching

Number = TypeVar("Number", float, Floats)


def acdc(
    clean: Clean,
    thresholds: float | Sequence[float],
    rules: Rules = PRESETS["original"],
    snapshot: Snapshot | None = None,
) -> Generator[Progress, None, list[Circuit]]:
    """The circuits of one or more thresholds τ, with progress after each batch of edges. A search
    takes over what an earlier one has found up to the first edge that the two judge differently.

    From a snapshot of the same search it goes on, and ends with the very numbers that it would have
    ended with: where a snapshot can be made, the search itself begins from nothing but what the
    snapshot holds."""
    if rules.direct != clean.forward.graph.direct:
        raise ValueError("the graph has direct edges when the rules have, and only then")
    values = [thresholds] if isinstance(thresholds, int | float) else thresholds
    begun = unstacked(snapshot or {})
    found: list[Circuit] = []
    for number, threshold in enumerate(values):
        search = _Search(clean, rules, float(threshold), found, len(values) - number - 1)
        if number < len(begun):
            search.take_up(begun[number])
        else:
            search.begin()
        yield from search.run()
        found.append(search.circuit)
    return found


def discover(
    clean: Clean, thresholds: float | Sequence[float], rules: Rules = PRESETS["original"]
) -> list[Circuit]:
    """`acdc` without its progress."""
    search = acdc(clean, thresholds, rules)
    while True:
        try:
            next(search)
        except StopIteration as end:
            found: list[Circuit] = end.value
            return found


class _Search:
    """The state of one search: `circuit.kept` is H, `score` is F(H). `earlier` thresholds' circuits
    are finished, as many as `later` are to come."""

    def __init__(
        self, clean: Clean, rules: Rules, threshold: float, earlier: Sequence[Circuit], later: int
    ) -> None:
        self.clean, self.rules, self.graph = clean, rules, clean.forward.graph
        self.earlier, self.later = earlier, later
        self.order = edge_order(self.graph, rules.order)
        self.circuit = blank(threshold, self.order)
        self.score = 0.0
        model = clean.forward.model
        self._batch = rules.batch or _suitable(clean)
        self._close = 32 * torch.finfo(model.dtype).eps if rules.close is None else rules.close
        self._stages = stages(self.graph)
        self._marks = marks(self.graph, self.order)
        self._direct = {
            receiver: self.graph.n_additive + number
            for number, receiver in enumerate(self.graph.direct_receivers)
        }
        self._suffix: Suffix | None = None
        self._guesses: dict[int, float] = {}
        self._anew: Suffix | None = None

    def run(self) -> Generator[Progress, None, None]:
        circuit, total = self.circuit, self.graph.n_edges
        while True:
            is_mark = circuit.judged in self._marks
            if is_mark:
                self._suffix = self._anew = None
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
        stages_left = self._stages.max() - self._stages + 1
        reach = np.append(reaching(self.graph, circuit.kept & is_judged), True)
        is_sure = reach[self.graph.node_of[self.graph.receiver_of]]
        return Work(
            float(stages_left[is_judged & circuit.evaluated].sum()),
            float(stages_left[~is_judged & is_sure].sum()),
            float(stages_left[~is_judged].sum() + self.later * stages_left.sum()),
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
        edge = int(self.order[done])
        if self._suffix is None:
            self._suffix = Suffix(self.clean, self.circuit.kept, int(self._stages[edge]))
        receiver, edges = int(self.graph.receiver_of[edge]), self._next(done)
        is_cut = not self.circuit.kept[self._direct.get(receiver, edge)]
        if is_cut or not self._suffix.is_live(receiver):
            removed = self.rules.drop_dead or bool(self._margin(0.0) < 0)
            self._note(edges, 0.0, self.score, removed, evaluated=False)
            return len(edges)
        return self._test(self._suffix, receiver, edges[: self._batch].tolist())

    def _next(self, done: int) -> Ints:
        """The next edges into the same receiver; a direct edge alone."""
        ahead = self.order[done:][: len(self.graph.senders)]
        alike = self.graph.receiver_of[ahead] == self.graph.receiver_of[ahead[0]]
        alike &= self.graph.sender_of[ahead] >= 0
        found: Ints = ahead if alike.all() else ahead[: max(1, int(alike.argmin()))]
        return found

    def _test(self, suffix: Suffix, receiver: int, edges: list[int]) -> int:
        """Test edges into one receiver, each where those before it that are guessed to go are gone.
        Judge them up to the first that was guessed wrong: its own test is still right."""
        guesses = [self._guess(edge) for edge in edges]
        before = np.tril(np.tile(guesses, (len(edges), 1)), -1)
        senders, removed = self._senders(edges, before | np.eye(len(edges), dtype=bool))
        scores = suffix.test(receiver, senders, removed)
        self.circuit.tests += len(edges)
        accepted, judged = -1, 0
        for edge, guess in zip(edges, guesses, strict=True):
            is_removed = self._judge(edge, scores[judged])
            accepted = judged if is_removed else accepted
            judged += 1
            if is_removed != guess:
                break
        if accepted >= 0:
            suffix.accept(accepted)
        for late in range(judged, len(edges)):
            gone = np.flatnonzero(before[late])
            base = scores[gone[-1]] if len(gone) else self.score
            self._guesses[edges[late]] = scores[late] - base
        return judged

    def _guess(self, edge: int) -> bool:
        """Will it be removed? As a test told that came too late to count; else yes."""
        effect = self._guesses.pop(edge, None)
        return effect is None or bool(self._margin(effect) < 0)

    def _senders(self, edges: list[int], removed: Bools) -> tuple[Ints, Bools]:
        """The senders that edges come from, ascending, and their columns of `removed`. Without its
        direct edge, a receiver loses all that it still receives."""
        senders: Ints = self.graph.sender_of[edges]
        if senders[0] >= 0:
            ascending = np.argsort(senders)
            return senders[ascending], removed[:, ascending]
        group = self.graph.group_of[self.graph.receiver_of[edges[0]]]
        member = self.graph.receiver_of[edges[0]] - group.first
        senders = np.flatnonzero(group.matrix(self.circuit.kept)[member])
        return senders, np.ones((1, len(senders)), dtype=bool)

    def _judge(self, edge: int, score: float) -> bool:
        """Is the edge removed, given the score without it?"""
        effect = score - self.score
        if self._is_close(self._margin(effect), score):
            effect, score = self._measured_again(edge)
        removed = bool(self._margin(effect) < 0)
        self._note([edge], effect, score, removed, evaluated=True)
        return removed

    def _measured_again(self, edge: int) -> tuple[float, float]:
        """Effect and score from a state built anew, an edge alone: they depend on nothing but the
        edges kept."""
        kept = self.circuit.kept
        if self._anew is None:
            self._anew = Suffix(self.clean, kept, int(self._stages[edge]))
        senders, removed = self._senders([edge], np.ones((1, 1), dtype=bool))
        score = self._anew.test(int(self.graph.receiver_of[edge]), senders, removed)[0]
        self.circuit.again += 1
        is_first = self.rules.start == "zero" and bool(kept.all())
        return score - (0.0 if is_first else self._anew.score), score

    def _note(
        self,
        edges: Ints | list[int],
        effect: float,
        score: float,
        removed: bool,
        *,
        evaluated: bool,
    ) -> None:
        circuit = self.circuit
        if removed:
            self.score, self._anew = score, None
        circuit.effect[edges], circuit.margin[edges] = effect, self._margin(effect)
        circuit.score[edges], circuit.evaluated[edges] = self.score, evaluated
        circuit.kept[edges] = not removed

    def _margin(self, effect: Number) -> Number:
        size = abs(effect) if self.rules.absolute else effect
        return size - self.circuit.threshold

    def _is_close(self, margin: Floats | float, score: Floats | float) -> Bools | bool:
        return np.abs(margin) < self._close * np.maximum(1.0, np.abs(score))


def _suitable(clean: Clean) -> int:
    """Guesses that fail cost work. On a CPU they pay where passes are so small that most of their
    time goes into starting operations, elsewhere until the device is busy."""
    size = clean.tokens.numel() * clean.forward.graph.shape.d_model
    most, numbers = (16, 2**20) if clean.tokens.device.type == "cpu" else (32, 2**26)
    return max(1, min(most, numbers // size))
