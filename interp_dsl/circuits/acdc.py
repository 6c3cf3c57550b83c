"""Automatic circuit discovery (Conmy et al. 2023, arXiv 2304.14997, algorithm 1), exactly.

    H = all edges, F = the metric, to be small
    for each edge e, from the logits down:
        if F(H - e) - F(H) < τ:  H = H - e

F is the mean over examples. An edge's effect is F(H - e) - F(H), the running score F(H) the one
measured when the last edge was removed. How the tests are made fast without changing any of them
stands in suffix.py."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from interp_dsl.circuits.clean import Clean
from interp_dsl.circuits.order import edge_order, stages
from interp_dsl.circuits.rules import PRESETS, Rules
from interp_dsl.circuits.suffix import Suffix
from interp_dsl.models.graph import Bools, Ints

Floats = NDArray[np.float64]
Number = TypeVar("Number", float, Floats)


class Progress(NamedTuple):
    """After `done` of `total` edges, `kept` of all are left; the running score. The first comes
    before a search judges an edge itself."""

    threshold: float
    done: int
    total: int
    kept: int
    score: float


@dataclass
class Circuit:
    """What a search has found, by the number of an edge [E]: `order` its rank, -1 where it was not
    searched; its `effect`; the
    running `score` after it was judged; its `margin` effect - τ (of |effect| under `absolute`),
    below 0 for what is removed; whether it was `evaluated`, or dropped or judged as dead; whether
    it is `kept`. `tests` counts the candidates run, `again` the edges so near to the threshold that
    they were measured again."""

    threshold: float
    start: float
    order: Ints
    effect: Floats
    score: Floats
    margin: Floats
    evaluated: Bools
    kept: Bools
    tests: int = 0
    again: int = 0

    @property
    def final(self) -> float:
        """The running score at the end."""
        return float(self.score[self.order.argmax()])


def acdc(
    clean: Clean,
    thresholds: float | Sequence[float],
    rules: Rules = PRESETS["original"],
    among: Bools | None = None,
) -> Generator[Progress, None, list[Circuit]]:
    """The circuits of one or more thresholds τ, with progress after each batch of edges. A search
    takes over what an earlier one has found up to the first edge that the two judge differently.
    Of `among` [E] only these edges are judged, and all others kept."""
    if rules.direct != clean.forward.graph.direct:
        raise ValueError("the graph has direct edges when the rules have, and only then")
    found: list[Circuit] = []
    for threshold in [thresholds] if isinstance(thresholds, int | float) else thresholds:
        search = _Search(clean, rules, float(threshold), among)
        yield from search.run(found)
        found.append(search.circuit)
    return found


def discover(
    clean: Clean,
    thresholds: float | Sequence[float],
    rules: Rules = PRESETS["original"],
    among: Bools | None = None,
) -> list[Circuit]:
    """`acdc` without its progress."""
    search = acdc(clean, thresholds, rules, among)
    while True:
        try:
            next(search)
        except StopIteration as end:
            found: list[Circuit] = end.value
            return found


class _Search:
    """The state of one search: `circuit.kept` is H, `score` is F(H)."""

    def __init__(self, clean: Clean, rules: Rules, threshold: float, among: Bools | None) -> None:
        self.clean, self.rules, self.graph = clean, rules, clean.forward.graph
        self.order = edge_order(self.graph, rules.order)
        self.order = self.order if among is None else self.order[among[self.order]]
        self.circuit = _blank(threshold, self.order, self.graph.n_edges)
        self.score = 0.0
        model = clean.forward.model
        self._batch = rules.batch or _suitable(clean)
        self._close = 32 * torch.finfo(model.dtype).eps if rules.close is None else rules.close
        self._stages = stages(self.graph)
        self._direct = {
            receiver: self.graph.n_additive + number
            for number, receiver in enumerate(self.graph.direct_receivers)
        }
        self._suffix: Suffix | None = None
        self._guesses: dict[int, float] = {}
        self._anew: Suffix | None = None

    def run(self, earlier: Sequence[Circuit]) -> Generator[Progress, None, None]:
        circuit, total = self.circuit, len(self.order)
        done = self._begin(earlier)
        while True:
            kept = int(circuit.kept.sum())
            yield Progress(circuit.threshold, done, total, kept, self.score)
            if done == total:
                return
            with torch.no_grad():
                done += self._step(done)

    def _begin(self, earlier: Sequence[Circuit]) -> int:
        """Take over what the earlier search that agrees longest has found; how many edges."""
        mine = self.circuit
        lengths = [self._agreement(other) for other in earlier]
        if not lengths or not max(lengths):
            if self.rules.start == "measured":
                self.score = self.clean.start
            mine.start = self.score
            return 0
        shared, other = max(lengths), earlier[lengths.index(max(lengths))]
        edges = self.order[:shared]
        for name in ("effect", "score", "evaluated", "kept"):
            getattr(mine, name)[edges] = getattr(other, name)[edges]
        mine.margin[edges] = self._margin(mine.effect[edges])
        mine.start, self.score = other.start, float(mine.score[edges[-1]])
        return shared

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
        if self._suffix is None or self._suffix.stage != self._stages[edge]:
            self._suffix = Suffix(self.clean, self.circuit.kept, int(self._stages[edge]))
            self._anew = None
        receiver = int(self.graph.receiver_of[edge])
        is_cut = not self.circuit.kept[self._direct.get(receiver, edge)]
        if is_cut or not self._suffix.is_live(receiver):
            removed = self.rules.drop_dead or bool(self._margin(0.0) < 0)
            self._note(edge, 0.0, self.score, removed, evaluated=False)
            return 1
        return self._test(self._suffix, receiver, self._next(done))

    def _next(self, done: int) -> list[int]:
        """The next edges into the same receiver, at most a batch of them; a direct edge alone."""
        ahead = self.order[done : done + self._batch]
        alike = self.graph.receiver_of[ahead] == self.graph.receiver_of[ahead[0]]
        alike &= self.graph.sender_of[ahead] >= 0
        n = len(ahead) if alike.all() else max(1, int(alike.argmin()))
        return [int(edge) for edge in ahead[:n]]

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
        self._note(edge, effect, score, removed, evaluated=True)
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
        self, edge: int, effect: float, score: float, removed: bool, *, evaluated: bool
    ) -> None:
        circuit = self.circuit
        if removed:
            self.score, self._anew = score, None
        circuit.effect[edge], circuit.margin[edge] = effect, self._margin(effect)
        circuit.score[edge], circuit.evaluated[edge] = self.score, evaluated
        circuit.kept[edge] = not removed

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


def _blank(threshold: float, order: Ints, n_edges: int) -> Circuit:
    """Before the search: all edges kept."""
    rank = np.full(n_edges, -1)
    rank[order] = np.arange(len(order))
    effect, score, margin = np.zeros((3, n_edges))
    evaluated, kept = np.zeros(n_edges, dtype=bool), np.ones(n_edges, dtype=bool)
    return Circuit(threshold, 0.0, rank, effect, score, margin, evaluated, kept)
