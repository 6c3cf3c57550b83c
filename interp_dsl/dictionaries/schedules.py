"""What changes in the course of training."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Of `steps` steps: lr rises from 0 over the share `warmup` and falls linearly to 0 over the
    last share `decay`; sparsity coefficients rise from 0 over the share `sparsity_warmup`."""

    steps: int
    warmup: float = 0.0
    decay: float = 0.2
    sparsity_warmup: float = 0.05

    def rate(self, step: int) -> float:
        """The factor of lr in step `step`, counted from 0."""
        rise = _risen(step, self.warmup * self.steps)
        left = (self.steps - step) / (self.decay * self.steps) if self.decay else 1.0
        return min(rise, left, 1.0)

    def warmth(self, step: int) -> float:
        """The factor of sparsity coefficients in step `step`."""
        return _risen(step, self.sparsity_warmup * self.steps)


def _risen(step: int, over: float) -> float:
    return min(1.0, (step + 1) / over) if over > 0 else 1.0
