"""Searches for circuits of nodes: each method of verbs/methods.py that has them, and the score
table it leaves."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from interp_dsl.circuits.node_sets import (
    NodeSet,
    acdc,
    best,
    eliminated,
    fewest,
    ranked,
)
from interp_dsl.circuits.progress import Progress
from interp_dsl.circuits.setting import Floats
from interp_dsl.engine.node_bench import NodeBench
from interp_dsl.engine.report import Report
from interp_dsl.engine.scores import Scored, check_finite
from interp_dsl.engine.searches import EVERY
from interp_dsl.engine.state import State
from interp_dsl.engine.statistics import gap
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.models.graph import Bools
from interp_dsl.models.hooks import ORDER
from interp_dsl.plan.metrics import good, in_logits
from interp_dsl.plan.places import Unit
from interp_dsl.plan.tasks import SearchNodes
from interp_dsl.runs.schema import NODE_COLUMNS, score_table, unit_columns

Options = Mapping[str, Any]
Method = Callable[["_Search", Options], NodeSet]


class _Search:
    """A search under way: the bench, the ranking [U] that it starts from, and whom it tells."""

    def __init__(self, task: SearchNodes, state: State, report: Report) -> None:
        self.task, self.report, self.bench = task, report, NodeBench(task, state, report)
        self.scores = None if task.by is None else self._ranking(state)
        self._last = -math.inf

    def told(self, at: Progress) -> None:
        """Tell now and then how it goes."""
        now = time.monotonic()
        if now - self._last < EVERY and at.done < at.total:
            return
        self._last = now
        self.report.progress(at.done, at.total)
        if not math.isnan(at.score):
            score = -good(self.task.metrics[0].term) * at.score
            self.report.event(
                "nodes",
                step=self.task.step,
                done=at.done,
                total=at.total,
                kept=at.kept,
                score=score,
            )

    def _ranking(self, state: State) -> Floats:
        by = self.task.by
        assert by is not None
        held = {
            (row["unit"], row["position"]): row[by.column]
            for row in state.rows(by.step)
            if row["metric"] == by.metric
        }
        found = [held.get((u.place, u.position)) for u in self.bench.units]
        if None in found:
            raise _unranked(by.step, self.bench.units[found.index(None)])
        return np.array(found, dtype=float)

    @property
    def ranks(self) -> Floats:
        assert self.scores is not None, "the method has a ranking"
        return self.scores


def _acdc(search: _Search, options: Options) -> NodeSet:
    order = _in_turn(search.bench.units, options["order"])
    (threshold,) = options["threshold"]
    harm, absolute = search.bench.harm, options["absolute"]
    return acdc(harm, order, threshold, absolute, search.told)


def _greedy(search: _Search, options: Options) -> NodeSet:
    limit = options["limit"]
    metric = search.task.metrics[0]
    most = math.inf if limit is None else -good(metric.term) * limit
    harm, start = search.bench.harm, search.bench.all
    return eliminated(harm, options["n"], most, options["share"], start, search.told)


def _top(search: _Search, options: Options) -> NodeSet:
    wanted, absolute = options["faithfulness"], options["absolute"]
    if wanted is None:
        (threshold,) = options["threshold"] or (None,)
        return best(search.ranks, absolute, options["n"], threshold)
    bench = search.bench
    empty, full = bench.values(~bench.all[None])[0, 0], bench.full[0]
    whole = gap(empty, full, in_logits(search.task.metrics[0].term))
    if whole is None:
        raise _no_gap(search.task)

    def enough(kept: Bools) -> Bools:
        suffices: Bools = (bench.means(kept) - float(empty.mean())) / whole >= wanted
        return suffices

    return fewest(enough, ranked(search.ranks, absolute), search.told)


METHODS: dict[str, Method] = {"acdc": _acdc, "greedy": _greedy, "top_nodes": _top}


def search_nodes(task: SearchNodes, state: State, report: Report) -> tuple[Scored, dict[str, Any]]:
    """The scores of a search of nodes, a row a unit, and what is noted of it: how many stay, and
    the metrics of what was found, of the whole model and of the empty circuit."""
    search = _Search(task, state, report)
    found = METHODS[task.method](search, dict(task.options))
    bench, first = search.bench, task.metrics[0]
    three = bench.values(np.stack([found.kept, bench.all, ~bench.all]))
    names = ("circuit", "model", "empty")
    check_finite(three, task.metrics, names, f"step {task.step}", task.place)
    sign, n = -good(first.term), three.shape[2]
    rows = [
        unit_columns(unit)
        | {
            "metric": first.name,
            "base": _number(sign * found.before[u]),
            "value": _number(sign * found.after[u]),
            "effect": _effect(search, found, u, sign),
            "n": n,
            "skipped": False,
            "order": int(found.turn[u]) or None,
            "kept": bool(found.kept[u]),
        }
        for u, unit in enumerate(bench.units)
    ]
    means = three.mean(2).tolist()
    metrics = {
        metric.name: dict(zip(names, means[m], strict=True))
        for m, metric in enumerate(task.metrics)
    }
    kept, total = int(found.kept.sum()), len(bench.units)
    told = "; ".join(
        f"{name} {held['circuit']:.4g} (model {held['model']:.4g}, none {held['empty']:.4g})"
        for name, held in metrics.items()
    )
    report.note(f"{task.step}: {kept:,} of {total:,} nodes; {told}")
    tensors = {"circuit": three[:, 0].float().numpy()}
    return Scored(score_table(rows, NODE_COLUMNS), tensors), {
        "searched": task.method,
        "nodes": kept,
        "metrics": metrics,
    }


def _effect(search: _Search, found: NodeSet, unit: int, sign: int) -> float | None:
    """What taking a unit out did to the metric; of a ranking, the score it had."""
    if search.scores is not None:
        return float(search.scores[unit])
    return _number(sign * (found.after[unit] - found.before[unit]))


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _in_turn(units: tuple[Unit, ...], order: str) -> list[int]:
    """From the last place that a unit stands at to the first; of one place the last index first, or
    with `forward` the first."""

    def turn(number: int) -> tuple[int, int]:
        return max(
            (-1 if (own := t.site.written).layer is None else own.layer, ORDER.index(own.kind))
            for t in units[number].targets
        )

    numbers = range(len(units)) if order == "forward" else reversed(range(len(units)))
    return sorted(numbers, key=turn, reverse=True)


def _unranked(step: str, unit: Unit) -> InterpError:
    return InterpError(
        Diagnostic(
            "E610",
            f"step {step} has no score for {unit}",
            notes=("every node that is searched needs one",),
            help=f"search nodes that it ranks: top({step}, 20)",
        ),
        exit_code=1,
    )


def _no_gap(task: SearchNodes) -> InterpError:
    return InterpError(
        Diagnostic(
            "E659",
            f"with every node out, {task.metrics[0].name} is what the whole model has",
            notes=("faithfulness is a share of their difference, and there is none",),
            help="search more nodes, from another source, or say how many: n=20",
        ),
        exit_code=1,
    )
