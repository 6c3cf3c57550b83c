"""Who is writing a run folder: a lock that the system gives back when its holder dies."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path


class FolderLock:
    """The lock file of one run folder, held from `acquire` to `release` or death."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None

    def acquire(self, patience: float = 0.5) -> bool:
        """Take the lock; False when another holder keeps it for longer than a look takes."""
        if self._handle is not None:
            return False
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        until = time.monotonic() + patience
        while not _try(handle):
            if time.monotonic() >= until:
                os.close(handle)
                return False
            time.sleep(0.02)
        self._handle = handle
        return True

    def release(self) -> None:
        """Give the lock back, also where a forked child still has the file open."""
        if self._handle is not None:
            fcntl.flock(self._handle, fcntl.LOCK_UN)
            os.close(self._handle)
            self._handle = None

    @property
    def is_mine(self) -> bool:
        return self._handle is not None

    @property
    def is_held(self) -> bool:
        """Whether some process, this one included, holds the lock."""
        if self._handle is not None:
            return True
        try:
            handle = os.open(self.path, os.O_RDWR)
        except OSError:
            return False
        try:
            return not _try(handle)
        finally:
            os.close(handle)


def _try(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
