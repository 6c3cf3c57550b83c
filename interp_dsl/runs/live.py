"""A run as its events tell it: what each task is at, the leading components, the curves of
searches, the claims, the log. No clock and no file decides anything here: the same events always
give the same state."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from interp_dsl.runs.events import Event
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.text import duration
from interp_dsl.runs.training import Curves, add_point

Stage = Literal["waiting", "working", "done", "reused", "stopped", "failed"]
Status = Literal["created", "running", "died", "interrupted", "done", "failed", "cancelled"]
Point = tuple[float, float]

WINDOW = 30
"""Progress events that a rate is taken from."""
LOG_LINES = 5_000
POINTS = 1_000
"""A curve of more than twice as many is thinned out to half."""


@dataclass
class TaskLive:
    """One task. `done` of `total` are examples, units or edges; `seconds` and `memory` (bytes) are
    known when it has ended."""

    id: str
    kind: str = ""
    step: str | None = None
    stage: Stage = "waiting"
    done: int = 0
    total: int | None = None
    started: float | None = None
    seconds: float | None = None
    memory: int | None = None
    samples: deque[Point] = field(default_factory=lambda: deque(maxlen=WINDOW))

    @property
    def name(self) -> str:
        return task_name({"task": self.id, "step": self.step})

    @property
    def rate(self) -> float | None:
        """Things a second, over the last progress; None where too little is known."""
        if len(self.samples) < 2:
            return None
        (t0, n0), (t1, n1) = self.samples[0], self.samples[-1]
        return (n1 - n0) / (t1 - t0) if t1 > t0 else None

    @property
    def left(self) -> float | None:
        """Seconds that the rest would take at this rate."""
        rate = self.rate
        if self.stage != "working" or not self.total or not rate:
            return None
        return max(0.0, (self.total - self.done) / rate)


@dataclass(frozen=True, slots=True)
class LogLine:
    """`tone` is a word for what it is: info, good, bad."""

    time: float
    text: str
    tone: str = "info"


@dataclass
class RunLive:
    """All that the events so far have told: `leading` components by step, the newest step last;
    `curves` by name, of a search over what it has judged, of a task over its seconds; `fits` by
    dictionary, the newest fit's last, as `runs.training` has them. `attempts` counts the times that
    the run was begun, `ending` is what the last attempt came to (None while it goes on)."""

    tasks: dict[str, TaskLive] = field(default_factory=dict)
    leading: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    curves: dict[str, list[Point]] = field(default_factory=dict)
    fits: dict[str, Curves] = field(default_factory=dict)
    claims: list[Mapping[str, Any]] = field(default_factory=list)
    log: deque[LogLine] = field(default_factory=lambda: deque(maxlen=LOG_LINES))
    failures: list[Mapping[str, Any]] = field(default_factory=list)
    attempts: int = 0
    ending: str | None = None
    started: float | None = None
    lines: int = 0
    """Lines that the log has ever had."""

    def apply(self, event: Event) -> None:
        """Take one event in; a kind that is not known changes nothing."""
        if event["event"] in _HANDLERS:
            _HANDLERS[event["event"]](self, event)

    def finish(self, status: Status) -> None:
        """The process is gone without a word: what it worked at is stopped."""
        stage: Stage = "failed" if status == "failed" else "stopped"
        for task in self.tasks.values():
            if task.stage == "working":
                task.stage = stage

    @property
    def working(self) -> list[TaskLive]:
        return [task for task in self.tasks.values() if task.stage == "working"]

    @property
    def n_ended(self) -> int:
        return sum(task.stage in ("done", "reused") for task in self.tasks.values())

    def _say(self, event: Event, text: str, tone: str = "info") -> None:
        self.log.append(LogLine(float(event["time"]), text, tone))
        self.lines += 1

    def _run_started(self, event: Event) -> None:
        self.attempts += 1
        self.ending, self.failures, self.claims = None, [], []
        self.started = float(event["time"])
        self.tasks = {
            t["id"]: TaskLive(t["id"], str(t.get("kind", "")), t.get("step"), total=t.get("total"))
            for t in event.get("tasks", ())
        }
        self._say(event, "the run goes on" if event.get("resumed") else "the run begins")

    def _task(self, event: Event) -> TaskLive:
        name = str(event["task"])
        return self.tasks.setdefault(name, TaskLive(name, step=event.get("step")))

    def _task_started(self, event: Event) -> None:
        task = self._task(event)
        task.stage, task.started, task.done = "working", float(event["time"]), 0
        task.total = event.get("total") or task.total
        task.samples.clear()

    def _progress(self, event: Event) -> None:
        task = self._task(event)
        task.done, task.total = int(event["done"]), event.get("total") or task.total
        task.samples.append((float(event["time"]), float(event["done"])))
        if task.rate is not None and task.started is not None:
            since = float(event["time"]) - task.started
            self._draw(f"{task.name} · a second", (since, task.rate))

    def _task_finished(self, event: Event) -> None:
        task = self._task(event)
        task.stage = "reused" if event.get("reused") else "done"
        task.seconds, task.memory = float(event["seconds"]), event.get("memory")
        if task.total:
            task.done = task.total
        self._say(event, f"{task.name}: {outcome(event)}", "good")

    def _top(self, event: Event) -> None:
        self.leading.pop(str(event["step"]), None)  # the newest stands last
        self.leading[str(event["step"])] = list(event["rows"])

    def _edges(self, event: Event) -> None:
        name = str(event["step"])
        if event.get("threshold") is not None:
            name += f" at {event['threshold']:g}"
        for what in ("score", "kept"):
            self._draw(f"{name} · {what}", (float(event["done"]), float(event[what])))

    def _fit(self, event: Event) -> None:
        add_point(self.fits, str(event["step"]), event)

    def _draw(self, name: str, point: Point) -> None:
        points = self.curves.setdefault(name, [])
        if points and points[-1][0] > point[0]:
            points.clear()  # it was begun again
        points.append(point)
        if len(points) > 2 * POINTS:
            del points[1:-1:2]

    def _claim(self, event: Event) -> None:
        self.claims.append(event)
        held = bool(event["ok"])
        self._say(event, f"claim {event['text']}: {'true' if held else 'false'}", _tone(held))

    def _note(self, event: Event) -> None:
        self._say(event, f"note: {event['text']}")

    def _imported(self, event: Event) -> None:
        self._say(event, imported(event))

    def _failed(self, event: Event) -> None:
        self.failures = list(event["diagnostics"])
        for found in self.failures:
            code = f"{found['code']}: " if found.get("code") else ""
            self._say(event, f"{code}{found['message']}", "bad")
        self.finish("failed")

    def _run_finished(self, event: Event) -> None:
        self.ending = str(event["status"])
        self.finish("interrupted")
        self._say(event, ending(event), _tone(self.ending == "done"))


_HANDLERS: dict[str, Callable[[RunLive, Event], None]] = {
    "run_started": RunLive._run_started,
    "task_started": RunLive._task_started,
    "progress": RunLive._progress,
    "task_finished": RunLive._task_finished,
    "top": RunLive._top,
    "edges": RunLive._edges,
    "nodes": RunLive._edges,
    "fit": RunLive._fit,
    "claim": RunLive._claim,
    "note": RunLive._note,
    "imported": RunLive._imported,
    "failed": RunLive._failed,
    "run_finished": RunLive._run_finished,
}


def _tone(good: bool) -> str:
    return "good" if good else "bad"


def status_of(folder: RunFolder) -> Status:
    """What a run is: `died` where its manifest says that it runs and no process writes it."""
    status: Status = folder.manifest.get("status", "created")
    return "died" if status == "running" and not folder.is_alive() else status


# ---- events in words


def time_left(event: Event) -> str:
    """How long a search still takes, at the least and at the most; empty while that is not
    known."""
    if not event.get("left"):
        return ""
    least, most = (duration(seconds) for seconds in event["left"])
    return f"{most} left" if least == most else f"{least} to {most} left"


def outcome(event: Event) -> str:
    """What became of a task: done in some time, taken over, or not needed."""
    if event.get("reused"):
        return "taken over" if event.get("step") else "not needed"
    return f"done, {duration(event['seconds'])}"


def imported(event: Event) -> str:
    """Which libraries were imported, and how long that took."""
    return f"importing {', '.join(event['what'])}: {duration(event['seconds'])}"


def ending(event: Event) -> str:
    """How the run ended, and what it took."""
    word = "in" if event["status"] == "done" else "after"
    imports = event.get("imports")
    also = f", and {duration(imports)} of imports" if imports else ""
    return f"{event['status']} {word} {duration(event['seconds'])}{also}"


def task_name(event: Event) -> str:
    """What a task is called: its step, or its id in words where it belongs to none."""
    kind, _, what = str(event["task"]).partition(":")
    words = f"{_KINDS[kind]} {what.removeprefix('data:')}" if kind in _KINDS else f"{kind} {what}"
    return str(event.get("step") or words)


_KINDS = {"selftest": "self-test", "keep": "keep examples of"}
