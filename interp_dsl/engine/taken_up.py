"""What an unfinished search can be taken up from: one part file of its step, written now and
then."""

from __future__ import annotations

import time

import polars as pl

from interp_dsl.circuits.progress import Progress, Snapshot
from interp_dsl.engine.interrupts import Stop
from interp_dsl.runs.folder import RunFolder

EVERY = 2.0
"""Seconds of work, about, that are lost when a run is killed."""
SHARE = 20
"""Writing takes at most one part in so many of a search's time."""


class Saved:
    """The snapshots of one step under its key."""

    def __init__(self, folder: RunFolder, step: str, key: str, stop: Stop) -> None:
        self._folder, self._step, self._key, self._stop = folder, step, key, stop
        self._next = time.monotonic() + EVERY

    def last(self) -> Snapshot | None:
        """What an earlier run has left."""
        if not self._folder.parts(self._step, self._key):
            return None
        return self._folder.read_part(self._step, 0, self._key)[1]

    def offer(self, at: Progress) -> None:
        """Keep a snapshot where one can be made and it is time for one. Raises Stopped when the run
        is to stop, with what has been done on the disk."""
        if at.snapshot is None:
            return
        is_asked = self._stop.is_wanted
        started = time.monotonic()
        if is_asked or started >= self._next:
            table = pl.DataFrame({"done": [at.done], "total": [at.total]})
            self._folder.write_part(self._step, 0, table, at.snapshot(), self._key)
            ended = time.monotonic()
            self._next = ended + max(EVERY, SHARE * (ended - started))
        if is_asked:
            self._stop.check()
