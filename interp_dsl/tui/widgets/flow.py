"""Short pieces of text set one after another, broken between the pieces alone."""

from __future__ import annotations

from collections.abc import Iterable

from rich.text import Text


def flow(parts: Iterable[Text], width: int, gap: str = "   ") -> Text:
    """The pieces in lines of `width` cells; one that is wider has a line of its own."""
    lines: list[Text] = []
    for part in parts:
        if lines and lines[-1].cell_len + len(gap) + part.cell_len <= width:
            lines[-1].append(gap).append_text(part)
        else:
            lines.append(part.copy())
    return Text("\n", no_wrap=True, overflow="ellipsis").join(lines)
