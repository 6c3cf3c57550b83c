"""How a plan tells of runs, interventions and sources."""

from __future__ import annotations

from interp_dsl.plan.algebra import (
    Blocked,
    Constant,
    FromRun,
    Intervention,
    Mean,
    Noise,
    Resample,
    Run,
    Source,
    Times,
    ToVector,
    Zero,
)
from interp_dsl.plan.paths import Moved, Plane


def show_run(run: Run) -> str:
    """`repeats.corrupt`, with the number of interventions that hold in it."""
    name = f"{run.data.removeprefix('data:')}.{run.side}"
    return f"{name} under {len(run.under)}" if run.under else name


def show_change(change: Intervention) -> str:
    if isinstance(change.source, Moved):
        ways = (path for path in change.source.paths if not isinstance(path, Plane))
        return f"moved along {', '.join(path.name for path in ways)}"
    along = " along a direction" if change.along else ""
    return f"set to {show_source(change.source)}{along}"


def show_source(source: Source) -> str:
    match source:
        case FromRun(run=run):
            return show_run(run)
        case Zero():
            return "zero"
        case Mean(run=run, per=per):
            return f"the mean of {show_run(run)} per {per}"
        case Resample(run=run, seed=seed):
            return f"a drawn example of {show_run(run)} (seed {seed})"
        case Noise(std=std):
            return f"itself plus noise of {std}"
        case Constant(value=value):
            return f"{value:g}"
        case Times(value=value, run=run):
            return f"{value:g} times its largest on {show_run(run)}"
        case ToVector():
            return "a vector"
        case Blocked():
            return "nothing, before the softmax"
        case Moved():
            return "itself, moved"
