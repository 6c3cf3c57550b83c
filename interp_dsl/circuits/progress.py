"""What a search tells on its way, and what it can be taken up from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from numpy.typing import NDArray

Snapshot = Mapping[str, NDArray[Any]]
"""All that a search goes on from, by name."""


class Work(NamedTuple):
    """Tests, each counted as the share of a pass that lies behind its edge's receiver: those
    `done`; those ahead at the `least`, of edges that lead to the logits whatever is decided, and at
    the `most`, of all edges. A test runs its whole share only where all of it is alive."""

    done: float
    least: float
    most: float


class Progress(NamedTuple):
    """After `done` of `total` edges or steps, `kept` of all edges are left; the score of these, to
    be small. `threshold` is nan where a method has none. `work` counts the search's work where its
    steps differ; `snapshot` makes what the search can be taken up from, where it can be here. Both
    hold until the search goes on."""

    threshold: float
    done: int
    total: int
    kept: int
    score: float
    snapshot: Callable[[], Snapshot] | None = None
    work: Callable[[], Work] | None = None
