"""What circuits are measured by: each function of verbs/methods.py, and the rows it makes.

m(C) is a metric's mean over examples with the edges of the circuit alone, m(∅) with none, m(full)
with all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp_dsl.engine.batches import in_batches
from interp_dsl.engine.edges import EdgeBench
from interp_dsl.engine.scores import Scored, check_finite
from interp_dsl.engine.statistics import bounds, gap, ratio_bounds
from interp_dsl.models.graph import Bools
from interp_dsl.models.precision import float32_products
from interp_dsl.plan.algebra import Finding
from interp_dsl.plan.metrics import in_logits
from interp_dsl.plan.tasks import EvaluateCircuit
from interp_dsl.runs.schema import score_table


@dataclass(frozen=True)
class Measured:
    """Metrics of single examples, float64 in the processor's memory: `circuits`
    [circuits, metrics, n]; `empty` and `full` [metrics, n]."""

    circuits: Tensor
    empty: Tensor
    full: Tensor


def measured(bench: EdgeBench, kept: Sequence[Bools]) -> Measured:
    """Circuits, the empty one and the whole model on all examples."""
    graph, device = bench.graph, bench.tokens.device
    masks = [*kept, np.zeros(graph.n_edges, dtype=bool)]
    tensors = [torch.from_numpy(mask).to(device) for mask in masks]
    parts: list[Tensor] = []

    def work(start: int, stop: int) -> None:
        rows = slice(start, stop)
        examples = torch.arange(start, stop, device=device)
        reads = None if bench.reads is None else bench.reads[rows]
        mask = None if bench.mask is None else bench.mask[rows]
        ablated = bench.ablated(examples)
        forward, tokens = bench.forward, bench.tokens[rows]
        logits = [forward.logits(tokens, held, ablated, reads, mask) for held in tensors]
        whole = forward.run(forward.embedded(tokens), reads=reads, mask=mask).logits
        parts.append(bench.values(torch.stack([*logits, whole]), examples).cpu().double())

    with torch.no_grad():
        in_batches(bench.n, bench.rows, work, bench.note)
    values = torch.cat(parts, dim=-1).transpose(0, 1)
    return Measured(values[:-2], values[-2], values[-1])


@dataclass(frozen=True)
class Case:
    """One circuit and one metric: values [n] of the circuit, the empty one and the whole model;
    and all that a function needs to measure more."""

    bench: EdgeBench
    kept: Bools
    finding: Finding
    circuit: Tensor
    empty: Tensor
    full: Tensor
    seed: int

    @property
    def gap(self) -> float | None:
        """m(full) - m(∅), None where that is too little to divide by."""
        return gap(self.empty, self.full, in_logits(self.finding.metric.term))


Columns = Mapping[str, float | None]
Function = Callable[[Case], Columns]
"""Of a case, the columns of its row: `value`, with `low`, `high`, `base`, `normalized` where it has
them."""


def _metric(case: Case) -> Columns:
    """The metric itself: m(C) from m(∅); normalized, how much of the way to m(full)."""
    low, high = bounds(case.circuit[:, None], case.seed)
    value, base, whole = float(case.circuit.mean()), float(case.empty.mean()), case.gap
    return {
        "base": base,
        "value": value,
        "normalized": None if whole is None else (value - base) / whole,
        "low": float(low),
        "high": float(high),
    }


def _faithfulness(case: Case) -> Columns:
    """(m(C) - m(∅)) / (m(full) - m(∅)), a ratio of means."""
    whole = case.gap
    if whole is None:
        return {"value": None}
    value = float((case.circuit - case.empty).mean()) / whole
    low, high = ratio_bounds(case.circuit - case.empty, case.full - case.empty, case.seed)
    return {"value": value, "normalized": value, "low": low, "high": high}


FUNCTIONS: dict[str | None, Function] = {None: _metric, "faithfulness": _faithfulness}


def evaluate_circuits(
    task: EvaluateCircuit, bench: EdgeBench, circuits: Mapping[float | None, Bools], seed: int
) -> Scored:
    """A row a circuit and finding, and where a finding has values of single examples, these."""
    with float32_products(bench.executor.tf32):
        found = measured(bench, list(circuits.values()))
        rows: list[dict[str, Any]] = []
        values: list[Tensor] = []
        check_finite(
            torch.cat([found.circuits, found.full[None]]).transpose(0, 1),
            task.metrics,
            [*(f"threshold {t}" for t in circuits), "the whole model"],
            task.step,
            task.place,
        )
        for at, (threshold, kept) in enumerate(circuits.items()):
            for finding in task.findings:
                m = task.metrics.index(finding.metric)
                held = (found.circuits[at, m], found.empty[m], found.full[m])
                case = Case(bench, kept, finding, *held, seed)
                columns = FUNCTIONS[finding.function](case)
                row = {"unit": "circuit", "position": "all", "metric": finding.name, "n": bench.n}
                rows.append({**row, **columns, **_which(threshold, len(circuits))})
                own = finding.function is None
                values.append(held[0] if own else torch.full_like(held[0], torch.nan))
    extra = {"threshold": "number"} if len(circuits) > 1 else {}
    table = score_table(rows, extra)  # type: ignore[arg-type]
    return Scored(table, {"value": torch.stack(values).float().numpy()})


def _which(threshold: float | None, n: int) -> dict[str, Any]:
    return {"threshold": threshold} if n > 1 else {}
