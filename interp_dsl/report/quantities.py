"""What figures are labelled by: rows of score tables, metrics and the units that they count in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from interp_dsl.plan.algebra import Metric, MetricCall, MetricSum, MetricTerm
from interp_dsl.plan.tasks import EvaluateCircuit, Plan, Task
from interp_dsl.runs.bands import named as place

UNITS = {
    "logit_diff": "logits",
    "logit": "logits",
    "mean_abs_diff": "logits",
    "logprob": "nats",
    "logprob_diff": "nats",
    "kl": "nats",
    "js": "nats",
    "entropy": "nats",
    "loss": "nats",
    "prob": "probability",
    "prob_diff": "probability",
}


def units(plan: Plan | None) -> dict[str, str]:
    """The units of a plan's metrics by the names that the tables use; what has none is left out,
    such as a share of a metric."""
    metrics = (metric for task in (plan.tasks if plan else ()) for metric in _metrics(task))
    return {metric.name: unit for metric in metrics if (unit := _unit(metric.term))}


def _metrics(task: Task) -> tuple[Metric, ...]:
    """The metrics that a task measures under their own names."""
    if isinstance(task, EvaluateCircuit):
        return tuple(f.metric for f in task.findings if f.function is None)
    return tuple(getattr(task, "metrics", ()))


def _unit(term: MetricTerm) -> str | None:
    """The unit of a term: of sums and differences that of their parts, where they have the same."""
    match term:
        case MetricCall(function=function):
            return UNITS.get(function)
        case MetricSum(op=op, operands=operands) if op in ("+", "-", "neg"):
            parts = {_unit(operand) for operand in operands}
            return parts.pop() if len(parts) == 1 else None
    return None


def named(what: str, unit: str | None) -> str:
    """`effect on gap (logits)`."""
    return f"{what} ({unit})" if unit else what


def row_name(row: Mapping[str, Any], columns: Iterable[str] = ()) -> str:
    """A row of a score table by its place and by what it has in further columns: `L0H1 at S2, k
    3`."""
    more = (f"{name} {row[name]}" for name in columns if row[name] is not None)
    return ", ".join([place((row["unit"], row["position"])), *more])
