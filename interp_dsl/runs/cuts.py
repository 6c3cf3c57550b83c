"""A step's circuits as a row of ever smaller ones, and how faithful they are.

Where a search kept a circuit for each of several thresholds, these are the cuts. Where it kept one,
its own edges are cut by strength: the k-th cut keeps the k strongest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
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
    """A circuit and the threshold that makes it: None for the whole of a circuit that no number
    cuts."""

    threshold: float | None
    circuit: Circuit


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
        return [Cut(t, c) for t, c in sorted(circuits.items(), key=lambda held: held[0] or 0.0)]
    return list(_by_strength(circuits[None]))


def _by_strength(circuit: Circuit) -> Iterator[Cut]:
    import polars as pl

    size = pl.col(strength_column(circuit)).abs()
    strengths = np.sort(circuit.edges.select(size).to_series().drop_nulls().to_numpy())
    levels = np.unique(strengths)
    if not len(levels):
        yield Cut(None, circuit)
        return
    if len(levels) > MOST:
        levels = levels[np.unique(np.linspace(0, len(levels) - 1, MOST).round().astype(int))]
    for level in levels.tolist():
        kept = pl.col("kept") & (size.is_null() | (size >= level))
        yield Cut(level, replace(circuit, table=circuit.table.with_columns(kept=kept)))


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
    points = tuple(Point(cut.threshold or 0.0, cut.circuit.size) for cut in made)
    word = strength_column(made[0].circuit) if made else "effect"
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
