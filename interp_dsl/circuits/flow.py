"""What changes between a receiver and the logits when edges are taken away, and the inputs that it
reaches.

Shapes: receivers first, then K candidates (in a flow), then B, t, and d_model D."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from interp_dsl.circuits.candidates import Candidates
from interp_dsl.circuits.clean import Clean
from interp_dsl.circuits.places import carried
from interp_dsl.circuits.rows import Rows, index
from interp_dsl.models.graph import Bools, Group, Ints

CACHED = 2**18
"""Numbers of a tensor that a processor's cache holds beside what is made of it."""


class Update(NamedTuple):
    """What replaces `kept`[rows] when a candidate is accepted: of `new` [n, K, ...] its own; or, by
    `which` [n, K], rows of `new` [states, ...], none where it says -1."""

    kept: Tensor
    rows: Ints
    new: Tensor
    which: Ints | None = None

    def accept(self, candidate: int) -> None:
        if self.which is None:
            self.kept[index(self.rows, self.kept.device)] = self.new[:, candidate]
            return
        states = self.which[:, candidate]
        rows, states = self.rows[states >= 0], states[states >= 0]
        if len(rows):
            self.kept[index(rows, self.kept.device)] = self.new[index(states, self.new.device)]


class Gain(NamedTuple):
    """What grows when a candidate is accepted: `kept`[rows], by its own of `gains` [n, K, ...]."""

    kept: Tensor
    rows: Ints
    gains: Sequence[Tensor] | Tensor

    def accept(self, candidate: int) -> None:
        for row, gain in zip(self.rows.tolist(), self.gains, strict=True):
            self.kept[row] += gain[candidate]


class Flow:
    """One run of K candidates from the receivers of a stage to the logits: what changed senders
    write, less what they write in the accepted state. Without `given` everything is computed."""

    def __init__(self, clean: Clean, n_senders: int, given: Candidates | None) -> None:
        self.clean = clean
        self.given = given
        self.n_candidates = given.n if given else 1
        self.updates: list[Update | Gain] = []
        self._senders: tuple[list[int], list[int]] = ([], [])
        self._differences = (Rows(n_senders), Rows(n_senders))

    def send(self, senders: Ints, difference: Tensor, narrow: bool) -> None:
        """Of narrow senders only what they write at the reads is known, and needed."""
        if not narrow:
            self._senders[False].extend(senders)
            self._differences[False].add(difference)
            difference = self.clean.prompts.narrowed(difference)
        self._senders[True].extend(senders)
        self._differences[True].add(difference)

    def sent(self, narrow: bool) -> tuple[list[int], Tensor | None]:
        """Senders, and the differences [s, K, B, t, D] of what they write; None of none."""
        rows = self._differences[narrow]
        return self._senders[narrow], rows.first(rows.count) if rows.count else None

    def leaves_clean(self, inputs: Sequence[Inputs]) -> bool:
        """Is this the first run, and has nothing been removed before or at these inputs?"""
        return self.given is None and not self._senders[True] and all(i.is_clean for i in inputs)

    def accept(self, candidate: int) -> None:
        for update in self.updates:
            update.accept(candidate)


class States(NamedTuple):
    """What candidates leave receivers with: inputs `x` [p, B, t, D] of the receivers in `rows` [p],
    ascending; and of the rows `touched` [r], ascending, `which` [r, K] of these inputs a candidate
    leaves them with, or -1 for the accepted one."""

    rows: Ints
    x: Tensor
    touched: Ints
    which: Ints


@dataclass(frozen=True)
class Changed:
    """The `rows` [n] of receivers that changed senders reach, ascending, and how their inputs `x`
    grow: by `gains` [n, K, B, t, D]; None where they do not, nothing having been accepted yet."""

    rows: Ints
    x: Tensor
    gains: Sequence[Tensor] | Tensor | None

    def new(self, some: Ints) -> Tensor:
        """The new inputs [m, K, B, t, D] of some of them [m]."""
        old = self.x[index(self.rows[some], self.x.device)][:, None]
        if self.gains is None:
            return old
        if isinstance(self.gains, Tensor):
            return old + self.gains[index(some, old.device)]
        gains = [self.gains[i] for i in some.tolist()]
        if all(gain is gains[0] for gain in gains):
            alike: Tensor = old + gains[0]
            return alike
        found = old.new_empty(len(some), *gains[0].shape)
        for new, before, gain in zip(found, old, gains, strict=True):
            torch.add(before, gain, out=new)
        return found

    def chunks(self, some: Ints) -> Iterator[Ints]:
        """Some of them [m], as many at a time as a processor keeps in its cache."""
        n = len(some)
        if self.gains is not None and self.x.device.type == "cpu":
            n = max(1, CACHED // self.gains[0].numel())
        return (some[first : first + n] for first in range(0, len(some), n))


class Inputs:
    """The inputs of some receivers of one layer, `x` [n, B, t, D]; `present` [n, S] are the kept
    edges into them. At first the senders behind the receiver of the search count as clean.

    In a graph by position the edges are given by place, [P, n_additive]: `held` [P, n, S], of which
    `present` are those kept at some place, and `at` [P, B, t] says where places are."""

    def __init__(
        self, clean: Clean, receivers: Sequence[tuple[Group, int]], present: Bools, narrow: bool
    ) -> None:
        numbers = [group.first + member for group, member in receivers]
        self.rows = {number: row for row, number in enumerate(numbers)}
        self._first, self._last = numbers[0], numbers[-1]
        self.narrow = narrow
        group = receivers[0][0]
        self.at = clean.at(narrow)
        shape = (*present.shape[:-1], len(receivers), len(clean.forward.graph.senders))
        held = np.zeros(shape, dtype=bool)
        for row, (its, member) in enumerate(receivers):
            held[..., row, : its.senders] = its.matrix(present)[..., member, :]
        removed = ~held[..., : group.senders]
        differences = clean.differences(narrow)[: group.senders]
        stream = clean.stream(group, narrow)
        self.is_clean = not removed.any()
        if self.at is None:
            self.present = held
            marks = torch.from_numpy(removed).to(differences)
            x = torch.addmm(stream.flatten(), marks, differences.flatten(1))
            self.x = x.view(-1, *stream.shape)
        else:
            self.present, self.held = np.asarray(held.any(0)), held
            self.x = stream + carried(removed, differences[:, None], self.at)[:, 0]

    def states(self, flow: Flow) -> States | None:
        """What candidates leave these receivers with, x + Σ_s removed_s (ablated_s - clean_s) from
        the accepted inputs; noted as what replaces those. None where all is left as it is."""
        given = flow.given
        if given is None or given.receiver[-1] < self._first or given.receiver[0] > self._last:
            return None
        row_of = np.array([self.rows.get(receiver, -1) for receiver in given.receiver.tolist()])
        numbers = np.flatnonzero(row_of >= 0)
        if not len(numbers):
            return None
        rows, removed = row_of[numbers], given.removed[numbers]
        differences = flow.clean.differences(self.narrow)
        is_one = bool((rows == rows[0]).all())
        old = self.x[index(rows[:1] if is_one else rows, self.x.device)]
        if (removed.sum(1) == 1).all():
            x = old + self._differences(differences, given, removed.argmax(1))
        else:
            mine = self._differences(differences, given, slice(None)).flatten(1)
            x = torch.addmm(old.flatten(1), torch.from_numpy(removed).to(mine), mine)
            x = x.view(-1, *old.shape[1:])
        touched = [receiver for receiver in given.state_of if receiver in self.rows]
        which = np.array([given.state_of[receiver] for receiver in touched])
        which = np.where(which < 0, -1, np.searchsorted(numbers, which))
        states = States(rows, x, np.array([self.rows[r] for r in touched]), which)
        flow.updates.append(Update(self.x, states.touched, x, which))
        return states

    def changed(self, flow: Flow) -> Changed | None:
        """The receivers that senders change; noted as what is to grow. None when there are none."""
        if flow.given is None:
            return self._all(flow)
        senders, sent = flow.sent(self.narrow)
        edges = self.present[:, senders]
        found = np.flatnonzero(edges.any(1))
        if sent is None or not len(found):
            return None
        gains = (
            _gains(edges[found], sent)
            if self.at is None
            else carried(self.held[:, found][:, :, senders], sent, self.at)
        )
        flow.updates.append(Gain(self.x, found, gains))
        return Changed(found, self.x, gains)

    def only(self, flow: Flow) -> Tensor | None:
        """The new input [K, B, t, D] of the one receiver that these are, whether senders change it
        or the candidates themselves; None where it is left as it is."""
        states = self.states(flow)
        if states is not None:
            return picked(states.x, states.which[0])
        changed = self.changed(flow)
        return None if changed is None else changed.new(np.zeros(1, dtype=int))[0]

    def _all(self, flow: Flow) -> Changed:
        """All rows, of which there is one where all are alike. What senders write less what they
        write in the clean run is added for good."""
        senders, sent = flow.sent(self.narrow)
        if sent is not None:
            self.x += (
                _sum(self.present[:, senders], sent)
                if self.at is None
                else carried(self.held[:, :, senders], sent, self.at)
            )[:, 0]
        return Changed(np.arange(len(self.x)), self.x, None)

    def _differences(self, all_of_them: Tensor, given: Candidates, some: Ints | slice) -> Tensor:
        """ablated - clean of some of the senders that candidates take edges from, each at its
        place, [n, B, t, D]."""
        found = all_of_them[index(given.senders[some], all_of_them.device)]
        if self.at is None or given.places is None:
            return found
        return found * self.at[index(given.places[some], self.at.device)][..., None]


def picked(x: Tensor, which: Ints) -> Tensor:
    """x[which], x itself where that is all of it in order."""
    if len(which) == len(x) and (which == np.arange(len(x))).all():
        return x
    return x[torch.from_numpy(which).to(x.device)]


def _gains(edges: Bools, sent: Tensor) -> Sequence[Tensor] | Tensor:
    """What each of n receivers gets over `edges` [n, s] of `sent` [s, K, B, t, D]. On a processor,
    those that get the same share it."""
    if sent.device.type != "cpu":
        return _sum(edges, sent)
    totals: dict[bytes, Tensor] = {}
    found = []
    for row in edges:
        key = row.tobytes()
        if key not in totals:
            first, *others = np.flatnonzero(row).tolist()
            totals[key] = sent[first] if not others else sent[first] + sent[others[0]]
            for sender in others[1:]:
                totals[key] += sent[sender]
        found.append(totals[key])
    return found


def _sum(edges: Bools, sent: Tensor) -> Tensor:
    """The same as one tensor [n, K, B, t, D]."""
    found: Tensor = torch.tensordot(torch.from_numpy(edges).to(sent), sent, 1)
    return found
