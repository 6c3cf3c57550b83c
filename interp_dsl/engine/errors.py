"""A dictionary's error beside directions as long as it is (Gurnee 2024; Lee & Heimersheim 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from interp_dsl.engine.rebuilt import Place, of_place
from interp_dsl.engine.statistics import bounds, compared
from interp_dsl.engine.sweep import Sweeper
from interp_dsl.plan.algebra import Metric
from interp_dsl.plan.dictionaries import DictionaryOf
from interp_dsl.plan.metrics import calls
from interp_dsl.plan.paths import Moved, Path, Rebuilt, Sized
from interp_dsl.plan.places import Target

if TYPE_CHECKING:
    from interp_dsl.engine.curves import Curve

Row = dict[str, Any]


def rounding(metric: Metric) -> float:
    """What float32 makes of no effect at all, at most: divergences are small sums of small terms,
    all else is a difference of numbers about 10 and more."""
    functions = {call.function for call in calls(metric.term)}
    return 1e-7 if functions <= {"kl", "js"} else 1e-5


def errors(curves: Sequence[Curve], sweeper: Sweeper) -> list[Row]:
    """A row for each curve that has a point at 1x and can be told beside the error of its
    dictionary; none where no direction of the step is an error or as long as one."""
    source = sweeper.task.intervention.source
    assert isinstance(source, Moved)
    paths = {path.name: path for path in source.paths}
    found: list[Row] = []
    if not any(isinstance(p, Sized) for p in source.paths):
        return found
    for error in curves:
        path, at = paths[error.path], _whole(error)
        if at is None or not isinstance(path, Rebuilt) or path.how != "error":
            continue
        of = of_place(path.of, _place(error))
        about = _about(error, of, sweeper)
        beside = [c for c in curves if _goes_with(c, error) and _of(paths[c.path], c) == of]
        seed, label = sweeper.state.seed, error.path[len(error.path.partition("[")[0]) :]
        found += [about | _row(c, label, at, error, seed) for c in (error, *beside)]
    return found


def _whole(curve: Curve) -> int | None:
    """Which of the points is at 1x."""
    lengths = [(p.length.value, p.length.scale) for p in curve.points]
    return lengths.index((1.0, "own")) if (1.0, "own") in lengths else None


def _goes_with(curve: Curve, error: Curve) -> bool:
    one = (curve.variant, curve.points[0].targets, curve.metric)
    other = (error.variant, error.points[0].targets, error.metric)
    return curve.path != error.path and one == other


def _of(path: Path, curve: Curve) -> DictionaryOf | None:
    """The dictionary whose error a path is told beside."""
    match path:
        case Sized(of=of) | Rebuilt(of=of):
            return of_place(of, _place(curve))
    return None


def _place(curve: Curve) -> Place:
    target: Target = curve.points[0].targets[0]
    return Place(target.site, target.index or 0, target.positions)


def _about(error: Curve, of: DictionaryOf, sweeper: Sweeper) -> Row:
    """What the dictionary does to the places."""
    paths, place = sweeper.paths_of(error.variant), _place(error)
    x = paths.own(place)
    found, x = paths.dictionaries.reconstruction((of,), place, x), x.float()
    length, rebuilt = x.norm(dim=-1), found.y.norm(dim=-1)
    error_length = (found.y - x).norm(dim=-1)
    there = paths.there(place)
    return {
        "unit": error.points[0].place,
        "position": error.points[0].position,
        "dictionary": of.names[0],
        "l0": _mean(found.active, there),
        "error": _mean(error_length, there),
        "relative": _mean(error_length / length, there),
        "shrinkage": _mean(rebuilt / length, there),
        **dict(error.variant.columns),
    }


def _mean(x: Tensor, there: Tensor) -> float:
    return float(x[there].double().mean())


def _row(curve: Curve, label: str, at: int, against: Curve, seed: int) -> Row:
    """What a curve does at one of its points; `label` is the dictionary's in its name."""
    effect, error = curve.mean[at], against.mean[at]
    low, high = bounds(effect[:, None], seed)
    row: Row = {
        "direction": curve.path.removesuffix(label),
        "metric": curve.metric.name,
        "base": float(curve.base.mean()),
        "effect": float(effect.mean()),
        "low": float(low),
        "high": float(high),
        "ratio": None,
        "ratio_low": None,
        "ratio_high": None,
        "n": len(effect),
    }
    return row | compared(error, effect, seed, rounding(curve.metric))
