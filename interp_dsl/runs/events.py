"""The event log: one JSON object a line, appended while the run goes on.

Every event holds `time` (seconds since 1970) and `event` (its kind). The kinds and their fields:

run_started    tasks: [{id, kind, step, total}], resumed
imported       what: [library], seconds: how long their import took, counted nowhere else
task_started   task, step, total
progress       task, done, total
task_finished  task, step, seconds, memory: bytes held at most besides the models, null where the
               system does not tell, reused
top            step, rows: [{unit, metric, effect, low, high}], the leading ones so far
edges          step, threshold, done, total, kept, score, left: a search has judged `done` of its
               `total` edges for a threshold (null where the method has none), `kept` are left of
               all, `score` is the first metric with these; it has `left` [least, most] seconds to
               go, null where that is not known
nodes          step, done, total, kept, score: a search of nodes is so far with its `total` nodes,
               or circuits that it measures at most; `kept` nodes are left, the rest as of edges
fit            step, dictionary: its label, null where it stands alone, at, total: training steps,
               tokens, loss, mse, penalty, l0, fvu, dead, lr: of the batch of step `at`
claim          text, ok, value, low, high, message, file, line
note           text
failed         diagnostics
run_finished   status, seconds: of the work, imports: seconds of all imports
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from threading import RLock
from typing import Any

from interp_dsl.runs.files import plain

Event = dict[str, Any]


class EventLog:
    """The log at `path`, to append to and to read, in this process or another."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = RLock()  # a signal's handler may append while its thread does
        self._handle: FileIO | None = None
        self.listener: Callable[[Event], None] | None = None
        """Told of every event that this process appends."""

    def append(self, kind: str, **fields: Any) -> Event:
        """Add one event; a reader sees it at once."""
        event: Event = {"time": round(time.time(), 3), "event": kind, **plain(fields)}
        line = json.dumps(event, ensure_ascii=False) + "\n"
        with self._lock:
            if self._handle is None:
                self._handle = self._open()
            self._handle.write(line.encode())
        if self.listener is not None:
            self.listener(event)
        return event

    def close(self) -> None:
        with self._lock:
            if self._handle is not None:
                self._handle.close()
                self._handle = None

    def _open(self) -> FileIO:
        handle = self.path.open("a+b", buffering=0)
        if handle.tell():
            handle.seek(-1, 2)
            if handle.read(1) != b"\n":  # a killed writer's torn line must not swallow the next
                handle.write(b"\n")
        return handle

    def read(self) -> Iterator[Event]:
        """The events so far."""
        yield from self._tail(lambda: True, poll=0)

    def follow(self, is_over: Callable[[], bool], poll: float = 0.1) -> Iterator[Event]:
        """The events so far and those to come, until `is_over` and the log is read to its end."""
        yield from self._tail(is_over, poll)

    def _tail(self, is_over: Callable[[], bool], poll: float) -> Iterator[Event]:
        for batch in self.batches(is_over, poll):
            yield from batch

    def batches(self, is_over: Callable[[], bool], poll: float = 0.1) -> Iterator[list[Event]]:
        """What `follow` gives, all that each look found at once; an empty list where it found
        nothing."""
        place, rest = 0, b""
        while True:
            last = is_over()
            try:
                with self.path.open("rb") as handle:
                    handle.seek(place)
                    read = handle.read()
            except FileNotFoundError:  # not begun yet, or deleted while it is followed
                read = b""
            place += len(read)
            *lines, rest = (rest + read).split(b"\n")
            yield [event for line in lines for event in _event(line)]
            if last:
                return
            time.sleep(poll)


def _event(line: bytes) -> Iterator[Event]:
    """The event of a line; nothing for one that a killed writer left torn."""
    try:
        event = json.loads(line)
    except ValueError:
        return
    if isinstance(event, dict) and "event" in event:
        yield event
