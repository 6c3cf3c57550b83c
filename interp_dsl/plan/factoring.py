"""The task of factoring layers."""

from __future__ import annotations

from dataclasses import dataclass

from interp_dsl.plan.algebra import Metric, Run
from interp_dsl.plan.origin import Json, Place
from interp_dsl.plan.places import Target


@dataclass(frozen=True, slots=True)
class Factor:
    """What a model does, told by directions and ranks of its layers on `into`: a score table named
    `step`, with further tables behind its name, and tensors. `options` are all of the method's,
    none left open. `metrics`: what ablations are judged by, where the method makes any."""

    id: str
    step: str
    into: Run
    targets: tuple[Target, ...]
    method: str
    options: tuple[tuple[str, Json], ...]
    metrics: tuple[Metric, ...]
    reference: Run
    key: str | None = None
    place: Place | None = None
