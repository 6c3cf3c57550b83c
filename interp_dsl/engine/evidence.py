"""What circuits are measured by: each function of verbs/evidence.py, and the rows it makes.

m(C) is a metric's mean over examples with the edges of the circuit alone, m(∅) with none, m(full)
with all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp_dsl.circuits import criteria, curves, nulls
from interp_dsl.circuits.evidence import size_curve
from interp_dsl.circuits.setting import Floats, Setting
from interp_dsl.engine.by_edge import edges_of, kept_of, strengths_of
from interp_dsl.engine.edges import EdgeBench
from interp_dsl.engine.statistics import bounds, gap, ratio_bounds
from interp_dsl.models.graph import Bools
from interp_dsl.plan.algebra import Finding
from interp_dsl.plan.metrics import in_logits
from interp_dsl.plan.names import edge_name
from interp_dsl.runs.circuit import Circuit


@dataclass(frozen=True)
class Case:
    """One of a step's circuits and one metric, the number `metric` of the bench: values [n] of the
    circuit, the empty one and the whole model; and all that a function needs to measure more.
    `others` are all circuits of the step, this one among them."""

    bench: EdgeBench
    found: Circuit
    others: Sequence[Circuit]
    finding: Finding
    metric: int
    circuit: Tensor
    empty: Tensor
    full: Tensor
    seed: int

    @property
    def gap(self) -> float | None:
        """m(full) - m(∅), None where that is too little to divide by."""
        return gap(self.empty, self.full, in_logits(self.finding.metric.term))

    @property
    def given(self) -> Mapping[str, Any]:
        """The finding's arguments."""
        return dict(self.finding.arguments)

    @cached_property
    def kept(self) -> Bools:
        return kept_of(self.found, self.bench.graph)

    @cached_property
    def setting(self) -> Setting:
        return self.bench.setting(self.metric)

    def shared(self, value: float) -> float | None:
        """A difference of the metric as a share of m(full) - m(∅), without its sign."""
        return None if self.gap is None else value / abs(self.gap)


Columns = Mapping[str, float | str | None]
Function = Callable[[Case], list[Columns]]
"""Of a case, the columns of its row: `value`, with `low`, `high`, `base`, `normalized` where it has
them; behind it further rows, which say their `unit`. ValueError where there is nothing to tell."""


def _metric(case: Case) -> list[Columns]:
    """The metric itself: m(C) from m(∅); normalized, how much of the way to m(full)."""
    low, high = bounds(case.circuit[:, None], case.seed)
    value, base, whole = float(case.circuit.mean()), float(case.empty.mean()), case.gap
    return [
        {
            "base": base,
            "value": value,
            "normalized": None if whole is None else (value - base) / whole,
            "low": float(low),
            "high": float(high),
        }
    ]


def _faithfulness(case: Case) -> list[Columns]:
    """(m(C) - m(∅)) / (m(full) - m(∅)), a ratio of means."""
    return _share(case, case.circuit)


def _complement(case: Case) -> list[Columns]:
    """The same of all edges but the circuit's."""
    return _share(case, torch.from_numpy(case.setting.values(~case.kept)))


def _share(case: Case, values: Tensor) -> list[Columns]:
    whole = case.gap
    if whole is None:
        return [{"value": None}]
    value = float((values - case.empty).mean()) / whole
    low, high = ratio_bounds(values - case.empty, case.full - case.empty, case.seed)
    return [{"value": value, "normalized": value, "low": low, "high": high}]


def _completeness(case: Case) -> list[Columns]:
    """The largest |m(C ∖ K) - m(full ∖ K)| found; `base` is that of no K."""
    setting, kept, given = case.setting, case.kept, case.given
    base = float(criteria.incompleteness(setting, kept, setting.empty[None])[0])
    _, value = criteria.worst_set(setting, kept, given["most"])
    drawn = criteria.random_sets(setting.graph, kept, given["sets"], given["seed"])
    value = max([value, *criteria.incompleteness(setting, kept, drawn).tolist()])
    return [{"base": base, "value": value, "normalized": case.shared(value)}]


def _minimality(case: Case) -> list[Columns]:
    """The least of what edges change, and behind it what each does."""
    setting, kept, given = case.setting, case.kept, case.given
    drawn = criteria.random_sets(setting.graph, kept, given["sets"], given["seed"])
    sets = np.concatenate([setting.empty[None], drawn])
    change = criteria.minimality(setting, kept, criteria.each_edge(kept), sets).change.tolist()
    edges = [setting.graph.edges[edge] for edge in np.flatnonzero(kept)]
    named = [{"unit": edge_name(*edge[:3]), "position": edge.position} for edge in edges]
    rows = [({"unit": "circuit"}, min(change, default=None)), *zip(named, change, strict=True)]
    return [
        {**edge, "value": value, "normalized": None if value is None else case.shared(value)}
        for edge, value in rows
    ]


def _cpr(case: Case) -> list[Columns]:
    return _curve(case, curves.cpr)


def _cmd(case: Case) -> list[Columns]:
    return _curve(case, curves.cmd)


def _curve(case: Case, area: Callable[[Floats], float]) -> list[Columns]:
    """An area, and behind it the faithfulness of the circuit of each size."""
    if case.gap is None:
        return [{"value": None}]
    strengths = strengths_of(case.found, case.bench.graph)
    faithful = size_curve(case.setting, strengths, absolute=False).faithful
    shares = [f"{share:.1%}" if share < 0.01 else f"{share:.0%}" for share in curves.FRACTIONS]
    points = zip(shares, faithful.tolist(), strict=True)
    return [{"value": area(faithful)}, *({"unit": share, "value": f} for share, f in points)]


def _roc_auc(case: Case) -> list[Columns]:
    """Of all circuits of the step against the true one; `area` says how points are joined."""
    graph, truth = case.bench.graph, Circuit.load(Path(case.given["truth"]))
    kept = np.stack([kept_of(circuit, graph) for circuit in case.others])
    strange = [edge for edge in edges_of(truth.edges) if edge not in graph.index]
    if truth.model.sha256 != case.found.model.sha256:
        raise ValueError(f"the true circuit is of another model, {truth.model.name}")
    if strange:
        raise ValueError(f"the true circuit has {strange[0]}, and this graph has not")
    points = curves.roc_points(kept, kept_of(truth, graph))
    return [{"value": AREAS[case.given["area"]](points)}]


AREAS: dict[str, Callable[[Floats], float]] = {
    "pessimistic": curves.auc_pessimistic,
    "trapezoid": curves.auc_trapezoid,
}


def _random_circuits(case: Case) -> list[Columns]:
    n, given = int(case.kept.sum()), case.given
    return _null(case, lambda: nulls.random_null(case.setting, n, given["n"], given["seed"]))


def _shuffled_pairs(case: Case) -> list[Columns]:
    setting, kept, given = case.setting, case.kept, case.given
    return _null(case, lambda: nulls.shuffled_null(setting, kept, given["n"], given["seed"]))


def _null(case: Case, draw: Callable[[], Floats]) -> list[Columns]:
    """The share of draws, the circuit itself counted among them, that are as faithful as it;
    `base` is their mean faithfulness."""
    if case.gap is None:
        return [{"value": None}]
    drawn, own = draw(), float((case.circuit - case.empty).mean()) / case.gap
    as_faithful = int((drawn >= own).sum())
    return [{"base": float(drawn.mean()), "value": (1 + as_faithful) / (1 + len(drawn))}]


FUNCTIONS: dict[str | None, Function] = {
    None: _metric,
    "faithfulness": _faithfulness,
    "complement": _complement,
    "completeness": _completeness,
    "minimality": _minimality,
    "cpr": _cpr,
    "cmd": _cmd,
    "roc_auc": _roc_auc,
    "random_circuits": _random_circuits,
    "shuffled_pairs": _shuffled_pairs,
}
SHARED = ("roc_auc",)
"""Those that all circuits of a step have one value of."""
