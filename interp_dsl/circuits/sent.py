"""What changed senders write, less what they write in the accepted state, and what that comes to
for those who read it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from interp_dsl.circuits.rows import Rows
from interp_dsl.models.graph import Bools, Ints


class Sent:
    """Of some senders the differences of all K candidates, [s, K, B, t, D]; of others those of
    candidates [m] that each change one, [m, B, t, D]."""

    def __init__(self, n_senders: int, n_candidates: int) -> None:
        self.senders: list[int] = []
        self._n_candidates = n_candidates
        self._rows = Rows(n_senders)
        self._whole: list[int] = []
        self._states: list[tuple[Ints, Ints, Tensor]] = []

    def add(self, senders: Ints, differences: Tensor) -> None:
        self.senders.extend(senders.tolist())
        self._whole.extend(senders.tolist())
        self._rows.add(differences)

    def add_states(self, candidates: Ints, senders: Ints, differences: Tensor) -> None:
        self.senders.extend(senders.tolist())
        self._states.append((candidates, senders, differences))

    def whole(self) -> Tensor:
        """The differences of senders none of which was told by states."""
        assert not self._states
        return self._rows.first(self._rows.count)

    def gains(self, present: Bools) -> Sequence[Tensor]:
        """What each of n receivers gets over the edges `present` [n, S], [K, B, t, D]: those that
        get the same share it."""
        totals: dict[bytes, Tensor] = {}
        found = []
        for row in present:
            key = row[self.senders].tobytes()
            if key not in totals:
                totals[key] = self._total(row)
            found.append(totals[key])
        return found

    def _total(self, row: Bools) -> Tensor:
        whole = self._rows.first(self._rows.count) if self._whole else ()
        kept = zip(self._whole, whole, strict=True)
        parts: list[Tensor] = [x for sender, x in kept if row[sender]]
        parts += [self._spread(*states, row) for states in self._states if row[states[1]].any()]
        if len(parts) == 1:
            return parts[0]
        total = parts[0] + parts[1]
        for part in parts[2:]:
            total += part
        return total

    def _spread(self, candidates: Ints, senders: Ints, states: Tensor, row: Bools) -> Tensor:
        """What a receiver gets of states, [K, B, t, D]: nothing where a candidate changes none of
        them, or a sender from which no edge leads to it."""
        gets = row[senders]
        if len(states) == self._n_candidates and gets.all():
            return states
        found = states.new_zeros(self._n_candidates, *states.shape[1:])
        for at in np.flatnonzero(gets).tolist():
            found[int(candidates[at])] = states[at]
        return found
