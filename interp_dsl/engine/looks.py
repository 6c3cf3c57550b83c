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
"""Of each curve the places [n, L] at which each example was looked at, increasing, and the metric's
values there [n, L]."""


def looked_at(task: Sweep, sweeper: Sweeper, curves: Sequence[Curve]) -> Looks:
    """The curves, looked at more closely where the first metric's are steep."""
    assert isinstance(task.curves, Regions)
    found: dict[Path, tuple[Tensor, Tensor]] = {}
    for curve in curves:
        path = (curve.variant, curve.points[0].targets, curve.path)
        at = curve.lengths.expand(len(curve.base), -1)
        values = (curve.base + curve.mean).T[None]
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
    """The curves [metrics, n, L] of some paths of one variant after one more look at all of
    them."""
    points, places = [], []
    for _, targets, name in paths:
        points += [Point(targets, name, number * LOOKS + i, SOMEWHERE) for i in range(LOOKS)]
    for path in paths:
        at, values = found[path]
        places.append(refined(at, values[0]).float().double())
    shares: dict[Unit, Tensor] = dict(zip(points, torch.cat(places, 1).T, strict=True))
    values = sweeper.measured(paths[0][0], points, shares).double().cpu()
    return [
        _merged(found[path], places[i], values[:, i * LOOKS : (i + 1) * LOOKS])
        for i, path in enumerate(paths)
    ]


def _merged(seen: tuple[Tensor, Tensor], at: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Curves with further points: at [n, k], values [metrics, k, n]."""
    at, order = torch.cat([seen[0], at], 1).sort(dim=1, stable=True)
    values = torch.cat([seen[1], values.transpose(1, 2)], 2)
    return at, values.gather(2, order.expand(len(values), -1, -1))
