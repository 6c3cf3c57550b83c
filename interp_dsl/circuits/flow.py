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

CACHED = 2**18
"""Numbers of a tensor that a processor's cache holds beside what is made of it."""


class Update(NamedTuple):
    """What replaces `kept`[rows] when a candidate is accepted: its own of `new` [n, K, ...]; where
    there is one, what `make` makes of its own of `new` [n or 1, ...]."""

    kept: Tensor
    rows: Ints
    new: Tensor
    make: Callable[[Tensor], Tensor] | None = None

    def accept(self, candidate: int) -> None:
        new = self.new[:, candidate]
        new = new if self.make is None else self.make(new)
        self.kept[index(self.rows, self.kept.device)] = new


class State(NamedTuple):
    """What replaces a row of `kept` when one of `candidates` [m] is accepted: `kept`[rows_i], by
    `new`_i [...] of the i-th."""

    kept: Tensor
    candidates: Ints
    rows: Ints
    new: Tensor

    def accept(self, candidate: int) -> None:
        for at in np.flatnonzero(self.candidates == candidate).tolist():
            self.kept[int(self.rows[at])] = self.new[at]


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
        self.updates: list[Update | State | Gain] = []
        self.sent = (Sent(n_senders, self.n_candidates), Sent(n_senders, self.n_candidates))
        """What senders write at all positions, and at the reads."""

    def send(self, senders: Ints, difference: Tensor, narrow: bool) -> None:
        """Of narrow senders only what they write at the reads is known, and needed."""
        if not narrow:
            self.sent[False].add(senders, difference)
            difference = self.clean.prompts.narrowed(difference)
        self.sent[True].add(senders, difference)

    def send_states(
        self, candidates: Ints, senders: Ints, differences: Tensor, narrow: bool
    ) -> None:
        """Of `candidates` [m] each has changed one of the senders [m], by [m, B, t, D]. Told apart
        on a processor alone."""
        if differences.device.type != "cpu" or self.clean.places is not None:
            names, row = np.unique(senders, return_inverse=True)
            whole = differences.new_zeros(len(names), self.n_candidates, *differences.shape[1:])
            whole[row, candidates] = differences
            self.send(names, whole, narrow)
            return
        if not narrow:
            self.sent[False].add_states(candidates, senders, differences)
            differences = self.clean.prompts.narrowed(differences)
        self.sent[True].add_states(candidates, senders, differences)

    def leaves_clean(self, inputs: Sequence[Inputs]) -> bool:
        """Is this the first run, and has nothing been removed before or at these inputs?"""
        return (
            self.given is None and not self.sent[True].senders and all(i.is_clean for i in inputs)
        )

    def accept(self, candidate: int) -> None:
        for update in self.updates:
            update.accept(candidate)


class States(NamedTuple):
    """What `candidates` [m] leave receivers with, each one: inputs `x` [m, B, t, D] of the
    receivers in `rows` [m], ascending."""

    candidates: Ints
    rows: Ints
    x: Tensor


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
        self.receivers, self.narrow = numbers, narrow
        self._row_of = np.full(clean.forward.graph.n_receivers, -1)
        self._row_of[numbers] = np.arange(len(numbers))
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
        if given is None:
            return None
        row_of = self._row_of[given.receiver]
        mine = np.flatnonzero(row_of >= 0)
        if not len(mine):
            return None
        rows, differences = row_of[mine], flow.clean.differences(self.narrow)
        x = self.x.new_empty(len(mine), *self.x.shape[1:])
        made: dict[int, Tensor] = {}
        for candidate, row, new in zip(mine.tolist(), rows.tolist(), x, strict=True):
            after, place = given.after[candidate], given.place[candidate]
            old = self.x[row] if after < 0 else made[after]
            if not given.senders[candidate]:
                new.copy_(old)
            for sender in given.senders[candidate]:
                torch.add(old, self._at_place(differences[sender], place), out=new)
                old = new
            made[candidate] = new
        flow.updates.append(State(self.x, mine, rows, x))
        return States(mine, rows, x)

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
            return states.x
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

    def _at_place(self, x: Tensor, place: int) -> Tensor:
        """What is written, [B, t, D], of that what is read at a place of a graph by position."""
        return x if self.at is None else x * self.at[place][..., None]


def _sum(edges: Bools, sent: Tensor) -> Tensor:
    """What each of n receivers gets over `edges` [n, s] of `sent` [s, K, B, t, D]:
    [n, K, B, t, D]."""
    found: Tensor = torch.tensordot(torch.from_numpy(edges).to(sent), sent, 1)
    return found
