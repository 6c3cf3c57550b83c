"""Searches for circuits: each method of verbs/methods.py, and the edge table it leaves."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch

from interp_dsl.circuits.acdc import acdc
from interp_dsl.circuits.clean import Clean
from interp_dsl.circuits.rules import Rules
from interp_dsl.engine.batches import is_out_of_memory
from interp_dsl.engine.edges import EdgeBench
from interp_dsl.engine.findings import measured
from interp_dsl.engine.report import Report
from interp_dsl.engine.state import State
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.models.graph import Bools, Graph
from interp_dsl.models.precision import float32_products
from interp_dsl.plan.metrics import good
from interp_dsl.plan.tasks import Search
from interp_dsl.runs.circuit_table import EDGE_COLUMNS
from interp_dsl.runs.schema import polars_types

EVERY = 0.2
"""Seconds between two events of a search's progress."""


@dataclass(frozen=True)
class Found:
    """A circuit: the edges `kept` [E], and by edge what the method knows of it (EDGE_COLUMNS), in
    the units of a metric that is to be small."""

    kept: Bools
    columns: Mapping[str, Any]
    threshold: float | None = None


@dataclass(frozen=True)
class Problem:
    """What a method gets: the bench, and which way the first metric is worse (1: up)."""

    bench: EdgeBench
    worse: int
    progress: Callable[[float | None, int, int, int, float], None]
    """Of a threshold's search: edges done, edges in all, edges kept, the score, to be small."""

    def clean(self) -> Clean:
        """The clean run of all examples, the first metric signed so that it is to be small."""
        bench, examples = self.bench, torch.arange(self.bench.n, device=self.bench.tokens.device)

        def metric(logits: torch.Tensor) -> torch.Tensor:
            return self.worse * bench.values(logits, examples)[0]

        ablated = bench.ablated(examples)
        try:
            return Clean(bench.forward, bench.tokens, ablated, metric, bench.reads, bench.mask)
        except ValueError as error:
            raise _uncovered(bench.executor.facts.name, str(error)) from None


Method = Callable[[Problem, Mapping[str, Any], Sequence[float]], list[Found]]


def _acdc(problem: Problem, options: Mapping[str, Any], thresholds: Sequence[float]) -> list[Found]:
    rules = Rules(
        order=options["order"],
        direct=options["direct"],
        drop_dead=options["dead"],
        absolute=options["absolute"],
        start=options["start"],
    )
    search = acdc(problem.clean(), thresholds, rules)
    while True:
        try:
            at = next(search)
        except StopIteration as end:
            return [
                Found(
                    c.kept,
                    {
                        "order": c.order,
                        "effect": c.effect,
                        "score": c.score,
                        "margin": c.margin,
                        "evaluated": c.evaluated,
                    },
                    c.threshold,
                )
                for c in end.value
            ]
        problem.progress(at.threshold, at.done, at.total, at.kept, at.score)


METHODS: dict[str, Method] = {"acdc": _acdc}


@dataclass(frozen=True)
class Searched:
    """The edge table, with a column `threshold` where there are several circuits; the edges that
    each keeps; and each one's metrics."""

    table: pl.DataFrame
    graph: Graph
    circuits: tuple[Found, ...]
    values: tuple[dict[str, float], ...]


def run_search(task: Search, state: State, report: Report) -> Searched:
    """Search, then measure what was found. Raises InterpError E640 where the examples do not fit
    into memory at once, E650 and E651."""
    options = dict(task.options)
    direct = bool(options.get("direct", False))
    bench = EdgeBench(task.into, task.source, task.edges, direct, task.metrics, state, report.note)
    worse = -good(task.metrics[0].term)
    problem = Problem(bench, worse, _Progress(task, report, bench.graph.n_edges, worse))
    with float32_products(bench.executor.tf32):
        try:
            with torch.no_grad():
                found = METHODS[task.method](problem, options, task.thresholds)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise _too_many(bench.n) from error
        values = measured(bench, [f.kept for f in found]).circuits.mean(-1).tolist()
    names = [m.name for m in task.metrics]
    table = pl.concat([_table(bench.graph, f, worse, len(found) > 1) for f in found])
    return Searched(
        table, bench.graph, tuple(found), tuple(dict(zip(names, v, strict=True)) for v in values)
    )


class _Progress:
    """Tells now and then how a search goes."""

    def __init__(self, task: Search, report: Report, n_edges: int, worse: int) -> None:
        self._task, self._report, self._worse = task, report, worse
        self._total = n_edges * max(1, len(task.thresholds))
        self._before, self._last = 0, 0.0
        self._threshold: float | None = None

    def __call__(
        self, threshold: float | None, done: int, total: int, kept: int, score: float
    ) -> None:
        if self._threshold is not None and threshold != self._threshold:
            self._before += total
        self._threshold = threshold
        now = time.monotonic()
        if now - self._last < EVERY and done < total:
            return
        self._last = now
        self._report.progress(self._before + done, self._total)
        self._report.edges(self._task.step, threshold, done, total, kept, self._worse * score)


def _table(graph: Graph, found: Found, worse: int, has_threshold: bool) -> pl.DataFrame:
    """The edge table of a circuit, effects and scores in the metric's own sign."""
    ends = zip(*graph.edges, strict=True)
    columns = dict(zip(("source", "target", "channel"), ends, strict=True))
    held: dict[str, Any] = {**columns, "kept": found.kept, **found.columns}
    for name in ("effect", "score"):
        if held.get(name) is not None:
            held[name] = worse * np.asarray(held[name])
    blank = [None] * graph.n_edges
    schema = polars_types(EDGE_COLUMNS)
    table = pl.DataFrame(
        {name: held.get(name, blank) for name in EDGE_COLUMNS}, schema=schema, strict=False
    )
    return table.with_columns(threshold=found.threshold) if has_threshold else table


def _uncovered(name: str, why: str) -> InterpError:
    message = f"the edges of {name} cannot be searched"
    return InterpError(Diagnostic("E650", message, notes=(why,)), exit_code=1)


def _too_many(n: int) -> InterpError:
    return InterpError(
        Diagnostic(
            "E640",
            f"the search holds what every node writes for all {n} examples, which is more than "
            "the memory there is",
            help="search fewer examples: into (DATA where index < 32).clean",
        ),
        exit_code=3,
    )
