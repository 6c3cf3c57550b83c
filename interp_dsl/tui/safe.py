"""Text from data where markup would be read: borders' titles, labels, messages."""

from __future__ import annotations

from textual.content import Content

from interp_dsl.runs.text import printable


def plain(text: str) -> Content:
    """Text as it stands, on one line, whatever brackets are in it."""
    return Content(printable(text) or " ")
