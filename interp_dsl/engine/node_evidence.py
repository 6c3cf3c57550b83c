"""What circuits of nodes are measured by: functions of verbs/evidence.py, and the rows they make.

m(C) is a metric's mean over examples with the circuit's nodes as they are and all others that were
searched changed, m(∅) with every one of them changed, m(full) with none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp_dsl.circuits.node_sets import halves, of_size, worst_sets
from interp_dsl.circuits.setting import Floats
from interp_dsl.engine.evidence import Columns
from interp_dsl.engine.node_bench import NodeBench
from interp_dsl.engine.report import Report
from interp_dsl.engine.scores import Scored, check_finite
from interp_dsl.engine.state import State
from interp_dsl.engine.statistics import bounds, gap, ratio_bounds
from interp_dsl.models.graph import Bools
from interp_dsl.plan.algebra import Finding
from interp_dsl.plan.metrics import in_logits
from interp_dsl.plan.tasks import EvaluateNodes
from interp_dsl.runs.schema import score_table


@dataclass(frozen=True)
class Case:
    """A circuit `kept` [U] and one finding, whose metric is the bench's number `metric`; values [n]
    of the circuit, the empty one and the whole model."""

    bench: NodeBench
    kept: Bools
    finding: Finding
    metric: int
    circuit: Tensor
    empty: Tensor
    full: Tensor
    seed: int

    @property
    def given(self) -> Mapping[str, Any]:
        return dict(self.finding.arguments)

    @property
    def gap(self) -> float | None:
        """m(full) - m(∅), None where that is too little to divide by."""
        return gap(self.empty, self.full, in_logits(self.finding.metric.term))

    def shared(self, value: float) -> float | None:
        """A difference of the metric as a share of m(full) - m(∅), without its sign."""
        return None if self.gap is None else value / abs(self.gap)

    def means(self, kept: Bools) -> Floats:
        return self.bench.means(kept, self.metric)


def _metric(case: Case) -> list[Columns]:
    """m(C) from m(∅); normalized, how much of the way to m(full)."""
    low, high = bounds(case.circuit[:, None], case.seed)
    value, base, whole = float(case.circuit.mean()), float(case.empty.mean()), case.gap
    normalized = None if whole is None else (value - base) / whole
    return [
        {
            "base": base,
            "value": value,
            "normalized": normalized,
            "low": float(low),
            "high": float(high),
        }
    ]


def _faithfulness(case: Case) -> list[Columns]:
    """(m(C) - m(∅)) / (m(full) - m(∅)), a ratio of means."""
    return _share(case, case.kept)


def _complement(case: Case) -> list[Columns]:
    """The same of all nodes but the circuit's."""
    return _share(case, ~case.kept)


def _share(case: Case, kept: Bools) -> list[Columns]:
    whole = case.gap
    if whole is None:
        return [{"value": None}]
    values = case.bench.values(kept[None])[case.metric, 0]
    value = float((values - case.empty).mean()) / whole
    low, high = ratio_bounds(values - case.empty, case.full - case.empty, case.seed)
    return [{"value": value, "normalized": value, "low": low, "high": high}]


def _completeness(case: Case) -> list[Columns]:
    """The largest |m(C ∖ K) - m(full ∖ K)| found; `base` is that of no K."""

    def apart(sets: Bools) -> Floats:
        found: Floats = np.abs(case.means(case.kept & ~sets) - case.means(~sets))
        return found

    given = case.given
    drawn = halves(case.kept, given["sets"], given["seed"])
    base, value = worst_sets(apart, case.kept, given["most"], drawn)
    return [{"base": base, "value": value, "normalized": case.shared(value)}]


def _minimality(case: Case) -> list[Columns]:
    """The least of what nodes change, and behind it what each does."""
    nodes = np.flatnonzero(case.kept)
    drawn = halves(case.kept, case.given["sets"], case.given["seed"])
    change = np.zeros(len(nodes))
    for out in (np.zeros_like(case.kept), *drawn):
        left = np.tile(case.kept & ~out, (len(nodes), 1))
        left[np.arange(len(nodes)), nodes] = True
        less = left.copy()
        less[np.arange(len(nodes)), nodes] = False
        change = np.maximum(change, np.abs(case.means(less) - case.means(left)))
    least = float(change.min()) if len(change) else None
    names = [(u.place, u.position) for u in (case.bench.units[i] for i in nodes)]
    found = [(("circuit", "all"), least), *zip(names, change.tolist(), strict=True)]
    return [
        {
            "unit": unit,
            "position": position,
            "value": value,
            "normalized": None if value is None else case.shared(value),
        }
        for (unit, position), value in found
    ]


def _random_circuits(case: Case) -> list[Columns]:
    """The share of random circuits of as many nodes, the circuit itself counted among them, that
    are as faithful; `base` is their mean faithfulness."""
    if case.gap is None:
        return [{"value": None}]
    n, seed = case.given["n"], case.given["seed"]
    drawn = of_size(int(case.kept.sum()), len(case.kept), n, seed)
    empty = float(case.empty.mean())
    shares = (case.means(drawn) - empty) / case.gap
    own = (float(case.circuit.mean()) - empty) / case.gap
    as_faithful = int((shares >= own).sum())
    return [{"base": float(shares.mean()), "value": (1 + as_faithful) / (1 + n)}]


FUNCTIONS: dict[str | None, Callable[[Case], list[Columns]]] = {
    None: _metric,
    "faithfulness": _faithfulness,
    "complement": _complement,
    "completeness": _completeness,
    "minimality": _minimality,
    "random_circuits": _random_circuits,
}


def evaluate_nodes(task: EvaluateNodes, state: State, report: Report) -> Scored:
    """A row a finding, with further ones where it has them. Errors of dictionaries are as found, or
    all in, or all out, as a finding says."""
    bench = NodeBench(task, state, report)
    chosen = {*state.units(task.kept, task.variant.into)}
    kept = np.array([unit in chosen for unit in bench.units])
    is_error = np.array([any(t.site.kind == "error" for t in u.targets) for u in bench.units])
    rows: list[dict[str, Any]] = []
    values: list[Tensor] = []
    empty = bench.values(~bench.all[None])[:, 0]
    for finding in task.findings:
        m = task.metrics.index(finding.metric)
        errors = dict(finding.arguments).get("errors")
        own = kept & ~is_error if errors == "out" else kept | (is_error & (errors == "in"))
        circuit = bench.values(own[None])[m, 0]
        check_finite(circuit[None, None], (finding.metric,), ["circuit"], task.step, task.place)
        case = Case(bench, own, finding, m, circuit, empty[m], bench.full[m], state.seed)
        about = {"unit": "circuit", "position": "all", "metric": finding.name}
        for columns in FUNCTIONS[finding.function](case):
            rows.append({**about, "n": len(circuit), **columns})
            is_metric = finding.function is None
            values.append(circuit if is_metric else torch.full_like(circuit, torch.nan))
    return Scored(score_table(rows), {"value": torch.stack(values).float().numpy()})
