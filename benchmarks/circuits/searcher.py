"""A worker: one engine in a process of its own; a line on stdin is one whole search, answered on
stdout by a JSON object.

    <- {"seconds": …, "kept": ["L0H1 -> L1H0.k", …], "extra": {…}}

The first line it writes is {"versions": {…}}, or {"absent": "why"}. The end of stdin ends it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, TextIO

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
    out = _claimed_stdout()
    job = Job.read(Path(sys.argv[1]))
    torch.set_num_threads(job.threads)
    try:
        engine = make(job)
    except ImportError as error:
        _write(out, {"absent": str(error)})
        return
    _write(out, {"versions": {name: importlib.metadata.version(name) for name in packages}})
    for _ in sys.stdin:
        _write(out, asdict(engine.search()))


def _claimed_stdout() -> TextIO:
    """The driver's end; whatever else prints goes to stderr."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return out


def _write(out: TextIO, message: dict[str, Any]) -> None:
    out.write(json.dumps(message) + "\n")
    out.flush()
