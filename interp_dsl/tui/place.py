"""What the reader's eye is on, shared by the views of a run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """A row of a step's table, as far as it is chosen, and one of its examples: a view that opens
    goes there, and says so when its own cursor moves on."""

    step: str | None = None
    metric: str | None = None
    unit: str | None = None
    position: str | None = None
    example: int | None = None
