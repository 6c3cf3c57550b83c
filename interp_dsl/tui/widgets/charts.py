"""Small charts of characters: a curve in braille dots, a histogram in blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence

Point = tuple[float, float]
BLOCKS = " ▁▂▃▄▅▆▇█"
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


def curve(points: Sequence[Point], width: int, height: int) -> list[str]:
    """Points in the order of their x as a line `width` by `height` characters, lowest y at the
    bottom; what is not finite is left out."""
    held = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    grid = [[0] * width for _ in range(height)]
    if held:
        xs, ys = _pixels([x for x, _ in held], 2 * width), _pixels([y for _, y in held], 4 * height)
        before = None
        for x, y in zip(xs, ys, strict=True):
            for at, level in _between(before or (x, y), (x, y)):
                dot = 4 * height - 1 - level
                grid[dot // 4][at // 2] |= _DOTS[at % 2][dot % 4]
            before = (x, y)
    return ["".join(chr(0x2800 + cell) if cell else " " for cell in line) for line in grid]


def _pixels(values: Sequence[float], n: int) -> list[int]:
    low, high = min(values), max(values)
    if high == low:
        return (
            [n // 2 if n < 8 else 0] * len(values) if len(values) == 1 else [n // 2] * len(values)
        )
    return [min(n - 1, int((value - low) / (high - low) * (n - 1) + 0.5)) for value in values]


def _between(start: tuple[int, int], end: tuple[int, int]) -> list[tuple[int, int]]:
    steps = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
    return [
        (
            round(start[0] + (end[0] - start[0]) * i / steps),
            round(start[1] + (end[1] - start[1]) * i / steps),
        )
        for i in range(steps + 1)
    ]


def histogram(values: Sequence[float], width: int, height: int) -> list[str]:
    """How many of the values fall into each of `width` equal parts of their range, as columns of
    up to `height` characters."""
    held = [value for value in values if math.isfinite(value)]
    counts = [0] * width
    if held:
        low, high = min(held), max(held)
        span = (high - low) or 1.0
        for value in held:
            counts[min(width - 1, int((value - low) / span * width))] += 1
    most = max(counts) or 1
    levels = [math.ceil(count / most * height * 8) for count in counts]
    return [
        "".join(BLOCKS[max(0, min(8, level - 8 * line))] for level in levels)
        for line in range(height - 1, -1, -1)
    ]
