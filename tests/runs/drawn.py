"""Reads a drawing in box characters as a person would: along the lines, from the senders up.

Between two rows of nodes a line turns once, at the first track that it does not pass over; from
there on it only goes up, and tracks that touch it are others'."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

LEFT, RIGHT, UP, DOWN = set("─╯╮┤┴┬┼"), set("─╰╭├┴┬┼"), set("│╯╰┤├┴┼"), set("│╮╭┤├┬┼")
NAME = re.compile(r"L\d+H\d+|L\d+\.mlp|pos_embed|embed|logits")
CHANNELS = {"q": "q", "k": "k", "v": "v", "a": "attn"}


@dataclass
class Row:
    """A row of nodes: its first and last line, its names by the columns that they cover."""

    top: int
    low: int
    names: dict[str, tuple[int, int]] = field(default_factory=dict)

    def name_at(self, column: int) -> str:
        (found,) = [n for n, (a, b) in self.names.items() if a - 1 <= column <= b]
        return found


def edges_of(lines: list[str]) -> set[tuple[str, str, str]]:
    """The edges that a drawing shows."""
    width = max(map(len, lines))
    grid = [line.ljust(width) for line in lines]
    rows = _rows(grid)
    found = set()
    arriving: list[tuple[str, int]] = []
    for lower, upper in zip(rows[::-1], rows[-2::-1], strict=False):
        leaving = arriving + _starts(grid, lower)
        arriving = []
        for sender, column in leaving:
            for end in _climb(grid, column, lower.top - 1, upper.low + 1):
                if grid[upper.top][end] == "│":
                    arriving.append((sender, end))
                else:
                    name = upper.name_at(end)
                    found.add((sender, name, _channel(name, grid[upper.low][end])))
    assert not arriving
    return found


def _rows(grid: list[str]) -> list[Row]:
    """The rows from the top down."""
    rows = []
    for number, line in enumerate(grid):
        names = {m[0]: m.span() for m in NAME.finditer(line)}
        if names:
            has_letters = number + 1 < len(grid) and re.search("[qkva]", grid[number + 1])
            is_next_row = number + 1 < len(grid) and NAME.search(grid[number + 1])
            low = number + 1 if has_letters and not is_next_row else number
            rows.append(Row(number, low, names))
    return rows


def _starts(grid: list[str], row: Row) -> list[tuple[str, int]]:
    """Where lines leave the nodes of a row; one a node."""
    found = []
    for name, (start, end) in row.names.items():
        out = [c for c in range(start, end) if row.top and grid[row.top - 1][c] in DOWN]
        assert len(out) <= 1, f"{name} has several lines"
        found += [(name, column) for column in out]
    return found


def _climb(grid: list[str], column: int, first: int, last: int) -> list[int]:
    """The columns at which a line that starts below line `first` leaves line `last`."""
    ends, line = [column], first
    while line >= last and grid[line][column] == "│":
        line -= 1
    if line >= last:
        assert grid[line][column] in DOWN, "a line breaks off"
        ends = _track(grid[line], column)
        for above in range(last, line):
            assert all(grid[above][end] in UP and grid[above][end] in DOWN for end in ends)
    return ends


def _track(line: str, column: int) -> list[int]:
    """Where a track that is entered at a column turns up."""
    ends = [column] if line[column] in UP else []
    for step, ahead, back in ((-1, LEFT, RIGHT), (1, RIGHT, LEFT)):
        at = column
        while line[at] in ahead:
            at += step
            while line[at] == "│":
                at += step
            assert line[at] in back, "a track breaks off"
            ends += [at] if line[at] in UP else []
    return ends


def _channel(name: str, letter: str) -> str:
    if name == "logits":
        return "logits"
    return "mlp" if name.endswith("mlp") else CHANNELS[letter]
