"""The tasks of a run as the rows of a table: a tree of groups, each task with its state, progress,
rate, time and memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass

from rich.style import Style

from interp_dsl.runs.live import Stage, TaskLive
from interp_dsl.runs.text import duration, file_size
from interp_dsl.tui.tones import Tones
from interp_dsl.tui.widgets.cells import Cell, fitted, gauge
from interp_dsl.tui.widgets.table import Title

GROUPS = {
    "LoadModel": "models",
    "BuildData": "data",
    "SelfTest": "self-tests",
    "Forward": "forward passes",
    "KeepPairs": "kept for looking at",
}
STEPS = "steps"
SIGNS: dict[Stage, tuple[str, str]] = {
    "waiting": ("○", "muted"),
    "working": ("●", "primary"),
    "done": ("✓", "good"),
    "reused": ("✓", "muted"),
    "stopped": ("■", "warn"),
    "failed": ("✗", "bad"),
}
GAUGE = 10


HEADINGS = (
    Title("task", 26),
    Title("progress", GAUGE + 5),
    Title("time", 11, True),
    Title("rate", 9, True),
    Title("memory", 8, True),
    Title("count", 17, True),
)


@dataclass(frozen=True, slots=True)
class _Group:
    name: str
    tasks: tuple[TaskLive, ...]
    is_open: bool


class TaskRows:
    """Tasks in groups, each group at its first task's place. `short`: groups that wait or have
    ended show their own line only. A group in `toggled` is the other way round."""

    headings: Sequence[Title] = HEADINGS

    def __init__(
        self, tasks: Iterable[TaskLive], toggled: Set[str] = frozenset(), short: bool = False
    ) -> None:
        self.rows: list[_Group | TaskLive] = []
        held: dict[str, list[TaskLive]] = {}
        for task in tasks:
            held.setdefault(GROUPS.get(task.kind, STEPS), []).append(task)
        for name, own in held.items():
            is_open = (
                name == STEPS or not short or any(t.stage in ("working", "failed") for t in own)
            )
            group = _Group(name, tuple(own), is_open != (name in toggled))
            self.rows += [group, *(own if group.is_open else [])]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def groups(self) -> dict[str, int]:
        """The groups and how many tasks each has."""
        return {row.name: len(row.tasks) for row in self.rows if isinstance(row, _Group)}

    def group_at(self, row: int) -> str | None:
        """The name of the group whose line this is."""
        found = self.rows[row]
        return found.name if isinstance(found, _Group) else None

    def step_at(self, row: int) -> str | None:
        found = self.rows[row]
        return None if isinstance(found, _Group) else found.step

    def at_work(self) -> int | None:
        """The line of the task that is worked at, else of the one at which the run ended."""
        for stages in (("working",), ("failed", "stopped")):
            for i, row in enumerate(self.rows):
                if isinstance(row, TaskLive) and row.stage in stages:
                    return i
        return None

    def cells(self, start: int, stop: int, tones: Tones) -> list[list[Cell]]:
        return [
            _group_cells(row, tones) if isinstance(row, _Group) else _task_cells(row, tones)
            for row in self.rows[start:stop]
        ]

    def key(self, row: int) -> int:
        return row

    def row_of(self, key: int) -> int | None:
        return key if 0 <= key < len(self.rows) else None

    def sort(self, column: int) -> None:
        """Tasks stand in the order in which they are done."""

    def arrow(self, column: int) -> str:
        return ""


def _group_cells(group: _Group, tones: Tones) -> list[Cell]:
    ended = sum(task.stage in ("done", "reused") for task in group.tasks)
    sign = "▾" if group.is_open else "▸"
    name = fitted(f"{sign} {group.name}", HEADINGS[0].width)
    told = fitted(f"{ended:,}/{len(group.tasks):,}", HEADINGS[1].width)
    seconds = sum(task.seconds or 0.0 for task in group.tasks)
    time = fitted(duration(seconds) if ended else "", HEADINGS[2].width, right=True)
    rest = [(" " * heading.width, Style()) for heading in HEADINGS[3:]]
    return [(name, tones.strong), (told, tones.muted), (time, tones.muted), *rest]


def _task_cells(task: TaskLive, tones: Tones) -> list[Cell]:
    sign, tone = SIGNS[task.stage]
    style: Style = getattr(tones, tone)
    name = style if task.stage == "working" else Style() if task.stage != "waiting" else tones.muted
    words = [
        (f"  {sign} {_short_name(task)}", name),
        (_progress(task), style),
        (_time(task), tones.muted),
        (f"{task.rate:,.0f}/s" if task.rate and task.stage == "working" else "", tones.muted),
        (_memory(task), tones.muted),
        (_count(task), tones.muted),
    ]
    return [
        (fitted(text, heading.width, heading.right), style)
        for (text, style), heading in zip(words, HEADINGS, strict=True)
    ]


def _short_name(task: TaskLive) -> str:
    """The task without the word that its group says already."""
    return task.name.removeprefix("model ").removeprefix("data ")


def _progress(task: TaskLive) -> str:
    if task.stage == "working" and task.total:
        full, empty = gauge(task.done, task.total, GAUGE)
        return f"{full}{empty} {task.done / task.total:4.0%}"
    words = {"working": "working", "reused": "taken over", "stopped": "stopped", "failed": "failed"}
    if task.stage == "reused" and task.step is None:
        return "not needed"
    return words.get(task.stage, "")


def _time(task: TaskLive) -> str:
    if task.left is not None:
        return time_left(task.left)
    if task.seconds is None or task.stage == "reused":
        return ""
    return duration(task.seconds)


def time_left(seconds: float) -> str:
    """How long the rest takes, about, in as few characters as its column has."""
    if seconds < 60:
        return f"{seconds:.1f} s left"
    return f"{seconds / 60:.0f} min left" if seconds < 3600 else f"{seconds / 3600:.1f} h left"


def _memory(task: TaskLive) -> str:
    return "" if task.memory is None or task.stage == "reused" else file_size(task.memory)


def _count(task: TaskLive) -> str:
    if not task.total or task.stage in ("waiting", "reused"):
        return ""
    return f"{task.total:,}" if task.stage == "done" else f"{task.done:,}/{task.total:,}"
