"""What all methods are given: prompts and what is measured on them; and the points of a path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from interp_dsl.circuits.clean import Metric
from interp_dsl.models.edits import Edit

RULES = ("right", "midpoint")


@dataclass(frozen=True)
class Examples:
    """Prompts `tokens` [B, T]. `metric` takes logits [B, r, d_vocab_out] at positions `reads`
    [B, r] (None: all, r = T) to values [B], each that of its own example; gradients flow through
    it. `mask` [B, T] holds the tokens that may be attended to, None for all. `places` [P, B, T]
    marks the tokens of each place of a graph by position (circuits/places.py). `under`: edits that
    hold throughout."""

    tokens: Tensor
    metric: Metric
    reads: Tensor | None = None
    mask: Tensor | None = None
    places: Tensor | None = None
    under: Sequence[Edit] = ()


def points(steps: int, rule: str) -> list[tuple[float, float]]:
    """Where a path from clean (0) to source (1) is looked at, and with which weight.

    right     0, 1/m … (m-1)/m, as published: x' + k/m (x - x'), k = 1 … m, the path seen from the
              source x' (Sundararajan et al. 2017, arXiv 1703.01365, equation 3; Hanna et al. 2024,
              arXiv 2403.17806). One step is the plain gradient at clean. Its error shrinks as 1/m
    midpoint  1/2m, 3/2m …; its error shrinks as 1/m²

    Raises ValueError for no steps, and for another rule."""
    if steps < 1:
        raise ValueError(f"a path has 1 step or more, not {steps}")
    if rule not in RULES:
        raise ValueError(f"a rule is one of {', '.join(RULES)}, not {rule!r}")
    shift = 0.0 if rule == "right" else 0.5
    return [((step + shift) / steps, 1 / steps) for step in range(steps)]
