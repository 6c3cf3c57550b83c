"""What implementations of ACDC differ in, and what an elimination measures. No torch, no numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ORDERS = ("reverse", "forward")
PACKED = 64
"""Circuits of nodes that are tried at once, at most."""


def eliminations(left: int, n: int, share: float) -> int:
    """Circuits that an elimination from `left` edges or nodes to n measures: the whole, then turn
    after turn one for each that is left, and what the turn leaves."""
    circuits = 1
    while left > n:
        circuits += left + 1
        left -= max(1, int(share * left))
    return circuits


@dataclass(frozen=True)
class Rules:
    """What implementations of ACDC differ in.

    `order`: see order.py. `direct`: the graph has the original's direct edges, removing which cuts
    a receiver off. `drop_dead`: edges into what no kept path leads from to the logits are dropped
    untested; else they are judged by their effect, which is 0. `absolute`: |effect| < τ.
    `start`: the running score begins as measured, or at zero.
    `batch`: how many edges into one stage are tested at once, each on a guess of which before it
    are removed; None: as many as suit the device. It changes no decision: where
    |effect - τ| is below `close` × max(1, |score|), rounding could, and both scores are measured
    again from a state built anew, the edge alone. None: 32 × the precision of the model."""

    order: str | Sequence[int] = "reverse"
    direct: bool = False
    drop_dead: bool = True
    absolute: bool = False
    start: str = "measured"
    batch: int | None = None
    close: float | None = None

    def __post_init__(self) -> None:
        if self.start not in ("measured", "zero"):
            raise ValueError(f"a running score starts measured or zero, not {self.start!r}")


# The original's command line (indices_mode normal, no abs); auto-circuit 1.0.1, whose order inside
# a layer follows the hash seed and is fixed here.
PRESETS = {
    "original": Rules(order="reverse", direct=True, drop_dead=True, start="measured"),
    "auto-circuit": Rules(order="forward", direct=False, drop_dead=False, start="zero"),
}
