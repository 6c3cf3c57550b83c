"""Plans of curves, written by hand."""

from __future__ import annotations

from interp_dsl.plan.algebra import (
    Explicit,
    Intervention,
    Metric,
    MetricCall,
    Points,
)
from interp_dsl.plan.paths import (
    Moved,
)
from interp_dsl.plan.paths import Path as Way
from interp_dsl.plan.places import ALL, Length, Positions, Site, Target, Unit
from interp_dsl.plan.tasks import Forward, Plan, Reach, Regions, Sweep, Variant

from .plans import CLEAN, CORRUPT, GAP, LOADS, packed

SITE = Site("resid_pre", 1)
KL, DISTANCE = Metric("kl", MetricCall("kl")), Metric("distance", MetricCall("distance"))
LENGTHS = (0.0, 0.5, 2.0)
HALF = Reach((0.5,))


def unit(site: Site = SITE, at: Positions = ALL, index: int | None = None) -> Unit:
    return Unit((Target(site, index, at),))


def plan(
    *paths: Way,
    units: tuple[Unit, ...] = (unit(),),
    lengths: tuple[float, ...] = LENGTHS,
    scale: str = "l2",
    metrics: tuple[Metric, ...] = (GAP,),
    curves: Reach | Regions = HALF,
    variants: tuple[Variant, ...] = (Variant(CLEAN, None),),
    rows: int | None = 7,
    shard: int | None = None,
) -> Plan:
    """A step of curves and the forwards that it reads."""
    counts = tuple((p.name, getattr(p, "n", 1)) for p in paths)
    points = Points(Explicit(units), counts, tuple(Length(x, scale) for x in lengths))
    change = Intervention(points, Moved(paths, CLEAN))
    places = tuple(Target(t.site, t.index or 0) for u in units for t in u.targets)
    sites = tuple({t.site: None for t in places})
    step = Sweep("s", "who", variants, change, metrics, CLEAN, packed(rows, shard), curves=curves)
    forwards = [
        Forward(f"f{i}", r, sites, metrics, moments=places) for i, r in enumerate((CLEAN, CORRUPT))
    ]
    return Plan((*LOADS, *forwards, step))
