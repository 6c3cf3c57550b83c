"""Closer looks at curves: further points where each example's curve is steep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from interp_dsl.geometry.curves import refined
from interp_dsl.plan.algebra import Metric
from interp_dsl.plan.curves import LOOKS, SOMEWHERE
from interp_dsl.plan.places import Point, Target, Unit
from interp_dsl.plan.tasks import Regions, Sweep, Variant

if TYPE_CHECKING:
    from interp_dsl.engine.curves import Curve
    from interp_dsl.engine.sweep import Sweeper

Path = tuple[Variant, tuple[Target, ...], str]
Looks = dict[tuple[Variant, tuple[Target, ...], str, Metric], tuple[Tensor, Tensor]]
"""Of each curve the places [r, L] at which it was looked at, increasing, and the metric's values
there [r, L]; a row r a direction and example, direction after direction."""


def looked_at(task: Sweep, sweeper: Sweeper, curves: Sequence[Curve]) -> Looks:
    """The curves, looked at more closely where the first metric's are steep."""
    assert isinstance(task.curves, Regions)
    found: dict[Path, tuple[Tensor, Tensor]] = {}
    for curve in curves:
        path = (curve.variant, curve.points[0].targets, curve.path)
        values = (curve.base + curve.effects).transpose(1, 2).flatten(0, 1)[None]
        at = curve.lengths.expand(values.shape[1], -1)
        before = found.get(path)
        found[path] = (at, values if before is None else torch.cat([before[1], values]))
    for number in range(task.curves.rounds):
        for variant in task.variants:
            paths = [path for path in found if path[0] == variant]
            for path, seen in zip(paths, _look(sweeper, paths, found, number), strict=True):
                found[path] = seen
    return {
        (*path, metric): (at, values[m])
        for path, (at, values) in found.items()
        for m, metric in enumerate(task.metrics)
    }


def _look(
    sweeper: Sweeper,
    paths: Sequence[Path],
    found: dict[Path, tuple[Tensor, Tensor]],
    number: int,
) -> list[tuple[Tensor, Tensor]]:
    """The curves [metrics, r, L] of some paths of one variant after one more look at all of
    them."""
    n = sweeper.state.data[paths[0][0].into.data].n
    points, places = [], []
    for path in paths:
        at, values = found[path]
        looks = refined(at, values[0]).float().double()
        count = len(looks) // n
        # A direction's point is told from others at which it is looked at by its number too.
        numbers = (k + count * (number * LOOKS + i) for k in range(count) for i in range(LOOKS))
        points += [Point(path[1], path[2], k, SOMEWHERE) for k in numbers]
        places.append(looks.view(count, n, LOOKS).transpose(1, 2).flatten(0, 1))
    shares: dict[Unit, Tensor] = dict(zip(points, torch.cat(places), strict=True))
    values = sweeper.measured(paths[0][0], points, shares).double().cpu()
    parts = torch.split(values, [len(p) for p in places], 1)
    return [
        _merged(found[path], _by_row(at, n), _by_row(part, n))
        for path, at, part in zip(paths, places, parts, strict=True)
    ]


def _by_row(x: Tensor, n: int) -> Tensor:
    """Looks [..., directions × LOOKS, n] as [..., directions × n, LOOKS]."""
    by_direction = x.view(*x.shape[:-2], -1, LOOKS, n)
    return by_direction.transpose(-1, -2).flatten(-3, -2)


def _merged(seen: tuple[Tensor, Tensor], at: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Curves with further points: at [r, k], values [metrics, r, k]."""
    at, order = torch.cat([seen[0], at], 1).sort(dim=1, stable=True)
    values = torch.cat([seen[1], values], 2)
    return at, values.gather(2, order.expand(len(values), -1, -1))
