"""Ctrl-C and cancel: finish the shard in hand, then stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from interp_dsl.runs.folder import RunFolder


class Stopped(Exception):
    """The run was asked to stop; `status` is cancelled or interrupted."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status


class Stop:
    """Whether someone wants the run stopped."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.interrupted = False

    @property
    def is_asked(self) -> bool:
        """Is the run to stop?"""
        return self.interrupted or self.folder.cancelled

    def check(self) -> None:
        """Raise Stopped when the run is to stop; called between shards."""
        if self.interrupted:
            raise Stopped("interrupted")
        if self.folder.cancelled:
            raise Stopped("cancelled")


@contextmanager
def watched(folder: RunFolder) -> Iterator[Stop]:
    """A Stop that the first Ctrl-C sets; the second raises KeyboardInterrupt at once. Outside the
    main thread only the folder's cancel mark is seen."""
    stop = Stop(folder)
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def set_flag(number: int, frame: FrameType | None) -> None:
        if stop.interrupted:
            raise KeyboardInterrupt
        stop.interrupted = True
        folder.event("note", text="interrupted: finishing what is in hand; again to stop at once")

    before = signal.signal(signal.SIGINT, set_flag)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
