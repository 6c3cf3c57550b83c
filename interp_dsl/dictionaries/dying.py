"""How many features may be dead, known without waiting for the device that counts them.

A feature dies by being silent for many inputs, so those that can be dead some inputs from now are
silent already. They are counted every few steps, and the count is read as many steps later: then
the device has come to it long ago, and has the steps between still before it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

EVERY = 8
"""Steps from one count to the next. A count is used from so many steps on to twice as many."""


@dataclass
class _Count:
    """A number [()] on its way to the processor's memory: how many features can be dead within the
    next `inputs`."""

    number: Tensor
    inputs: int
    arrives: torch.cuda.Event | None = None

    @classmethod
    def of(cls, silent: Tensor, dead_after: int, inputs: int) -> _Count:
        number = (silent >= dead_after - inputs).sum()
        if not number.is_cuda:
            return cls(number.cpu(), inputs)
        held = number.to("cpu", non_blocking=True)
        return cls(held, inputs, torch.cuda.current_stream(number.device).record_event())

    def read(self) -> int:
        if self.arrives is not None:
            self.arrives.synchronize()
        return int(self.number)


class Dying:
    """Of a dictionary in training, how many features may be dead."""

    def __init__(self, dead_after: int) -> None:
        self.dead_after = dead_after
        begun = torch.tensor(0)
        self._known, self._coming = _Count(begun, dead_after - 1), _Count(begun, dead_after - 1)

    def most(self, silent: Tensor, inputs: int, step: int) -> int:
        """As many at most as training takes a step on so many inputs, each feature [m] having been
        silent for `silent` before. All, where steps were on more inputs than was foreseen."""
        if step % EVERY == 0:
            self._known = self._coming
            self._coming = _Count.of(silent, self.dead_after, 2 * EVERY * inputs)
        found = self._known.read() if self._known.inputs >= 0 else len(silent)
        for count in (self._known, self._coming):
            count.inputs -= inputs
        return found

    def state(self) -> Tensor:
        """All that later answers depend on [2, 2]: two counts, and the inputs for which each
        holds."""
        return torch.tensor([[c.read(), c.inputs] for c in (self._known, self._coming)])

    def restore(self, state: Tensor | None) -> None:
        """Go on from a state; without one nothing is known."""
        held = [[0, -1]] * 2 if state is None else state.tolist()
        self._known, self._coming = (_Count(torch.tensor(n), inputs) for n, inputs in held)
