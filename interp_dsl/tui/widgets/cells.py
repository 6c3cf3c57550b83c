"""What stands in the cells of tables: text of a fixed width with a style, and signed bars."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size
from rich.style import Style

from interp_dsl.runs.text import printable

Cell = tuple[str, Style]

FULL, HALF_LEFT, HALF_RIGHT, AXIS = "█", "▌", "▐", "│"


def fitted(text: str, width: int, right: bool = False) -> str:
    """Text from data in exactly `width` cells, cut with `…` where it is longer."""
    shown = printable(text)
    length = cell_len(shown)
    if length > width:
        return set_cell_size(shown, width - 1) + "…" if width else ""
    spaces = " " * (width - length)
    return spaces + shown if right else shown + spaces


def bar(value: float | None, largest: float, half: int) -> str:
    """A bar from the middle of 2·half + 1 cells, to the right for a value above 0 and to the left
    for one below, `half` cells long for ±`largest`; steps are half cells."""
    if value is None or value != value or not largest:
        return " " * half + AXIS + " " * half
    halves = min(2 * half, round(abs(value) / largest * 2 * half))
    whole, part = divmod(halves, 2)
    if value >= 0:
        return " " * half + AXIS + (FULL * whole + HALF_LEFT * part).ljust(half)
    return (HALF_RIGHT * part + FULL * whole).rjust(half) + AXIS + " " * half


def gauge(done: float, total: float | None, width: int) -> tuple[str, str]:
    """The full and the empty part of a bar of progress."""
    share = min(1.0, max(0.0, done / total)) if total else 0.0
    whole = int(share * width)
    return "━" * whole, "─" * (width - whole)
