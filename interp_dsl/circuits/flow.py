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
from interp_dsl.circuits.sent import Gain, Sent
from interp_dsl.models.graph import Bools, Group, Ints

CACHED = 2**18
"""Numbers of a tensor that a processor's cache holds beside what is made of it: inputs of several
receivers are made together up to there, and beyond of those candidates alone that change them."""


class Update(NamedTuple):
    """What replaces `kept`[rows] when one of some candidates [m] is accepted: its own of `new`
    [n, m, ...]; where there is one, what `make` makes of its own of `new` [n or 1, m, ...]."""

    kept: Tensor
    rows: Ints
    some: Ints
    new: Tensor
    make: Callable[[Tensor], Tensor] | None = None

    def accept(self, candidate: int) -> None:
        for at in np.flatnonzero(self.some == candidate).tolist():
            new = self.new[:, at] if self.make is None else self.make(self.new[:, at])
            self.kept[index(self.rows, self.kept.device)] = new


class State(NamedTuple):
    """What replaces a row of `kept` when one of `candidates` [m] is accepted: `kept`[rows_i], by
    `new`_i [...] of the i-th."""

    kept: Tensor | dict[int, Tensor]
    candidates: Ints
    rows: Ints
    new: Tensor

    def accept(self, candidate: int) -> None:
        for at in np.flatnonzero(self.candidates == candidate).tolist():
            row, new = int(self.rows[at]), self.new[at]
            self.kept[row] = new if isinstance(self.kept, Tensor) else new.clone()


class Growth(NamedTuple):
    """What grows when a candidate is accepted: `kept`[rows], by its own of `gains` [n] or
    [n, K, ...]."""

    kept: Tensor
    rows: Ints
    gains: Sequence[Gain] | Tensor

    def accept(self, candidate: int) -> None:
        if isinstance(self.gains, Tensor):
            self.kept[index(self.rows, self.kept.device)] += self.gains[:, candidate]
            return
        for row, gain in zip(self.rows.tolist(), self.gains, strict=True):
            for at in np.flatnonzero(gain.some == candidate).tolist():
                self.kept[row] += gain.x[at]


class Flow:
    """One run of K candidates from the receivers of a stage to the logits: what changed senders
    write, less what they write in the accepted state. Without `given` everything is computed."""

    def __init__(self, clean: Clean, n_senders: int, given: Candidates | None) -> None:
        self.clean = clean
        self.given = given
        self.n_candidates = given.n if given else 1
        self.everyone = np.arange(self.n_candidates)
        self.updates: list[Update | State | Growth] = []
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
    """The inputs of some `classes` [n] that changed senders reach, and how those `x` [classes, B,
    t, D] grow: by `gains` [n] or [n, K, B, t, D]; None where they do not, nothing having been
    accepted yet. `at_once` of those that a single receiver has are made together."""

    classes: Ints
    x: Tensor
    gains: Sequence[Gain] | Tensor | None
    members: Sequence[Ints]
    at_once: int

    def new(self, some: Sequence[int]) -> tuple[Ints, Tensor]:
        """The candidates [c] that change some of them [m], and what they become [m, c, B, t, D]."""
        old = picked(self.x, self.classes[some])[:, None]
        if self.gains is None:
            return np.arange(1), old
        if isinstance(self.gains, Tensor):
            return np.arange(self.gains.shape[1]), old + picked(self.gains, np.array(some))
        gains = [self.gains[i] for i in some]
        candidates, gain = gains[0]
        if all(other.x is gain for other in gains):
            return candidates, old + gain
        found = old.new_empty(len(some), *gain.shape)
        for new, before, other in zip(found, old, gains, strict=True):
            torch.add(before, other.x, out=new)
        return candidates, found

    def parts(self) -> Iterator[tuple[Ints, list[int]]]:
        """Rows of receivers, and which of these inputs they have: one for all, or each its own."""
        single = []
        for place, number in enumerate(self.classes.tolist()):
            if len(self.members[number]) > 1:
                yield self.members[number], [place]
            else:
                single.append(place)
        for start in range(0, len(single), self.at_once):
            some = single[start : start + self.at_once]
            yield np.concatenate([self.members[number] for number in self.classes[some]]), some


class Inputs:
    """The inputs of some receivers of one layer, of which those that the same senders reach are of
    one class: `x` [classes, B, t, D]. `present` [classes, S] are the kept edges into them. At first
    the senders behind the receiver of the search count as clean.

    In a graph by position the edges are given by place, [P, n_additive]: `held` [P, classes, S], of
    which `present` are those kept at some place, and `at` [P, B, t] says where places are."""

    def __init__(
        self, clean: Clean, receivers: Sequence[tuple[Group, int]], present: Bools, narrow: bool
    ) -> None:
        self.receivers = [group.first + member for group, member in receivers]
        self.narrow = narrow
        self._row_of = np.full(clean.forward.graph.n_receivers, -1)
        self._row_of[self.receivers] = np.arange(len(receivers))
        group = receivers[0][0]
        self.at = clean.at(narrow)
        classes: dict[bytes, list[int]] = {}
        edges: list[Bools] = []
        for row, (its, member) in enumerate(receivers):
            mine = its.matrix(present)[..., member, :]
            rows = classes.setdefault(mine.tobytes(), [])
            edges += [] if rows else [mine]
            rows.append(row)
        self._members = [np.array(rows) for rows in classes.values()]
        self._class_of = {row: n for n, rows in enumerate(classes.values()) for row in rows}
        self._accepted: dict[int, Tensor] = {}
        """Of receivers that have lost edges since, by their rows."""
        removed = ~np.stack(edges, axis=-2)
        self.is_clean = not removed.any()
        held = np.zeros((*removed.shape[:-1], len(clean.forward.graph.senders)), dtype=bool)
        held[..., : group.senders] = ~removed
        differences = clean.differences(narrow)[: group.senders]
        stream = clean.stream(group, narrow)
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
            old = self._old(row) if after < 0 else made[after]
            if not given.senders[candidate]:
                new.copy_(old)
            for sender in given.senders[candidate]:
                torch.add(old, self._at_place(differences[sender], place), out=new)
                old = new
            made[candidate] = new
        flow.updates.append(State(self._accepted, mine, rows, x))
        return States(mine, rows, x)

    def _old(self, row: int) -> Tensor:
        """The accepted input of a receiver, [B, t, D]."""
        found = self._accepted.get(row)
        return self.x[self._class_of[row]] if found is None else found

    def changed(self, flow: Flow, apart: bool = True) -> Changed | None:
        """The receivers that senders change; noted as what is to grow. None when there are none.
        Where inputs are large, those candidates may be told `apart` that change each."""
        if flow.given is None:
            return self._all(flow)
        sent = flow.sent[self.narrow]
        found = np.flatnonzero(self.present[:, sent.senders].any(1))
        if not len(found):
            return None
        gains: Sequence[Gain] | Tensor
        at_once = len(found)
        if self.at is not None:
            gains = carried(self.held[:, found][:, :, sent.senders], sent.whole(), self.at)
        elif self.x.device.type == "cpu":
            at_once = max(1, CACHED // (flow.n_candidates * self.x[0].numel()))
            gains = sent.gains(self.present[found], apart and at_once == 1)
        else:
            gains = _sum(self.present[found][:, sent.senders], sent.whole())
        flow.updates.append(Growth(self.x, found, gains))
        return Changed(found, self.x, gains, self._members, at_once)

    def only(self, flow: Flow) -> Tensor | None:
        """The new input [K, B, t, D] of the one receiver that these are, whether senders change it
        or the candidates themselves; None where it is left as it is."""
        states = self.states(flow)
        if states is not None:
            return states.x
        changed = self.changed(flow, apart=False)
        return None if changed is None else changed.new([0])[1][0]

    def _all(self, flow: Flow) -> Changed:
        """All of them. What senders write less what they write in the clean run is added for
        good."""
        sent = flow.sent[self.narrow]
        if sent.senders:
            whole = sent.whole()
            self.x += (
                _sum(self.present[:, sent.senders], whole)
                if self.at is None
                else carried(self.held[:, :, sent.senders], whole, self.at)
            )[:, 0]
        return Changed(np.arange(len(self.x)), self.x, None, self._members, len(self.x))

    def _at_place(self, x: Tensor, place: int) -> Tensor:
        """What is written, [B, t, D], of that what is read at a place of a graph by position."""
        return x if self.at is None else x * self.at[place][..., None]


def _sum(edges: Bools, sent: Tensor) -> Tensor:
    """What each of n receivers gets over `edges` [n, s] of `sent` [s, K, B, t, D]:
    [n, K, B, t, D]."""
    found: Tensor = torch.tensordot(torch.from_numpy(edges).to(sent), sent, 1)
    return found
