"""Tasks of searches and evaluations, and their settings with a metric written out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from interp_dsl.circuits.forward import EdgeForward
from interp_dsl.circuits.setting import Setting
from interp_dsl.engine.execute import execute
from interp_dsl.models.graph import Bools
from interp_dsl.plan.algebra import Edges, Finding, Metric
from interp_dsl.plan.tasks import CircuitOf, EvaluateCircuit, Plan, Search
from interp_dsl.runs.folder import RunFolder
from tests.circuits.models import executor_of

from .plans import CLEAN, LOADS, folder_in
from .test_circuits import DATA, KL, PAIRED, REFERENCE, by_plain
from .tiny import Given

LEARNED: dict[str, Any] = {"steps": 12, "lr": 0.3, "mask": 0.9, "seed": 3}
GREEDY: dict[str, Any] = {"n": 6, "limit": None, "share": 0.2}
TOP: dict[str, Any] = {"n": 9, "threshold": None, "absolute": False, "grown": False}


def search(method: str, metric: Metric = KL, by: CircuitOf | None = None, **options: Any) -> Search:
    name = "best" if by else "found"
    return Search(
        f"search:{name}",
        name,
        CLEAN,
        PAIRED,
        Edges(),
        method,
        tuple(sorted(options.items())),
        (metric,),
        CLEAN,
        options.get("threshold") or (),
        by=by,
    )


def evaluation(*findings: Finding, step: str = "found", **about: Any) -> EvaluateCircuit:
    circuit = CircuitOf(step, about.pop("thresholds", ()))
    return EvaluateCircuit(
        "evaluate:check", "check", circuit, CLEAN, about.pop("source", PAIRED), findings, CLEAN
    )


def finding(function: str, metric: Metric = KL, **arguments: Any) -> Finding:
    named = replace(metric, name=function)
    return Finding(function, named, function, tuple(sorted(arguments.items())))


def ran(tmp_path: Path, *tasks: Search | EvaluateCircuit) -> RunFolder:
    folder = folder_in(tmp_path)
    plan = Plan((*LOADS, REFERENCE, *tasks))
    execute(plan, folder, loaders=Given(executor_of("plain"), d=DATA))
    return folder


def setting(metric: Metric = KL, sign: int = 1) -> Setting:
    graph, _, tokens, ablated, measure = by_plain(metric.name)

    def values(logits: Tensor) -> Tensor:
        found = torch.stack([measure(one) for one in logits.flatten(0, -4)])
        return sign * found.view(*logits.shape[:-2])

    return Setting(EdgeForward(executor_of("plain").model, graph), tokens, ablated, values)


def kept_in(folder: RunFolder, step: str = "found") -> Bools:
    kept: Bools = folder.read_table(step)["kept"].to_numpy()
    return kept


def rows(folder: RunFolder) -> list[dict[str, Any]]:
    return folder.read_table("check").to_dicts()


def row_of(folder: RunFolder, metric: str, unit: str = "circuit") -> dict[str, Any]:
    (row,) = [r for r in rows(folder) if r["metric"] == metric and r["unit"] == unit]
    return row


def gap(place: Setting) -> float:
    return float(place.means(place.full) - place.means(place.empty))
