"""Estimates of effects: their rows, and real patches beside the largest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from interp_dsl.engine.edge_estimates import edge_estimates, edge_patches
from interp_dsl.engine.estimates import unit_estimates
from interp_dsl.engine.report import Report
from interp_dsl.engine.scores import Scored, check_finite, column_kinds
from interp_dsl.engine.state import State
from interp_dsl.engine.statistics import bounds, gap
from interp_dsl.engine.sweep import Sweeper, plain_values, shards, table_order
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.plan.algebra import Explicit
from interp_dsl.plan.circuits import FEWEST_PATCHES
from interp_dsl.plan.metrics import in_logits
from interp_dsl.plan.places import Unit
from interp_dsl.plan.tasks import AttributeEdges, Attribution, Sweep
from interp_dsl.runs.schema import ESTIMATE_COLUMNS, score_table, unit_columns


@dataclass(frozen=True)
class Found:
    """Estimates of units, float64 in the processor's memory: of all examples together [metrics,
    units], and of each [metrics, units, n] where a method has those. `are_sizes`: without sign."""

    units: Sequence[Unit]
    effects: Tensor
    by_example: Tensor | None
    are_sizes: bool


def attribute(task: Attribution, state: State, report: Report) -> tuple[Scored, dict[str, Any]]:
    """The scores of a step of estimates, and what is noted of it: its method, and how well the
    estimates agree with real patches."""
    parts = [_attributed(replace(task, variant=v, more=()), state, report) for v in task.variants]
    if len(parts) == 1:
        return parts[0]
    tables, tensors = zip(*((scored.table, scored.tensors) for scored, _ in parts), strict=True)
    joined = {name: np.concatenate([held[name] for held in tensors]) for name in tensors[0]}
    return Scored(pl.concat(tables), joined), {"estimated": task.method}


def _attributed(task: Attribution, state: State, report: Report) -> tuple[Scored, dict[str, Any]]:
    found = _estimated(task, state, report)
    names = [str(unit) for unit in found.units]
    where = f"step {task.step}"
    check_finite(found.effects[..., None], task.metrics, names, where, task.place)
    best = found.effects[0].abs().argsort(descending=True, stable=True)[: task.verify].tolist()
    verified = _patched(task, [found.units[i] for i in best], state, report)
    about: dict[str, Any] = {"estimated": task.method}
    if len(best) >= FEWEST_PATCHES:
        about["verified"] = _agreement(task, found.effects[:, best], verified, found.are_sizes)
        for metric, told in about["verified"].items():
            report.note(
                f"{task.step}: the {len(best)} largest estimates of {metric} and real patches: "
                f"Pearson {_told(told['pearson'])}, Spearman {_told(told['spearman'])}"
            )
    return _scored(task, found, dict(zip(best, verified.T.tolist(), strict=True)), state), about


def _estimated(task: Attribution, state: State, report: Report) -> Found:
    if isinstance(task, AttributeEdges):
        units, values = edge_estimates(task, state, report)
        return Found(units, values.mean(2), values, False)
    units, values = unit_estimates(task, state, report)
    if task.method != "hisp":
        are_sizes = bool(dict(task.options).get("grad_drop", False))
        return Found(units, values.mean(2), values, are_sizes)
    return Found(units, _importance(units, values), None, True)


def _importance(units: Sequence[Unit], values: Tensor) -> Tensor:
    """HISP [metrics, units], each normalised among those of its layer."""
    from interp_dsl.circuits.attribution.hisp import hisp

    groups = torch.tensor([_layer(unit) for unit in units])
    return torch.stack([hisp(effects, groups) for effects in values])


def _layer(unit: Unit) -> int:
    """The layer that a node is normalised in; -1 for the embeddings."""
    layers = {-1 if t.site.layer is None else t.site.layer for t in unit.targets}
    if len(layers) > 1:
        raise InterpError(
            Diagnostic(
                "E654",
                f"{unit} stands in several layers, and hisp compares the nodes of one",
                help="attribute nodes, heads or mlps by themselves",
            ),
            exit_code=1,
        )
    return layers.pop()


# ---- real patches


def _patched(task: Attribution, units: Sequence[Unit], state: State, report: Report) -> Tensor:
    """The effects of real patches [metrics, units]."""
    if not units:
        return torch.zeros(len(task.metrics), 0, dtype=torch.float64)
    if isinstance(task, AttributeEdges):
        return edge_patches(task, units, state, report)
    change = replace(task.intervention, units=Explicit(tuple(units)))
    about = (task.metrics, task.reference)
    sweep = Sweep(task.id, task.step, (task.variant,), change, *about, late=True, reads_few=True)
    found = shards(sweep, state)
    sweeper = Sweeper(sweep, state, report.note)
    sweeper.prepare(found)
    table = pl.concat([sweeper.run(shard).table for shard in found])
    effects = table[table_order(found, len(task.metrics))]["effect"].to_torch()
    return effects.view(len(units), len(task.metrics)).T


def _agreement(
    task: Attribution, effects: Tensor, verified: Tensor, are_sizes: bool
) -> dict[str, dict[str, float | None]]:
    """By metric the correlations of estimates with patches; of their sizes, where an estimate has
    no sign."""
    found = {}
    for m, metric in enumerate(task.metrics):
        real = verified[m].abs() if are_sizes else verified[m]
        pair = pl.DataFrame({"a": effects[m].numpy(), "b": real.numpy()})
        found[metric.name] = {
            how: _number(pair.select(pl.corr("a", "b", method=how)).item())
            for how in ("pearson", "spearman")
        }
    return found


def _number(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else float(value)


def _told(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


# ---- rows


def _scored(
    task: Attribution, found: Found, verified: dict[int, list[float]], state: State
) -> Scored:
    """A row a unit and metric, unit after unit. No run had a `value`."""
    base = plain_values(task.variant.into, task.metrics, state).cpu().double()
    other = task.variant.other
    others = None if other is None else plain_values(other, task.metrics, state).cpu()
    gaps = [
        gap(base[m], None if others is None else others[m], in_logits(metric.term))
        for m, metric in enumerate(task.metrics)
    ]
    low, high = _bounds(found, state.seed)
    if found.are_sizes:  # which way the metric goes is not known
        gaps = [None] * len(gaps)
    effects = found.effects.tolist()
    rows = [
        unit_columns(unit)
        | {
            "metric": metric.name,
            "base": float(base[m].mean()),
            "effect": effects[m][u],
            "normalized": None if (whole := gaps[m]) is None else effects[m][u] / whole,
            "low": low[m][u],
            "high": high[m][u],
            "n": base.shape[1],
            "skipped": False,
            "verified": verified[u][m] if u in verified else None,
        }
        | dict(task.variant.columns)
        for u, unit in enumerate(found.units)
        for m, metric in enumerate(task.metrics)
    ]
    held = {"base": base[None].expand(len(found.units), -1, -1)}
    if found.by_example is not None:
        held["effect"] = found.by_example.transpose(0, 1)
    tensors = {name: x.flatten(0, 1).float().numpy() for name, x in held.items()}
    kinds = ESTIMATE_COLUMNS | column_kinds([task.variant])
    return Scored(score_table(rows, kinds), tensors)


def _bounds(found: Found, seed: int) -> tuple[list[list[float | None]], ...]:
    """Bounds [metrics][units] over examples, None where a method has no values of single ones."""
    if found.by_example is None:
        none: list[list[float | None]] = [[None] * len(found.units) for _ in found.effects]
        return none, none
    shape = found.effects.shape
    cells = found.by_example.flatten(0, 1).T
    return tuple(bound.view(shape).tolist() for bound in bounds(cells, seed))
