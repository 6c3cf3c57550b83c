"""What changed senders write, less what they write in the accepted state, and what that comes to
for those who read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from interp_dsl.circuits.rows import Rows, index, picked
from interp_dsl.models.graph import Bools, Ints


class Gain(NamedTuple):
    """What some candidates [m] change of an input, `x` [m, B, t, D]; the others change nothing."""

    some: Ints
    x: Tensor

    def spread(self, n: int) -> Tensor:
        """Of all n candidates, [n, B, t, D]."""
        if len(self.some) == n:
            return self.x
        found = self.x.new_zeros(n, *self.x.shape[1:])
        found[index(self.some, found.device)] = self.x
        return found


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

    def gains(self, present: Bools, apart: bool) -> Sequence[Gain]:
        """What each of n receivers gets over the edges `present` [n, S]: those that get the same
        share it. Of all candidates, or, told `apart`, of those of which it gets something."""
        totals: dict[bytes, Gain] = {}
        found = []
        for row in present:
            key = row[self.senders].tobytes()
            if key not in totals:
                totals[key] = self._total(row, apart)
            found.append(totals[key])
        return found

    def _total(self, row: Bools, apart: bool) -> Gain:
        whole = self._rows.first(self._rows.count) if self._whole else ()
        parts = [x for sender, x in zip(self._whole, whole, strict=True) if row[sender]]
        states = [
            Gain(candidates[gets], picked(differences, np.flatnonzero(gets)))
            for candidates, senders, differences in self._states
            if (gets := row[senders]).any()
        ]
        if apart and not parts and len(states) == 1:
            return states[0]
        total, *others = parts + [gain.spread(self._n_candidates) for gain in states]
        for number, part in enumerate(others):
            total = total + part if number == 0 else total.add_(part)
        return Gain(np.arange(self._n_candidates), total)
