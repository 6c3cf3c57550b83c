"""Two tokenised prompts shown one under the other, with what differs marked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import SequenceMatcher

WIDTH = 88
"""Characters of a line before it is cut around the mark."""

Cells = list[tuple[int | None, int | None]]
"""The columns of the display: a token's place in the upper and in the lower prompt."""


def side_by_side(
    ids: tuple[Sequence[int], Sequence[int]],
    names: tuple[str, str],
    describe: Callable[[int], str],
    marked: tuple[tuple[int, int], tuple[int, int]] | None = None,
) -> str:
    """Three lines: the upper prompt, the lower one, carets. Tokens are divided by `|` and stand
    under their counterparts. Carets mark the tokens `marked` as (start, end) in each prompt, else
    the first stretch where the two have different numbers of tokens, else the first difference."""
    cells, stretches = in_columns(*ids)
    if marked is not None:
        columns = [i for i, cell in enumerate(cells) if _inside(cell, marked)]
    else:
        columns = _first_mismatch(ids, cells, stretches)
    upper = ["" if a is None else shown(describe(ids[0][a])) for a, _ in cells]
    lower = ["" if b is None else shown(describe(ids[1][b])) for _, b in cells]
    widths = [max(map(len, pair)) for pair in zip(upper, lower, strict=True)]
    first, last = _window(widths, columns)
    margin = max(map(len, names))
    return "\n".join(
        _line(name, margin, texts, widths, first, last)
        for name, texts in (
            (names[0], upper),
            (names[1], lower),
            ("", ["^" * w if i in columns else "" for i, w in enumerate(widths)]),
        )
    )


def shown(token: str) -> str:
    """A token's text with what does not print written as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in token)


def in_columns(upper: Sequence[int], lower: Sequence[int]) -> tuple[Cells, list[range]]:
    """The columns, and those of each stretch in which the numbers of tokens differ."""
    cells: Cells = []
    uneven = []
    matcher = SequenceMatcher(None, upper, lower, autojunk=False)
    for _, a, a_end, b, b_end in matcher.get_opcodes():
        start = len(cells)
        for k in range(max(a_end - a, b_end - b)):
            cells.append((a + k if a + k < a_end else None, b + k if b + k < b_end else None))
        if a_end - a != b_end - b:
            uneven.append(range(start, len(cells)))
    return cells, uneven


def _first_mismatch(
    ids: tuple[Sequence[int], Sequence[int]], cells: Cells, stretches: list[range]
) -> list[int]:
    if stretches:
        return list(stretches[0])
    differing = (
        i
        for i, (a, b) in enumerate(cells)
        if a is not None and b is not None and ids[0][a] != ids[1][b]
    )
    return list(differing)[:1]


def _inside(cell: tuple[int | None, int | None], marked: Sequence[tuple[int, int]]) -> bool:
    return any(
        at is not None and start <= at < end for at, (start, end) in zip(cell, marked, strict=True)
    )


def _window(widths: list[int], columns: list[int]) -> tuple[int, int]:
    """The columns that are shown: all where they fit, else as many as fit around the mark."""
    mark = (min(columns, default=0), max(columns, default=0))
    first, last = mark[0], mark[0] + 1
    room = WIDTH - widths[first] if widths else 0
    while room > 0 and (first > 0 or last < len(widths)):
        if last < len(widths) and (first == 0 or last - mark[1] <= mark[0] - first):
            room -= widths[last] + 1
            last += 1
        else:
            first -= 1
            room -= widths[first] + 1
    return first, last


def _line(
    name: str, margin: int, texts: list[str], widths: list[int], first: int, last: int
) -> str:
    divider = "|" if name else " "
    before = ("…" if name else " ") if first else ""
    after = "…" if name and last < len(widths) else ""
    body = divider.join(f"{texts[i]:<{widths[i]}}" for i in range(first, last))
    return f"{name:<{margin}}  {before}{body}{after}".rstrip()
