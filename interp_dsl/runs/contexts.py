"""A token in its context on one line, contexts of several lines one under the other by the token
(Luhn's keyword in context). The token stands between « and », so that no colour is needed to see
it."""

from __future__ import annotations

from interp_dsl.language.cells import cells
from interp_dsl.runs.text import printable

OPEN, CLOSE = "«", "»"
BEFORE = 0.45
"""The share of the line in front of the token."""


def in_context(before: str, token: str, after: str, width: int) -> tuple[str, str, str]:
    """What stands in front of the token, aligned to the right; the token between its marks; what
    follows: together at most `width` cells, what is too long cut with `…`."""
    marked = OPEN + beginning(printable(token), max(1, width // 3 - 2)) + CLOSE
    room = int(width * BEFORE)
    left = ending(printable(before), room)
    rest = max(0, width - room - cells(marked))
    return " " * (room - cells(left)) + left, marked, beginning(printable(after), rest)


def beginning(text: str, room: int) -> str:
    """As much of the beginning as has room."""
    if cells(text) <= room:
        return text
    kept, used = "", 1
    for sign in text:
        used += cells(sign)
        if used > room:
            break
        kept += sign
    return kept + "…" if room > 0 else ""


def ending(text: str, room: int) -> str:
    """As much of the end as has room."""
    return beginning(text[::-1], room)[::-1]
