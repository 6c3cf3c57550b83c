"""What a task tells the screens while it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from interp_dsl.plan.expressions import Row
from interp_dsl.runs.folder import RunFolder

_LEADING = 10


@dataclass(frozen=True)
class Report:
    """Events of one task, into its run's folder."""

    folder: RunFolder
    task: str

    def progress(self, done: int, total: int) -> None:
        self.folder.event("progress", task=self.task, done=done, total=total)

    def edges(self, step: str, **about: Any) -> None:
        """Tell how a search for edges goes: the fields of an `edges` event."""
        self.folder.event("edges", step=step, **about)

    def event(self, kind: str, **fields: Any) -> None:
        """Tell what a method has of its own (runs/events.py lists the kinds)."""
        self.folder.event(kind, **fields)

    def note(self, text: str) -> None:
        self.folder.event("note", text=text)

    def top(self, step: str, rows: Sequence[Row]) -> list[Row]:
        """Tell, and return, the rows of the first metric with the largest effects of either
        sign. A node that no search has tried has none."""
        scored = [r for r in rows if r["metric"] == rows[0]["metric"] and r["effect"] is not None]
        leading = sorted(scored, key=lambda r: abs(r["effect"]), reverse=True)[:_LEADING]
        self.folder.event("top", step=step, rows=[_short(r) for r in leading])
        return leading


def _short(row: Row) -> dict[str, Any]:
    position = row["position"]
    unit = row["unit"] if position in ("all", "mixed") else f"{row['unit']} at {position}"
    return {"unit": unit} | {k: row[k] for k in ("metric", "effect", "low", "high")}
