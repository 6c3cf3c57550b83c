"""What a search has found."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from interp_dsl.circuits.progress import Progress
from interp_dsl.models.graph import Bools

Result = TypeVar("Result")


@dataclass(frozen=True)
class Found:
    """The circuit `kept` [E], all of it on paths from an embedding to the logits; `scores` [E], by
    which the search ranks edges, the higher the more needed; `value`, the metric of the circuit,
    mean over the examples of the search."""

    kept: Bools
    scores: NDArray[np.float64]
    value: float


def finished(
    search: Generator[Progress, None, Result], tell: Callable[[Progress], None] | None = None
) -> Result:
    """What a search returns; its progress is told on the way, where there is anyone to tell."""
    while True:
        try:
            at = next(search)
        except StopIteration as end:
            result: Result = end.value
            return result
        if tell is not None:
            tell(at)
