"""The runs of a folder as the rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.style import Style

from interp_dsl.runs.find import RunSummary
from interp_dsl.runs.live import Status
from interp_dsl.runs.text import file_size
from interp_dsl.tui.tones import Tones
from interp_dsl.tui.widgets.cells import Cell, fitted
from interp_dsl.tui.widgets.head import SIGNS


@dataclass(frozen=True, slots=True)
class Heading:
    """A column's title and width."""

    title: str
    width: int
    right: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """A run and what it is; `status` as the screens say it."""

    summary: RunSummary
    status: Status


class RunRows:
    """Runs, the newest first unless they were sorted."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = list(runs)
        names = [len(run.summary.path.name) for run in runs]
        self.headings: Sequence[Heading] = (
            Heading("run", min(48, max([24, *names]))),
            Heading("status", 13),
            Heading("made", 12),
            Heading("size", 8, True),
            Heading("claims", 8, True),
        )
        self.order: tuple[int, bool] | None = None

    def __len__(self) -> int:
        return len(self.runs)

    def cells(self, start: int, stop: int, tones: Tones) -> list[list[Cell]]:
        return [self._cells(run, tones) for run in self.runs[start:stop]]

    def _cells(self, run: Run, tones: Tones) -> list[Cell]:
        sign, word, tone = SIGNS[run.status]
        summary = run.summary
        style: Style = getattr(tones, tone)
        claims, claim_style = "·", tones.muted
        if summary.claims:
            is_fine = summary.claims_held == summary.claims
            claims = f"{'✓' if is_fine else '✗'} {summary.claims_held}/{summary.claims}"
            claim_style = tones.good if is_fine else tones.bad
        words = (
            (summary.path.name, Style()),
            (f"{sign} {word}", style),
            (_made(summary.when), tones.muted),
            (file_size(summary.bytes), tones.muted),
            (claims, claim_style),
        )
        return [
            (fitted(text, heading.width, heading.right), style)
            for (text, style), heading in zip(words, self.headings, strict=True)
        ]

    def key(self, row: int) -> int:
        return hash(self.runs[row].summary.path)

    def row_of(self, key: int) -> int | None:
        found = (i for i in range(len(self.runs)) if self.key(i) == key)
        return next(found, None)

    def sort(self, column: int) -> None:
        down = self.order == (column, False)
        self.order = (column, down)
        keys = (
            lambda run: run.summary.path.name,
            lambda run: run.status,
            lambda run: run.summary.when,
            lambda run: run.summary.bytes,
            lambda run: (run.summary.claims_held, run.summary.claims),
        )
        self.runs.sort(key=keys[column], reverse=down)

    def arrow(self, column: int) -> str:
        if self.order is None or self.order[0] != column:
            return ""
        return " ↓" if self.order[1] else " ↑"


def _made(when: str) -> str:
    """ISO time as a person reads it; the year stands in the run's name."""
    try:
        return datetime.fromisoformat(when).strftime("%b %d %H:%M")
    except ValueError:
        return when[:12]
