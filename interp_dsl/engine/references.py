"""The logits that metrics compare with."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

CACHED = 2**16
"""Logits that a processor keeps at hand while it passes over them."""
Needed = Callable[[Tensor], tuple[Tensor, ...]]
"""What a comparison takes of a reference's logits [n, V], [n, …] each."""


class References:
    """The reference's logits [n, V] of all examples."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        self._made: dict[Needed, tuple[Tensor, ...]] = {}

    def prepare(self, needed: Needed, rows: int) -> None:
        """Make what is needed of all examples, once, if they are no more than a batch's rows."""
        if needed not in self._made and len(self.logits) <= rows:
            parts = [needed(x) for x in torch.split(self.logits, few_at_once(self.logits))]
            self._made[needed] = tuple(torch.cat(x) for x in zip(*parts, strict=True))

    def of(self, needed: Needed, examples: Tensor) -> tuple[Tensor, ...]:
        """What is needed of some examples."""
        if needed in self._made:
            return tuple(x.index_select(0, examples) for x in self._made[needed])
        return needed(self.of_each(examples))

    def of_each(self, examples: Tensor) -> Tensor:
        """Logits [R, V] of some examples."""
        return self.logits.index_select(0, examples)


def few_at_once(logits: Tensor) -> int:
    """As few rows as stay at hand in a processor's cache."""
    few = max(1, CACHED // logits.shape[1])
    return few if logits.device.type == "cpu" else max(1, len(logits))
