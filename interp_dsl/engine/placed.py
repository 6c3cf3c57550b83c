"""What failed in a run, with the line of the text that it comes from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from interp_dsl.language.diagnostics import InterpError
from interp_dsl.plan.tasks import Task


def placed(error: InterpError, task: Task) -> InterpError:
    """The error with the task's place in a note, unless a message or note names it already."""
    place = getattr(task, "place", None)
    if place is None:
        return error
    where = f"{Path(place.file).name}:{place.line}"
    told = [" ".join((d.message, *d.notes)) for d in error.diagnostics]
    if any(where in text for text in told):
        return error
    name = getattr(task, "step", None) or getattr(task, "name", task.id)
    note = f"in `{name}`, {place.file}:{place.line}:{place.column}"
    found = (replace(d, notes=(*d.notes, note)) for d in error.diagnostics)
    return InterpError(*found, exit_code=error.exit_code)
