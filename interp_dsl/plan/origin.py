"""Where a task comes from, and what its options may hold."""

from __future__ import annotations

from dataclasses import dataclass

Json = None | bool | int | float | str | tuple["Json", ...] | dict[str, "Json"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the text a task comes from."""

    file: str
    line: int
    column: int
