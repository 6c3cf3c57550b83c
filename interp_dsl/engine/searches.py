"""Searches for circuits: each method of verbs/methods.py, and the edge table it leaves."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl
import torch

from interp_dsl.circuits.progress import Progress
from interp_dsl.circuits.setting import Floats
from interp_dsl.engine.batches import too_many
from interp_dsl.engine.edge_places import places_of
from interp_dsl.engine.edges import EdgeBench
from interp_dsl.engine.measured import circuits_measured
from interp_dsl.engine.methods import METHODS, Found, Problem
from interp_dsl.engine.report import Report
from interp_dsl.engine.state import State
from interp_dsl.engine.taken_up import Saved
from interp_dsl.engine.time_left import TimeLeft
from interp_dsl.models.graph import Bools, Edge, Graph
from interp_dsl.models.precision import float32_products
from interp_dsl.models.room import is_out_of_memory
from interp_dsl.models.routes import Routes
from interp_dsl.plan.metrics import good
from interp_dsl.plan.places import Positions
from interp_dsl.plan.tasks import AttributeEdges, Search
from interp_dsl.runs.circuit_table import edge_columns
from interp_dsl.runs.schema import polars_types

Ranking = Callable[[Graph, Bools | None], Floats]
EVERY = 0.2
"""Seconds between two events of a search's progress."""


@dataclass(frozen=True)
class Searched:
    """The edge table, with a column `threshold` where there are several circuits; the edges that
    each keeps; each one's metrics; and how many edges were searched, None where all were."""

    table: pl.DataFrame
    graph: Graph
    circuits: tuple[Found, ...]
    values: tuple[dict[str, float], ...]
    n_among: int | None = None


def run_search(
    task: Search, state: State, report: Report, ranking: Ranking | None, saved: Saved
) -> Searched:
    """Search, from a ranking [E] of the graph's edges, or of those among them, where there is one,
    going on from what is saved; then measure what was found. Raises InterpError E640 where the
    examples do not fit into memory at once, E650 and E651; Stopped when the run is to stop."""
    options = dict(task.options)
    direct = bool(options.get("direct", False))
    about = (task.into, task.source, task.edges, direct, task.metrics, state, report.note)
    places = places_in(task, state)
    bench = EdgeBench(*about, places=places, reads_answers=task.reads_answers)
    worse = -good(task.metrics[0].term)
    among = among_of(task, bench, state)
    scores = None if ranking is None else ranking(bench.graph, among)
    told = _Told(task, report, worse, saved)
    problem = Problem(bench, worse, told, scores, among, saved.last())
    with float32_products(bench.executor.tf32):
        try:
            with torch.no_grad():
                found = METHODS[task.method](problem, options, task.thresholds)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise too_many(bench.n) from error
        values = circuits_measured(bench, [f.kept for f in found]).mean(-1).tolist()
    names = [m.name for m in task.metrics]
    table = pl.concat([_table(bench.graph, f, among, len(found) > 1) for f in found])
    scored = tuple(dict(zip(names, v, strict=True)) for v in values)
    n_among = None if among is None else int(among.sum())
    return Searched(table, bench.graph, tuple(found), scored, n_among)


class _Told:
    """Tells now and then how a search goes, and saves what it can be taken up from."""

    def __init__(self, task: Search, report: Report, worse: int, saved: Saved) -> None:
        self._task, self._report, self._worse, self._saved = task, report, worse, saved
        self._before, self._last = 0, 0.0
        self._threshold: float | None = None
        self._time_left = TimeLeft()

    def __call__(self, at: Progress) -> None:
        threshold = None if math.isnan(at.threshold) else at.threshold
        if self._threshold is not None and threshold != self._threshold:
            self._before += at.total
        self._threshold = threshold
        now = time.monotonic()
        if now - self._last >= EVERY or at.done == at.total:
            self._last = now
            self._tell(at, threshold, now)
        self._saved.offer(at)

    def one_pass(self, seconds: float) -> None:
        self._time_left.one_pass = seconds

    def _tell(self, at: Progress, threshold: float | None, now: float) -> None:
        n_thresholds = max(1, len(self._task.thresholds))
        self._report.edges(
            self._task.step,
            threshold=threshold,
            done=at.done,
            total=at.total,
            kept=at.kept,
            score=self._worse * at.score,
            left=None if at.work is None else self._time_left(now, at.work()),
        )
        self._report.progress(self._before + at.done, at.total * n_thresholds)


def among_of(task: Search | AttributeEdges, bench: EdgeBench, state: State) -> Bools | None:
    """The edges of a graph [E] that a task goes over, None for all. Raises InterpError E201."""
    if task.among is None:
        return None
    units = state.units(task.among, bench.run)
    found = Routes(bench.graph, bench.executor.facts.name).marked(units)
    return None if found.all() else found


def places_in(task: Search | AttributeEdges, state: State) -> tuple[Positions, ...]:
    """The places in which a task tells edges apart, none where it does not."""
    if task.among is None:
        return ()
    run = task.into if isinstance(task, Search) else task.variant.into
    width = state.side(run).tokens.shape[1]
    return places_of(state.units(task.among, run), run, width, state)


def _table(graph: Graph, found: Found, among: Bools | None, has_threshold: bool) -> pl.DataFrame:
    """The edge table of a circuit; of edges that were not searched it says only that they stay."""
    columns = dict(zip(Edge._fields, zip(*graph.edges, strict=True), strict=True))
    held: dict[str, Any] = {**columns, "kept": found.kept, **found.columns}
    blank = [None] * graph.n_edges
    kinds = edge_columns(by_position=bool(graph.places))
    table = pl.DataFrame(
        {name: held.get(name, blank) for name in kinds}, schema=polars_types(kinds), strict=False
    ).with_columns(pl.col(pl.Float64).fill_nan(None))
    if among is not None:
        told = pl.col("order", "effect", "score", "margin")
        table = table.with_columns(pl.when(pl.Series(among)).then(told))
    return table.with_columns(threshold=found.threshold) if has_threshold else table
