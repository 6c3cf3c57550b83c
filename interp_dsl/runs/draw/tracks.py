"""Lines between two rows of a drawing in box characters: each net turns along a track of its own.

Tracks are given out from left to right (Hashimoto and Stevens 1971): a net takes the lowest track
that is free where it runs."""

from __future__ import annotations

from collections.abc import Sequence
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


def track_lines(nets: Sequence[Net], width: int) -> list[str]:
    """The lines from the top down; one at least."""
    tracks = _tracks([net for net in nets if not net.is_straight])
    height = max(1, len(tracks))
    arms = [[[0] * width for _ in range(height)] for _ in range(2)]
    across, along = arms
    for net in (net for net in nets if net.is_straight):
        for line in along:
            line[net.start] |= UP | DOWN
    for level, track in enumerate(tracks):
        for net in track:
            _draw(net, level, across, along)
    lines = [
        "".join(_sign(a, b) for a, b in zip(*pair, strict=True)).rstrip()
        for pair in zip(across, along, strict=True)
    ]
    return lines[::-1]


def _draw(net: Net, level: int, across: list[list[int]], along: list[list[int]]) -> None:
    """The net's track goes into `across` with its turns, its uprights into `along`."""
    first, last = net.span
    for column in range(first, last + 1):
        across[level][column] |= (LEFT if column > first else 0) | (RIGHT if column < last else 0)
    across[level][net.start] |= DOWN
    for end in net.ends:
        across[level][end] |= UP
        for line in along[level + 1 :]:
            line[end] |= UP | DOWN
    for line in along[:level]:
        line[net.start] |= UP | DOWN


def _sign(across: int, along: int) -> str:
    """A cell: an upright passes over a track, and joins one that turns there."""
    if along and across and not across & (UP | DOWN):
        return "│"
    return _SIGNS[across | along]


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
