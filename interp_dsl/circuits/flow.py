"""What changes between a receiver and the logits when edges are taken away, and the inputs that it
reaches.

Shapes: receivers first, then K candidates (in a flow), then B, t, and d_model D."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from interp_dsl.circuits.candidates import Candidates
from interp_dsl.circuits.clean import Clean
from interp_dsl.circuits.places import carried
from interp_dsl.circuits.rows import index, picked
from interp_dsl.circuits.sent import Sent
from interp_dsl.models.graph import Bools, Group, Ints

APART = 2**14
"""Numbers of an input from which on sums are made one by one, and nothing is gathered for them."""
CACHED = 2**18
"""Numbers of a tensor that a processor's cache holds beside what is made of it."""


class Update(NamedTuple):
    """What replaces `kept`[rows] when a candidate is accepted: of `new` [n, K, ...] its own; or, by
    `which` [n, K], rows of `new` [states, ...], none where it says -1. Where there is one, `make`
    makes what replaces them of a candidate's own of `new` [n or 1, ...]."""

    kept: Tensor
    rows: Ints
    new: Tensor
    which: Ints | None = None
    make: Callable[[Tensor], Tensor] | None = None

    def accept(self, candidate: int) -> None:
        if self.which is None:
            new = self.new[:, candidate]
            new = new if self.make is None else self.make(new)
            self.kept[index(self.rows, self.kept.device)] = new
            return
        states = self.which[:, candidate]
        rows, states = self.rows[states >= 0], states[states >= 0]
        if len(rows):
            self.kept[index(rows, self.kept.device)] = picked(self.new, states)


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
        self.sent = (Sent(n_senders), Sent(n_senders))
        """What senders write at all positions, and at the reads."""

    def send(self, senders: Ints, difference: Tensor, narrow: bool) -> None:
        """Of narrow senders only what they write at the reads is known, and needed."""
        if not narrow:
            self.sent[False].add(senders, difference)
            difference = self.clean.prompts.narrowed(difference)
        self.sent[True].add(senders, difference)

    def send_states(self, senders: Ints, states: Tensor, which: Ints, narrow: bool) -> None:
        """The same of senders that few states are of, [n, B, t, D]: `which` [s, K] is each
        candidate's, none where it says -1. Told apart on a processor alone."""
        if states.device.type != "cpu" or self.clean.places is not None:
            none = torch.zeros_like(states[:1])
            found = torch.cat([states, none])[torch.from_numpy(which).to(states.device)]
            self.send(senders, found, narrow)
            return
        if not narrow:
            self.sent[False].add_states(senders, states, which)
            states = self.clean.prompts.narrowed(states)
        self.sent[True].add_states(senders, states, which)

    def leaves_clean(self, inputs: Sequence[Inputs]) -> bool:
        """Is this the first run, and has nothing been removed before or at these inputs?"""
        return (
            self.given is None and not self.sent[True].senders and all(i.is_clean for i in inputs)
        )

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
    grow: by `gains` [n, K, B, t, D]; None where they do not, nothing having been accepted yet. Rows
    that are `alike` [n] have one and the same input."""

    rows: Ints
    x: Tensor
    gains: Sequence[Tensor] | Tensor | None
    alike: Ints

    def new(self, some: Ints) -> Tensor:
        """The new inputs [m, K, B, t, D] of some of them [m]."""
        old = picked(self.x, self.rows[some])[:, None]
        if self.gains is None:
            return old
        if isinstance(self.gains, Tensor):
            return old + picked(self.gains, some)
        gains = [self.gains[i] for i in some.tolist()]
        if all(gain is gains[0] for gain in gains):
            alike: Tensor = old + gains[0]
            return alike
        found = old.new_empty(len(some), *gains[0].shape)
        for new, before, gain in zip(found, old, gains, strict=True):
            torch.add(before, gain, out=new)
        return found

    def parts(self) -> Iterator[tuple[Ints, Ints]]:
        """The rows, by their place among these, of which some share one input; and whose inputs
        are to be made: of one of them, or of all. On a processor as many at a time as it keeps in
        its cache."""
        _, first, count = np.unique(self.alike, return_index=True, return_counts=True)
        for shared in self.alike[first[count > 1]]:
            members = np.flatnonzero(self.alike == shared)
            yield members, members[:1]
        single = np.sort(first[count == 1])
        n = max(1, len(single))
        if self.gains is not None and self.x.device.type == "cpu":
            n = max(1, CACHED // self.gains[0].numel())
        for start in range(0, len(single), n):
            yield single[start : start + n], single[start : start + n]


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
        numbers_of: dict[bytes, int] = {}
        rows = np.moveaxis(held, -2, 0)
        alike = [numbers_of.setdefault(row.tobytes(), len(numbers_of)) for row in rows]
        self._alike = np.array(alike)
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
        row_of = [self.rows.get(receiver, -1) for receiver in given.receiver.tolist()]
        numbers = [number for number, row in enumerate(row_of) if row >= 0]
        if not numbers:
            return None
        rows = np.array([row_of[number] for number in numbers])
        removed = given.removed[numbers]
        differences = flow.clean.differences(self.narrow)
        is_large = differences[0].numel() > APART and differences.device.type == "cpu"
        if is_large and self.at is None:
            x = _stepwise(self.x, rows, removed, given.senders, differences)
        else:
            x = self._at_once(rows, removed, given, differences)
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
        sent = flow.sent[self.narrow]
        found = np.flatnonzero(self.present[:, sent.senders].any(1))
        if not len(found):
            return None
        gains: Sequence[Tensor] | Tensor
        if self.at is not None:
            gains = carried(self.held[:, found][:, :, sent.senders], sent.whole(), self.at)
        elif self.x.device.type == "cpu":
            gains = sent.gains(self.present[found])
        else:
            gains = _sum(self.present[found][:, sent.senders], sent.whole())
        flow.updates.append(Gain(self.x, found, gains))
        return Changed(found, self.x, gains, self._alike[found])

    def only(self, flow: Flow) -> Tensor | None:
        """The new input [K, B, t, D] of the one receiver that these are, whether senders change it
        or the candidates themselves; None where it is left as it is."""
        states = self.states(flow)
        if states is not None:
            return picked(states.x, states.which[0])
        changed = self.changed(flow)
        return None if changed is None else changed.new(np.zeros(1, dtype=np.int64))[0]

    def _all(self, flow: Flow) -> Changed:
        """All rows, of which there is one where all are alike. What senders write less what they
        write in the clean run is added for good."""
        sent = flow.sent[self.narrow]
        if sent.senders:
            whole = sent.whole()
            self.x += (
                _sum(self.present[:, sent.senders], whole)
                if self.at is None
                else carried(self.held[:, :, sent.senders], whole, self.at)
            )[:, 0]
        return Changed(np.arange(len(self.x)), self.x, None, self._alike)

    def _at_once(
        self, rows: Ints, removed: Bools, given: Candidates, differences: Tensor
    ) -> Tensor:
        """The inputs of rows [n] without what is `removed` [n, senders], [n, B, t, D]."""
        is_one = bool((rows == rows[0]).all())
        old = picked(self.x, rows[:1] if is_one else rows)
        if (removed.sum(1) == 1).all():
            return old + self._differences(differences, given, removed.argmax(1))
        mine = self._differences(differences, given, slice(None)).flatten(1)
        found = torch.addmm(old.flatten(1), torch.from_numpy(removed).to(mine), mine)
        return found.view(-1, *old.shape[1:])

    def _differences(self, all_of_them: Tensor, given: Candidates, some: Ints | slice) -> Tensor:
        """ablated - clean of some of the senders that candidates take edges from, each at its
        place, [n, B, t, D]."""
        found = picked(all_of_them, given.senders[some])
        if self.at is None or given.places is None:
            return found
        return found * picked(self.at, given.places[some])[..., None]


def _stepwise(x: Tensor, rows: Ints, removed: Bools, senders: Ints, differences: Tensor) -> Tensor:
    """The inputs of rows [n] of x without what is `removed` [n, senders], [n, B, t, D]: each from
    the nearest before it of the same row that lacks no more."""
    found = x.new_empty(len(rows), *x.shape[1:])
    nearest: list[int] = []
    for place, row in enumerate(rows.tolist()):
        before = place - 1 if place and rows[place - 1] == row else -1
        while before >= 0 and (removed[before] & ~removed[place]).any():
            before = nearest[before]
        nearest.append(before)
        more = removed[place] if before < 0 else removed[place] & ~removed[before]
        first, *others = senders[more].tolist()
        torch.add(x[row] if before < 0 else found[before], differences[first], out=found[place])
        for sender in others:
            found[place] += differences[sender]
    return found


def _sum(edges: Bools, sent: Tensor) -> Tensor:
    """What each of n receivers gets over `edges` [n, s] of `sent` [s, K, B, t, D]:
    [n, K, B, t, D]."""
    found: Tensor = torch.tensordot(torch.from_numpy(edges).to(sent), sent, 1)
    return found
