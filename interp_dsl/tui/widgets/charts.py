"""Small charts of block characters: a curve with what is under it filled, a histogram."""

from __future__ import annotations

import math
from collections.abc import Sequence

Point = tuple[float, float]
BLOCKS = " ▁▂▃▄▅▆▇█"


def curve(points: Sequence[Point], width: int, height: int) -> list[str]:
    """Points in the order of their x in `width` by `height` characters, the lowest y an eighth of
    a line high, the highest the whole height, a constant half; what is not finite is left out."""
    held = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    if not held or width < 1:
        return [" " * width] * height
    ys = _resampled(held, width)
    low, high = min(y for _, y in held), max(y for _, y in held)
    if is_flat(low, high):
        return columns([4 * height] * width, height)
    return columns([1 + round((y - low) / (high - low) * (8 * height - 1)) for y in ys], height)


def is_flat(low: float, high: float) -> bool:
    """Whether two ends differ by no more than rounding."""
    return high - low <= 1e-6 * max(abs(low), abs(high))


def _resampled(points: Sequence[Point], n: int) -> list[float]:
    """y at n places evenly from the first x to the last, straight between the points."""
    first, last = points[0][0], points[-1][0]
    found, at = [], 0
    for i in range(n):
        x = first + (last - first) * (i / (n - 1) if n > 1 else 1.0)
        while at < len(points) - 2 and points[at + 1][0] < x:
            at += 1
        (x0, y0), (x1, y1) = points[at], points[min(at + 1, len(points) - 1)]
        share = (x - x0) / (x1 - x0) if x1 > x0 else 1.0
        found.append(y0 + (y1 - y0) * min(1.0, max(0.0, share)))
    return found


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
    most = max(counts, default=0) or 1
    return columns([math.ceil(count / most * height * 8) for count in counts], height)


def columns(levels: Sequence[int], height: int) -> list[str]:
    """Columns of so many eighths of a line, the top line first."""
    return [
        "".join(BLOCKS[max(0, min(8, level - 8 * line))] for level in levels)
        for line in range(height - 1, -1, -1)
    ]
