"""The seconds of a run: those that went into imports, and those of its work."""

from __future__ import annotations

import time

from interp_dsl.models.imports import taken
from interp_dsl.runs.folder import RunFolder


class Clock:
    """Runs from when it is made. Imports before that, of torch, are told of and not counted in."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.imports = 0.0
        self._before = taken()
        self._within = 0.0
        self._started = time.monotonic()

    def tell(self) -> float:
        """Tell of the imports since the last call; the seconds that they took of the run's."""
        found = taken()
        within = sum(found.values())
        told = self._before | found
        self._before = {}
        if told:
            seconds = sum(told.values())
            self.imports += seconds
            self._within += within
            self.folder.event("imported", what=list(told), seconds=seconds)
        return within

    @property
    def work(self) -> float:
        """Seconds so far, without those of the imports that were told of."""
        return time.monotonic() - self._started - self._within
