"""Lines between two rows of a drawing in box characters: each net turns along a track of its own.

Tracks are given out from left to right (Hashimoto and Stevens 1971): a net takes the lowest track
that is free where it runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

UP, DOWN, LEFT, RIGHT = 1, 2, 4, 8
_SIGNS = dict(enumerate(" ││││╯╮┤─╰╭├─┴┬┼"))
# the arms as bits: 0 none, 1 up, 2 down, 3 both, 4 left, 5 left and up, …


@dataclass(frozen=True, slots=True)
class Net:
    """A line that comes from below at column `start` and goes up at the columns `ends`."""

    start: int
    ends: tuple[int, ...]

    @property
    def span(self) -> tuple[int, int]:
        return min(self.start, *self.ends), max(self.start, *self.ends)

    @property
    def is_straight(self) -> bool:
        return self.ends == (self.start,)


Served = frozenset[tuple[int, int]]
"""Whose line runs through a cell: the starts of its nets, each with an end that it leads to."""
Cells = list[tuple[str, Served]]


def track_lines(nets: Sequence[Net], width: int) -> list[str]:
    """The lines from the top down; one at least."""
    return ["".join(sign for sign, _ in line).rstrip() for line in track_cells(nets, width)]


def track_cells(nets: Sequence[Net], width: int) -> list[Cells]:
    """The same cell by cell, each with whose line it is part of."""
    tracks = _tracks([net for net in nets if not net.is_straight])
    across, along = ([_Line(width) for _ in range(max(1, len(tracks)))] for _ in range(2))
    for net in (net for net in nets if net.is_straight):
        for line in along:
            line.draw(net.start, UP | DOWN, net, net.ends)
    for level, track in enumerate(tracks):
        for net in track:
            _draw(net, level, across, along)
    return [
        [_cell(a, b, column) for column in range(width)] for a, b in zip(across, along, strict=True)
    ][::-1]


class _Line:
    """The arms of every cell of a line, and whose they are."""

    def __init__(self, width: int) -> None:
        self.arms = [0] * width
        self.served: list[Served] = [frozenset()] * width

    def draw(self, column: int, arms: int, net: Net, ends: Iterable[int]) -> None:
        self.arms[column] |= arms
        self.served[column] |= {(net.start, end) for end in ends}


def _draw(net: Net, level: int, across: list[_Line], along: list[_Line]) -> None:
    """The net's track goes into `across` with its turns, its uprights into `along`. A cell of the
    track serves the ends that lie beyond it, seen from the start."""
    first, last = net.span
    for column in range(first, last + 1):
        arms = (LEFT if column > first else 0) | (RIGHT if column < last else 0)
        beyond = [e for e in net.ends if _is_between(column, net.start, e)]
        across[level].draw(column, arms, net, beyond)
    across[level].draw(net.start, DOWN, net, net.ends)
    for end in net.ends:
        across[level].draw(end, UP, net, [end])
        for line in along[level + 1 :]:
            line.draw(end, UP | DOWN, net, [end])
    for line in along[:level]:
        line.draw(net.start, UP | DOWN, net, net.ends)


def _is_between(column: int, start: int, end: int) -> bool:
    return min(start, end) <= column <= max(start, end)


def _cell(across: _Line, along: _Line, column: int) -> tuple[str, Served]:
    """An upright passes over a track, and joins one that turns there."""
    flat, upright = across.arms[column], along.arms[column]
    passes = flat and upright and not flat & (UP | DOWN)
    served = along.served[column] | (frozenset() if passes else across.served[column])
    return _SIGNS[upright if passes else flat | upright], served


def _tracks(nets: Sequence[Net]) -> list[list[Net]]:
    """The nets of each track, none touching another."""
    tracks: list[list[Net]] = []
    for net in sorted(nets, key=lambda n: n.span):
        for track in tracks:
            if track[-1].span[1] + 1 < net.span[0]:
                track.append(net)
                break
        else:
            tracks.append([net])
    return tracks
