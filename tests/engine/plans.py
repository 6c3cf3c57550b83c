"""Hand-written plans, and running them on the tiny model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from interp_dsl.data.types import Data
from interp_dsl.engine.execute import Outcome, execute
from interp_dsl.plan.algebra import (
    Explicit,
    Intervention,
    Metric,
    MetricCall,
    Run,
    Source,
    Units,
    Vector,
)
from interp_dsl.plan.places import ALL, Positions, Site, Target, Unit
from interp_dsl.plan.rewrite import parts
from interp_dsl.plan.starts import WHOLE, Packing
from interp_dsl.plan.tasks import BuildData, Forward, LoadModel, Plan, Sweep, Task, Variant
from interp_dsl.runs.folder import RunFolder

from .tiny import Given

CLEAN, CORRUPT = Run("m", "d", "clean"), Run("m", "d", "corrupt")
GAP = Metric("gap", MetricCall("logit_diff"))
LOADS: tuple[Task, ...] = (LoadModel("m", "m", {}), BuildData("d", "d", {}, "m"))
FIRST, LAST, END = Positions("first"), Positions("last"), Positions("label", label="END")


def unit(
    kind: str,
    layer: int | None = 0,
    index: int | None = None,
    at: Positions = ALL,
    hook: str | None = None,
) -> Unit:
    return Unit((Target(Site(kind, layer, hook), index, at),))


HEADS = Explicit(tuple(unit("head", layer, h) for layer in (0, 1) for h in (0, 1)))


def sites_in(units: Units) -> tuple[Site, ...]:
    assert isinstance(units, Explicit)
    return tuple({t.site: None for u in units.units for t in u.targets})


def sweep_plan(
    units: Units,
    source: Source,
    *,
    into: Run = CLEAN,
    other: Run | None = CORRUPT,
    along: tuple[Vector, ...] = (),
    metrics: tuple[Metric, ...] = (GAP,),
    sites: Sequence[Site] | None = None,
    rows: int | None = 7,
    shard: int | None = None,
) -> Plan:
    """A sweep and the forwards that it reads, each of which keeps `sites` (the units' own)."""
    kept = sites_in(units) if sites is None else tuple(sites)
    change = Intervention(units, source, along)
    packing = packed(rows, shard)
    sweep = Sweep("s", "who", (Variant(into, other),), change, metrics, CLEAN, packing)
    runs = dict.fromkeys([CLEAN, *reversed([*parts(sweep, Run)])])
    forwards = (Forward(f"f{i}", run, tuple(kept), metrics) for i, run in enumerate(runs))
    return Plan((*LOADS, *forwards, sweep))


def packed(rows: int | None, shard: int | None = None) -> Packing:
    """At most so many rows a batch, units a shard; all where None."""
    return replace(WHOLE, rows=rows or WHOLE.rows, shard=shard or WHOLE.shard)


def folder_in(path: Path) -> RunFolder:
    return RunFolder.create(path, "test", datetime(2026, 1, 1))


def with_tasks(plan: Plan, *tasks: Task) -> Plan:
    return replace(plan, tasks=(*plan.tasks, *tasks))


@dataclass
class Ran:
    folder: RunFolder
    outcome: Outcome
    table: pl.DataFrame
    values: NDArray[np.generic]

    def rows(self) -> list[dict[str, Any]]:
        return self.table.to_dicts()


def run(plan: Plan, model: Any, tmp_path: Path, step: str = "who", **data: Data) -> Ran:
    """Execute a plan in a new folder; `values` are single examples' [rows, n]."""
    folder = folder_in(tmp_path)
    outcome = execute(plan, folder, loaders=Given(model, **data))
    return Ran(folder, outcome, folder.read_table(step), folder.read_tensors(step)["value"])
