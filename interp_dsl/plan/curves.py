"""Points that a step of curves adds when it looks more closely at those that it has."""

from __future__ import annotations

from collections.abc import Iterable

from interp_dsl.plan.places import Length, Point, Target, Unit
from interp_dsl.plan.tasks import Regions

LOOKS = 5
"""Points that a closer look at a curve adds."""
SOMEWHERE = Length(float("nan"), "own")
"""A length of each example's own, which the run finds."""


def closer(points: Iterable[Unit], regions: Regions) -> tuple[Point, ...]:
    """The points of all closer looks, one after the other, at each curve of `points`."""
    found = dict.fromkeys((p.targets, p.path, p.number) for p in points if isinstance(p, Point))
    count = 1 + max((number for _, _, number in found), default=0)
    looks = range(regions.rounds * LOOKS)
    return tuple(
        Point(targets, path, number + count * i, SOMEWHERE)
        for targets, path, number in found
        for i in looks
    )


PLANE = "plane"
"""The path whose points make a picture."""
EDGE = 0.25
"""How far a picture goes beyond the three activations, counted in their distances."""


def plane_points(targets: tuple[Target, ...], regions: Regions) -> tuple[Point, ...]:
    """The points of a picture, row after row from the bottom; how far along the path each is
    is by its number (`ticks`)."""
    steps = ticks(regions)
    return tuple(
        Point(targets, PLANE, column, Length(across))
        for across in steps
        for column in range(len(steps))
    )


def ticks(regions: Regions) -> tuple[float, ...]:
    """Where the points of a picture lie, along and across."""
    last = max(1, regions.slice - 1)
    return tuple(-EDGE + (1 + 2 * EDGE) * i / last for i in range(regions.slice))
