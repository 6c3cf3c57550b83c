"""Parts of a plan as the language writes them."""

from __future__ import annotations

from interp_dsl.plan.algebra import (
    Constant,
    FromRun,
    Mean,
    Resample,
    Run,
    ScoreOf,
    Source,
    Zero,
)
from interp_dsl.plan.tasks import CircuitOf

PAIRED = ("clean", "corrupt")
"""Sides that are named behind their data."""


def written_source(source: Source) -> str:
    """A source: `ioi.corrupt`, `zero`, `mean(ioi.clean)`. ValueError for one that no edge has."""
    match source:
        case FromRun(run=run):
            return written_side(run)
        case Zero():
            return "zero"
        case Constant(value=value):
            return f"{value:g}"
        case Mean(run=run, per=per):
            return f"mean({written_side(run)}{'' if per == 'position' else f', per={per}'})"
        case Resample(run=run, seed=seed):
            return f"resample({written_side(run)}, seed={seed})"
    raise ValueError(f"no edge is set to {source}")


def written_ranking(by: ScoreOf | CircuitOf) -> str:
    """What edges are ranked by: `scores.gap.effect`, `curve[threshold=0.1]`."""
    if isinstance(by, ScoreOf):
        return f"{by.step}.{by.metric}.{by.column}"
    return f"{by.step}[threshold={by.thresholds[0]:g}]" if by.thresholds else by.step


def written_side(run: Run) -> str:
    """The side of a run; of data without pairs its name."""
    name = run.data.removeprefix("data:").partition("@")[0]
    return f"{name}.{run.side}" if run.side in PAIRED else name


def quantity(value: float) -> str:
    """A number in thousands, millions, … with one decimal: 1.2 M."""
    for size, suffix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.1f} {suffix}"
    return f"{value:.0f} "
