"""Points that a step of curves adds when it looks more closely at those that it has."""

from __future__ import annotations

from collections.abc import Iterable

from interp_dsl.plan.places import Length, Point, Unit
from interp_dsl.plan.tasks import Regions

LOOKS = 5
"""Points that a closer look at a curve adds."""
SOMEWHERE = Length(float("nan"), "own")
"""A length of each example's own, which the run finds."""


def closer(points: Iterable[Unit], regions: Regions) -> tuple[Point, ...]:
    """The points of all closer looks, one after the other, at each curve of `points`."""
    found = dict.fromkeys((p.targets, p.path) for p in points if isinstance(p, Point))
    looks = range(regions.rounds * LOOKS)
    return tuple(Point(targets, path, i, SOMEWHERE) for targets, path in found for i in looks)
