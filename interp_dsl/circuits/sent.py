"""What changed senders write, less what they write in the accepted state, and what that comes to
for those who read it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from interp_dsl.circuits.rows import Rows, picked
from interp_dsl.models.graph import Bools, Ints


class Sent:
    """Of some senders the differences of all K candidates, [s, K, B, t, D]; of others those of few
    states [n, B, t, D], of which `which` [s, K] is each candidate's, none where it says -1."""

    def __init__(self, n_senders: int) -> None:
        self.senders: list[int] = []
        self._rows = Rows(n_senders)
        self._whole: list[int] = []
        self._states: list[tuple[Ints, Tensor, Ints]] = []

    def add(self, senders: Ints, differences: Tensor) -> None:
        self.senders.extend(senders.tolist())
        self._whole.extend(senders.tolist())
        self._rows.add(differences)

    def add_states(self, senders: Ints, states: Tensor, which: Ints) -> None:
        self.senders.extend(senders.tolist())
        self._states.append((senders, states, which))

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
        for senders, states, which in self._states:
            mine = which[row[senders]]
            if (mine >= 0).any():
                parts.append(_picked_sum(states, mine))
        if len(parts) == 1:
            return parts[0]
        total = parts[0] + parts[1]
        for part in parts[2:]:
            total += part
        return total


def _picked_sum(states: Tensor, which: Ints) -> Tensor:
    """Σ_s states[which_s] [K, B, t, D] of states [n, B, t, D] and `which` [s, K], without those
    where it says -1."""
    if ((which >= 0).sum(0) == 1).all():
        return picked(states, which.max(0))
    weights = np.zeros((which.shape[1], len(states) + 1), dtype=np.float32)
    np.add.at(weights, (np.arange(which.shape[1]), which), 1)
    marks = torch.from_numpy(weights[:, :-1]).to(states)
    return torch.matmul(marks, states.flatten(1)).view(-1, *states.shape[1:])
