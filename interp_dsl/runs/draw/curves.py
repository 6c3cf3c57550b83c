"""The course of edges between rows of boxes: curves that leave upwards and bow around the boxes
that stand in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BOWS = (0.0, 0.5, -0.5, 1.0, -1.0, 1.5, -1.5, 2.0, -2.0, 3.0, -3.0, 4.0, -4.0)
"""How far aside a curve may be drawn, in node widths, nearest first."""

_T = np.linspace(0, 1, 25)
_WEIGHTS = np.stack([(1 - _T) ** 3, 3 * _T * (1 - _T) ** 2, 3 * _T**2 * (1 - _T), _T**3])


@dataclass(frozen=True, slots=True)
class Obstacles:
    """A row between two ends: its height and, of its boxes, the left and right edges."""

    y: float
    left: NDArray[np.float64]
    right: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Curve:
    """A cubic Bezier curve: four points (x, y)."""

    points: tuple[tuple[float, float], ...]

    @property
    def span(self) -> tuple[float, float]:
        """The least and the largest x."""
        x = _WEIGHTS.T @ np.array(self.points)[:, 0]
        return float(x.min()), float(x.max())

    @property
    def path(self) -> str:
        """The `d` of an SVG path."""
        (a, b), *rest = self.points
        return f"M{a:.1f} {b:.1f}C" + " ".join(f"{x:.1f} {y:.1f}" for x, y in rest)


def route(
    start: tuple[float, float],
    end: tuple[float, float],
    between: Sequence[Obstacles],
    unit: float,
) -> Curve:
    """The curve from `start` up to `end` that meets the fewest boxes, of these the least bowed.
    `y` falls upwards, as on a screen."""
    best, fewest = _curve(start, end, 0.0), len(between) + 1
    for bow in BOWS:
        curve = _curve(start, end, bow * unit)
        hits = _hits(curve, between)
        if hits < fewest:
            best, fewest = curve, hits
        if not fewest:
            break
    return best


def _curve(start: tuple[float, float], end: tuple[float, float], bow: float) -> Curve:
    (a, b), (c, d) = start, end
    rise = 0.4 * (b - d)
    return Curve(((a, b), (a + bow, b - rise), (c + bow, d + rise), (c, d)))


def _hits(curve: Curve, between: Sequence[Obstacles]) -> int:
    """In how many rows the curve meets a box."""
    x, y = _WEIGHTS.T @ np.array(curve.points)[:, 0], _WEIGHTS.T @ np.array(curve.points)[:, 1]
    places = np.interp([row.y for row in between], y[::-1], x[::-1])
    met = [bool(((r.left < p) & (p < r.right)).any()) for r, p in zip(between, places, strict=True)]
    return sum(met)
