"""A step's circuits as a row of ever smaller ones, and how faithful they are.

Where a search kept a circuit for each of several thresholds, these are the cuts. Where it kept one,
its own edges are cut by strength: the k-th cut keeps the k strongest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from interp_dsl.plan.tasks import CircuitOf, EvaluateCircuit
from interp_dsl.runs.circuit import Circuit
from interp_dsl.runs.draw.marks import strength_column
from interp_dsl.runs.folder import RunFolder

if TYPE_CHECKING:
    import polars as pl

MOST = 240
"""Cuts of one circuit at most; of a larger one, sizes evenly spread."""


@dataclass(frozen=True)
class Cut:
    """The circuit of a threshold, `size` edges. It is `whole` itself where the search kept it so,
    or where no number cuts it (`threshold` None); else, `by` a column, the edges of `whole` that
    are strong enough."""

    threshold: float | None
    size: int
    whole: Circuit
    by: str | None = None

    @cached_property
    def circuit(self) -> Circuit:
        import polars as pl

        if self.by is None:
            return self.whole
        size = pl.col(self.by).abs()
        kept = pl.col("kept") & (size.is_null() | (size >= self.threshold))
        return replace(self.whole, table=self.whole.table.with_columns(kept=kept))


@dataclass(frozen=True)
class Point:
    """A place on a curve: `y` with its bounds where there are some."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Curve:
    """Points from left to right; what the two axes are; where the numbers come from."""

    points: tuple[Point, ...]
    x: str
    y: str
    source: str


# ---- cuts


def cuts(circuits: Mapping[float | None, Circuit]) -> list[Cut]:
    """The cuts of a step, the largest circuit first."""
    if None not in circuits:
        held = sorted(circuits.items(), key=lambda held: held[0] or 0.0)
        return [Cut(threshold, one.size, one) for threshold, one in held]
    return _by_strength(circuits[None])


def _by_strength(circuit: Circuit) -> list[Cut]:
    column = strength_column(circuit)
    found = circuit.edges[column].abs().drop_nulls().sort().to_numpy()
    levels = np.unique(found)
    if not len(levels):
        return [Cut(None, circuit.size, circuit)]
    if len(levels) > MOST:
        levels = levels[np.unique(np.linspace(0, len(levels) - 1, MOST).round().astype(int))]
    sizes = circuit.size - np.searchsorted(found, levels)
    pairs = zip(levels.tolist(), sizes.tolist(), strict=True)
    return [Cut(level, size, circuit, column) for level, size in pairs]


# ---- curves


def evaluations(folder: RunFolder, step: str) -> list[str]:
    """The finished steps that evaluate the circuits of a step, by the plan."""
    try:
        tasks = folder.read_plan().tasks
    except FileNotFoundError:
        return []
    return [
        task.step
        for task in tasks
        if isinstance(task, EvaluateCircuit)
        and isinstance(task.circuit, CircuitOf)
        and task.circuit.step == step
        and folder.has_table(task.step)
    ]


def curve(folder: RunFolder, step: str, made: list[Cut]) -> Curve:
    """The faithfulness of a step's circuits: against their thresholds where they were evaluated at
    several, against size where `cpr` or `cmd` measured it; else how many edges the cuts keep."""
    held = [(name, folder.read_table(name)) for name in evaluations(folder, step)]
    for find in (_by_threshold, _by_size):
        for name, table in held:
            points = find(table)
            if len(points) > 1:
                x = "threshold" if find is _by_threshold else "share of edges"
                return Curve(points, x, "faithfulness", name)
    points = tuple(Point(cut.threshold or 0.0, cut.size) for cut in made)
    word = strength_column(made[0].whole) if made else "effect"
    return Curve(points, f"|{word}|", "edges kept", step)


def faithfulness(folder: RunFolder, step: str, threshold: float | None) -> Point | None:
    """How faithful a step's circuit of a threshold is, where it was evaluated."""
    import polars as pl

    for name in evaluations(folder, step):
        table = _whole(folder.read_table(name))
        if "threshold" in table.columns and threshold is not None:
            table = table.filter(pl.col("threshold") == threshold)
        if len(table):
            value, low, high = table.select("value", "low", "high").row(0)
            return Point(threshold or 0.0, value, low, high)
    return None


def _whole(table: pl.DataFrame) -> pl.DataFrame:
    """The faithfulness of whole circuits, where a table has it."""
    import polars as pl

    named = pl.col("metric").str.starts_with("faithfulness")
    return table.filter((pl.col("unit") == "circuit") & named & pl.col("value").is_not_null())


def _by_threshold(table: pl.DataFrame) -> tuple[Point, ...]:
    if "threshold" not in table.columns:
        return ()
    rows = _whole(table).sort("threshold").select("threshold", "value", "low", "high")
    return tuple(Point(*row) for row in rows.iter_rows())


def _by_size(table: pl.DataFrame) -> tuple[Point, ...]:
    """The rows of sizes that `cpr` and `cmd` leave, units `0.1%` to `100%`."""
    import polars as pl

    sizes = table.filter(pl.col("unit").str.contains(r"^[\d.]+%$") & pl.col("value").is_not_null())
    first = sizes.filter(pl.col("metric") == pl.col("metric").first())
    shares = first["unit"].str.strip_suffix("%").cast(float) / 100
    found = zip(shares, first["value"], strict=True)
    return tuple(Point(x, y) for x, y in sorted(found))
