"""Rows of a table as the units of an `.interp` file: what was found is the next step's text."""

from __future__ import annotations

from collections.abc import Iterable

WIDTH = 96


def as_units(rows: Iterable[tuple[str, str]], name: str = "chosen") -> str:
    """A `units` statement for rows of (unit, position), those of one position together:

    units chosen = {L0H1, L1H0} | ({L1H3} at END)"""
    held: dict[str, dict[str, None]] = {}
    for unit, position in rows:
        held.setdefault(position, {})[unit] = None
    sets = [_placed(list(units), position) for position, units in held.items()]
    if len(sets) == 1:
        return f"units {name} = {sets[0].removeprefix('(').removesuffix(')')}"
    return f"units {name} =\n  " + "\n  | ".join(sets)


def _placed(units: list[str], position: str) -> str:
    words = _wrapped(units)
    return words if position in ("all", "mixed") else f"({words} at {position})"


def _wrapped(units: list[str]) -> str:
    lines, line = [], ""
    for i, unit in enumerate(units):
        word = unit + ("," if i < len(units) - 1 else "")
        if line and len(line) + len(word) > WIDTH:
            lines.append(line)
            line = ""
        line += (" " if line else "") + word
    return "{" + "\n    ".join([*lines, line]) + "}"
