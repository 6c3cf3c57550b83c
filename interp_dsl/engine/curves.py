"""Curves from the points that a sweep has measured: a row a point, of each direction and of all
directions of a path together, and what each curve comes to as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from interp_dsl.engine.errors import errors, rounding
from interp_dsl.engine.flips import flipped
from interp_dsl.engine.further import Further
from interp_dsl.engine.looks import Looks, looked_at
from interp_dsl.engine.planes import planes
from interp_dsl.engine.scores import Scored, column_kinds
from interp_dsl.engine.state import State
from interp_dsl.engine.statistics import (
    CONFIDENCE,
    bounds,
    compared,
    median_bounds,
    resampling,
)
from interp_dsl.engine.sweep import Sweeper
from interp_dsl.geometry.curves import Steps, reached, steps
from interp_dsl.plan.algebra import Metric
from interp_dsl.plan.places import Point, Target
from interp_dsl.plan.tasks import Reach, Regions, Sweep, Variant
from interp_dsl.runs.curves import BY_EXAMPLE, CURVE_COLUMNS, REACH_COLUMNS, REGION_COLUMNS
from interp_dsl.runs.schema import Kind, score_table, unit_columns

Row = dict[str, Any]
Way = tuple[Variant, tuple[Target, ...], str]
SHAPES = ("slope", "location", "width", "jumps", "plateau")


@dataclass(frozen=True)
class Curve:
    """One metric along one path from one place: the points of its first direction, the effects
    [directions, lengths, n], float64, and the base [n]."""

    variant: Variant
    points: tuple[Point, ...]
    metric: Metric
    effects: Tensor
    base: Tensor

    @property
    def path(self) -> str:
        return self.points[0].path

    @property
    def lengths(self) -> Tensor:
        return torch.tensor([p.length.value for p in self.points], dtype=torch.float64)

    @property
    def way(self) -> Way:
        """What it goes along, whatever the metric."""
        return self.variant, self.points[0].targets, self.path

    @property
    def mean(self) -> Tensor:
        """The effects of all directions together [lengths, n]."""
        return self.effects.mean(0)


@dataclass(frozen=True)
class Found:
    """A row, and the values of single examples behind it [n] by name."""

    row: Row
    values: Mapping[str, Tensor]


def traced(
    task: Sweep, sweeper: Sweeper, tensors: Mapping[str, NDArray[np.generic]]
) -> tuple[Scored, dict[str, pl.DataFrame]]:
    """The table of curves of a step whose points are measured, and further tables by name:
    `tensors` has `base` and `value` [points × metrics, n], point after point."""
    state, seed = sweeper.state, sweeper.state.seed
    curves = list(_curves(task, state, tensors))
    further = Further(task, sweeper)
    looks, flips = {}, {}
    if isinstance(task.curves, Regions):
        looks, flips = looked_at(task, sweeper, curves), flipped(task, sweeper, curves)
    found: list[Found] = []
    for curve in curves:
        if isinstance(task.curves, Regions):
            shapes = _steps(curve, looks, task.curves)
            further.pairs(curve, shapes)
            found += [_regions(curve, shapes, flips.get(curve.way), seed)]
            found += _points(curve, seed, _shares(curve, shapes))
        else:
            assert isinstance(task.curves, Reach)
            found += [_reached(curve, threshold, seed) for threshold in task.curves.thresholds]
            found += _points(curve, seed, _ratios(curve, curves, task.curves, seed))
    more = REGION_COLUMNS if isinstance(task.curves, Regions) else REACH_COLUMNS
    kinds: dict[str, Kind] = {**CURVE_COLUMNS, **more, **column_kinds(task.variants)}
    by_example = [name for name in BY_EXAMPLE if any(name in one.values for one in found)]
    names = ("base", "value", *by_example)
    scored = Scored(
        score_table([one.row for one in found], kinds),
        {name: _stacked([one.values.get(name) for one in found]) for name in names},
    )
    if isinstance(task.curves, Reach):
        further.rows["errors"] = errors(curves, sweeper)
    elif task.curves is not None and task.curves.slice:
        further.rows["planes"] = planes(task, sweeper)
    return scored, further.tables()


def _stacked(values: Sequence[Tensor | None]) -> NDArray[np.generic]:
    n = next(len(v) for v in values if v is not None)
    nothing = torch.full((n,), torch.nan)
    held = torch.stack([nothing if v is None else v.float() for v in values])
    stacked: NDArray[np.generic] = held.numpy()
    return stacked


def _curves(
    task: Sweep, state: State, tensors: Mapping[str, NDArray[np.generic]]
) -> Iterator[Curve]:
    base, value = (torch.from_numpy(tensors[name]).double() for name in ("base", "value"))
    row, count = 0, len(task.metrics)
    for variant in task.variants:
        points = state.units(task.intervention.units, variant.into)
        assert all(isinstance(p, Point) for p in points)
        for _, group in groupby(points, lambda p: (p.targets, p.path)):  # type: ignore[attr-defined]
            members: tuple[Point, ...] = tuple(group)  # type: ignore[arg-type]
            first = tuple(p for p in members if p.number == members[0].number)
            rows = slice(row, row + len(members) * count)
            row = rows.stop
            shape = (len(members) // len(first), len(first), count, -1)
            effects = (value[rows] - base[rows]).view(shape)
            for m, metric in enumerate(task.metrics):
                yield Curve(variant, first, metric, effects[:, :, m], base[rows][m])


# ---- rows


def _head(curve: Curve, **columns: Any) -> Row:
    return {
        **unit_columns(curve.points[0]),
        "metric": curve.metric.name,
        "direction": curve.path,
        "scale": curve.points[0].length.scale,
        "n": len(curve.base),
        "skipped": False,
        **dict(curve.variant.columns),
        **columns,
    }


def _points(curve: Curve, seed: int, columns: Sequence[Row]) -> Iterator[Found]:
    """A row a length, of all directions together with further `columns`; then of each, where there
    are several. Quartiles of all directions together are of every one's effects."""
    spread = curve.effects.transpose(0, 1).flatten(1)[None]
    together = _rows(curve, curve.mean[None], spread, (None,), seed)
    for one, more in zip(together, columns, strict=True):
        yield Found({**one.row, **more}, one.values)
    if len(curve.effects) > 1:
        yield from _rows(curve, curve.effects, curve.effects, range(len(curve.effects)), seed)


def _rows(
    curve: Curve, effects: Tensor, spread: Tensor, numbers: Sequence[int | None], seed: int
) -> Iterator[Found]:
    """Rows of effects [directions, lengths, n], quartiles of what is `spread` on the last axis."""
    shape = effects.shape[:2]
    ends = (end.view(shape).tolist() for end in bounds(effects.flatten(0, 1).T, seed))
    quartiles = np.quantile(spread.numpy(), [0.25, 0.5, 0.75], axis=2).tolist()
    values = curve.base + effects
    numeric = (values.mean(2).tolist(), effects.mean(2).tolist(), *ends, *quartiles)
    names = ("value", "effect", "low", "high", "q25", "median", "q75")
    base = float(curve.base.mean())
    for d, number in enumerate(numbers):
        head = _head(curve, number=number, base=base)
        for i, point in enumerate(curve.points):
            told = {name: held[d][i] for name, held in zip(names, numeric, strict=True)}
            row = {**head, "length": point.length.value, **told}
            yield Found(row, {"base": curve.base, "value": values[d, i]})


def _reached(curve: Curve, threshold: float, seed: int) -> Found:
    """Where the mean effect first reaches a threshold, with bounds over examples."""
    weights = resampling(len(curve.base), seed)
    at = reached(curve.lengths, curve.mean.mean(1), threshold)
    resampled = reached(curve.lengths, weights @ curve.mean.T, threshold).nan_to_num(torch.inf)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(resampled.numpy(), [tail, 1 - tail], method="higher")
    row = _head(
        curve,
        threshold=threshold,
        reached=_number(float(at)),
        low=_number(float(low)),
        high=_number(float(high)),
    )
    return Found(row, {})


def _ratios(curve: Curve, curves: Sequence[Curve], reach: Reach, seed: int) -> list[Row]:
    """How the curve compares with the baseline, length by length."""
    against = dict(reach.against).get(curve.path)
    other = next((c for c in curves if c.path == against and is_beside(c, curve)), None)
    if other is None:
        return [{} for _ in curve.points]
    pairs = zip(curve.mean, other.mean, strict=True)
    return [compared(over, under, seed, rounding(curve.metric)) for over, under in pairs]


def is_beside(one: Curve, other: Curve) -> bool:
    """Whether two curves differ in their path alone."""
    return (one.variant, one.points[0].targets, one.metric) == (
        other.variant,
        other.points[0].targets,
        other.metric,
    )


# ---- regions


def _steps(curve: Curve, looks: Looks, regions: Regions) -> Steps:
    """Of each direction and example, direction after direction."""
    at, values = looks[curve.variant, curve.points[0].targets, curve.path, curve.metric]
    return steps(at, values, regions.height, regions.floor)


def _shares(curve: Curve, shapes: Steps) -> list[Row]:
    """The effect as a share of that at the end, over what is kept."""
    kept = ~shapes.slope.isnan()
    if not bool(kept.any()):
        return [{} for _ in curve.points]
    effects = curve.effects.transpose(0, 1).flatten(1)[:, kept]
    return [{"relative": float(x)} for x in (effects / effects[-1]).mean(1)]


def _regions(curve: Curve, shapes: Steps, flips: Tensor | None, seed: int) -> Found:
    """Medians over examples, of several directions each example's own median first."""
    shape = (len(curve.effects), len(curve.base))
    own = {name: getattr(shapes, name).view(shape).nanmedian(0).values for name in SHAPES}
    kept = ~own["slope"].isnan()
    dropped = int(shapes.slope.isnan().sum())
    row = _head(curve, n=int(kept.sum()), dropped=dropped)
    if bool(kept.any()):
        row |= {name: float(np.median(found[kept].numpy())) for name, found in own.items()}
        quartiles = np.quantile(own["slope"][kept].numpy(), [0.25, 0.75])
        row |= dict(zip(("slope_q25", "slope_q75"), map(float, quartiles), strict=True))
        row |= dict(zip(("low", "high"), median_bounds(own["slope"][kept], seed), strict=True))
    if flips is not None:
        own["flips"] = flips.view(shape).median(0).values
        row["flips"] = float(np.median(own["flips"].numpy()))
    return Found(row, {name: own[name] for name in BY_EXAMPLE if name in own})


def _number(x: float) -> float | None:
    return x if np.isfinite(x) else None
