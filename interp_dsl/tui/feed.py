"""Brings a run's events to the app: one thread tails the log and posts what each look found, ten
times a second at most."""

from __future__ import annotations

import threading
import time as clock
from collections.abc import Callable

from textual.message import Message

from interp_dsl.runs.events import Event
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.live import Status, status_of

POLL = 0.1
LOOK = 0.5
"""Seconds between two looks at whether the run's process is alive."""
LARGEST = 5_000
"""Events in one message: a long log is taken in pieces, keys answer in between."""


class RunMoved(Message):
    """Something happened in the run that `feed` follows: events, or its status changed."""

    def __init__(self, feed: Feed, events: list[Event], status: Status) -> None:
        super().__init__()
        self.feed, self.events, self.status = feed, events, status


class Feed:
    """Follows one run until `stop`, beyond its end too: a run may be taken up again."""

    def __init__(self, folder: RunFolder, post: Callable[[Message], object]) -> None:
        self.folder = folder
        self._post = post
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="feed", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End following; returns at once."""
        self._over.set()

    def _follow(self) -> None:
        told: Status | None = None
        looked = -LOOK
        for events in self.folder.log.batches(self._over.is_set, POLL):
            status = told
            is_news = bool(events) and told != "running"  # a run may have been taken up again
            if is_news or clock.monotonic() - looked >= LOOK:
                status, looked = self._status(told), clock.monotonic()
            if status is None or not (events or status != told):
                continue
            for piece in _pieces(coalesced(events)):
                if self._over.is_set():
                    return
                self._post(RunMoved(self, piece, status))
            told = status

    def _status(self, told: Status | None) -> Status:
        try:
            return status_of(self.folder)
        except (OSError, ValueError):  # the folder was deleted under our eyes
            return told or "created"


def coalesced(events: list[Event]) -> list[Event]:
    """The events with at most ten of progress a second and task: enough for rates and curves. The
    last of each task stays."""
    last = {e["task"]: i for i, e in enumerate(events) if e["event"] == "progress"}
    kept, times = [], dict[str, float]()
    for i, event in enumerate(events):
        if event["event"] == "progress":
            task, time = event["task"], event["time"]
            if i != last[task] and time - times.get(task, -POLL) < POLL:
                continue
            times[task] = time
        kept.append(event)
    return kept


def _pieces(events: list[Event]) -> list[list[Event]]:
    return [events[i : i + LARGEST] for i in range(0, max(1, len(events)), LARGEST)]
