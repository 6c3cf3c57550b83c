"""An engine's process: any order is one whole search, answered by

{"seconds": …, "kept": ["L0H1 -> L1H0.k", …], "extra": {…}}"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import racing
import torch
from case import Job


@dataclass(frozen=True)
class Answer:
    """Seconds of the search; the edges it kept, as the language writes them; `extra`: `forward`,
    the seconds of one plain forward in the same process and round, `edges` of the graph, `tests`
    run, and `margins` by edge, where the engine knows them."""

    seconds: float
    kept: list[str]
    extra: dict[str, Any] = field(default_factory=dict)


class Engine(Protocol):
    """Someone's search, made with model and prompts loaded."""

    def search(self) -> Answer: ...


def serve(make: Callable[[Job], Engine], packages: Sequence[str]) -> None:
    """Answer the driver until it hangs up. `packages` are those whose versions it is told."""
    job = Job.read(Path(sys.argv[1]))
    torch.set_num_threads(job.threads)

    def load() -> Callable[[racing.Message], racing.Message]:
        engine = make(job)
        return lambda order: asdict(engine.search())

    racing.serve(load, packages)
