"""Score rows from the values of single examples."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from interp_dsl.engine.statistics import bounds, gap
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.plan.algebra import Metric
from interp_dsl.plan.metrics import in_logits
from interp_dsl.plan.places import Unit
from interp_dsl.plan.tasks import Place, Variant
from interp_dsl.runs.schema import Kind, score_table, unit_columns


@dataclass(frozen=True)
class Scored:
    """Rows of a score table, and the values of single examples in their order."""

    table: pl.DataFrame
    tensors: dict[str, NDArray[np.generic]]

    def ordered(self, rows: Sequence[int]) -> Scored:
        """The same with its rows in another order."""
        chosen = list(rows)
        return Scored(self.table[chosen], {name: x[chosen] for name, x in self.tensors.items()})


def score_units(
    units: Sequence[Unit],
    metrics: Sequence[Metric],
    values: Tensor,
    base: Tensor,
    other: Tensor | None,
    variant: Variant,
    kinds: Mapping[str, Kind],
    seed: int,
    skipped: Collection[Unit] = (),
) -> Scored:
    """Scores of changed units: values [metrics, units, n], base and other [metrics, n]. A row a
    unit and metric, unit after unit; `skipped` were not run."""
    values, base = values.cpu().double(), base.cpu().double()  # mps has no float64
    effects = values - base[:, None]
    ends = (b.view(effects.shape[:2]) for b in bounds(effects.flatten(0, 1).T, seed))
    low, high, found, means = (x.tolist() for x in (*ends, values.mean(2), effects.mean(2)))
    bases = base.mean(1).tolist()
    gaps = [
        gap(base[m], None if other is None else other[m].cpu(), in_logits(metric.term))
        for m, metric in enumerate(metrics)
    ]
    rows = [
        about
        | {
            "metric": metric.name,
            "base": bases[m],
            "value": found[m][u],
            "effect": means[m][u],
            "normalized": None if gaps[m] is None else means[m][u] / gaps[m],
            "low": low[m][u],
            "high": high[m][u],
            "n": values.shape[2],
            "skipped": unit in skipped,
        }
        | dict(variant.columns)
        for u, unit in enumerate(units)
        for about in (unit_columns(unit),)
        for m, metric in enumerate(metrics)
    ]
    held = values.transpose(0, 1).flatten(0, 1)
    before = base[None].expand(len(units), -1, -1).flatten(0, 1)
    return Scored(score_table(rows, kinds), {"base": _stored(before), "value": _stored(held)})


def score_run(
    metrics: Sequence[Metric],
    values: Tensor,
    variant: Variant,
    kinds: Mapping[str, Kind],
    seed: int,
) -> Scored:
    """Values only, of a model as it is: values [metrics, n]."""
    values = values.cpu()
    low, high = bounds(values.double().T, seed)
    rows = [
        {
            "unit": "model",
            "position": "all",
            "metric": metric.name,
            "value": float(values[m].double().mean()),
            "low": float(low[m]),
            "high": float(high[m]),
            "n": values.shape[1],
            "skipped": False,
        }
        | dict(variant.columns)
        for m, metric in enumerate(metrics)
    ]
    return Scored(score_table(rows, kinds), {"value": _stored(values)})


def _stored(values: Tensor) -> NDArray[np.generic]:
    stored: NDArray[np.generic] = values.float().cpu().contiguous().numpy()
    return stored


def column_kinds(variants: Sequence[Variant]) -> dict[str, Kind]:
    """The columns that variants add to the table, and what they hold."""
    kinds: dict[str, Kind] = {}
    for variant in variants:
        for name, value in variant.columns:
            kind = _kind(value)
            kinds[name] = kind if kinds.get(name, kind) == kind else "number"
    return kinds


def _kind(value: object) -> Kind:
    if isinstance(value, str):
        return "text"
    return "integer" if isinstance(value, int) else "number"


def check_finite(
    values: Tensor,
    metrics: Sequence[Metric],
    units: Sequence[object],
    step: str,
    place: Place | None = None,
) -> None:
    """Raise InterpError E641 for a value [metrics, units, n] that is no finite number."""
    wrong = (~torch.isfinite(values)).nonzero()
    if not len(wrong):
        return
    metric, unit, example = wrong[0].tolist()
    where = (f"{place.file}:{place.line}",) if place else ()
    raise InterpError(
        Diagnostic(
            "E641",
            f"{step}: {metrics[metric].name} of {units[unit]} is "
            f"{float(values[metric, unit, example])} in example {example}",
            notes=(f"{len(wrong)} of {values.numel()} values are no finite numbers", *where),
            help="look for a division by zero; in bfloat16 or float16 try float32",
        ),
        exit_code=1,
    )


def no_units(step: str) -> InterpError:
    """E643: a condition or a circuit that chooses the units of a step left none."""
    return InterpError(
        Diagnostic(
            "E643",
            f"step {step} has no units",
            notes=("the condition, or the circuit of a step, that chooses them left none",),
            help="loosen the condition, or lower the threshold of the search",
        )
    )
