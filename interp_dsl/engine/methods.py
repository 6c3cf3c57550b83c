"""How each method of verbs/methods.py finds a circuit, and what it knows of the edges."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from interp_dsl.circuits import probing, pruning, ranked
from interp_dsl.circuits.acdc import acdc
from interp_dsl.circuits.clean import Clean
from interp_dsl.circuits.found import Result, finished
from interp_dsl.circuits.greedy import greedy
from interp_dsl.circuits.progress import Progress, Snapshot
from interp_dsl.circuits.rules import Rules
from interp_dsl.circuits.setting import Floats, Setting
from interp_dsl.engine.edges import EdgeBench
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.models.graph import Bools
from interp_dsl.models.paths import on_path


@dataclass(frozen=True)
class Found:
    """A circuit: the edges `kept` [E], and by edge what the method knows of it (EDGE_COLUMNS), in
    the driving metric's own sign."""

    kept: Bools
    columns: Mapping[str, Any]
    threshold: float | None = None


class Told(Protocol):
    """Who is told how a search goes."""

    def __call__(self, at: Progress) -> None: ...

    def one_pass(self, seconds: float) -> None:
        """Hear how long a pass of all examples takes."""


@dataclass(frozen=True)
class Problem:
    """What a method gets: the bench, which way the first metric is worse (1: up), who is told of
    its progress, the ranking [E] that it starts from, where it does, which edges [E] are searched,
    None for all, and the snapshot that it goes on from, where there is one."""

    bench: EdgeBench
    worse: int
    progress: Told
    ranking: Floats | None = None
    among: Bools | None = None
    snapshot: Snapshot | None = None

    def clean(self) -> Clean:
        """The clean run of all examples, the first metric signed so that it is to be small."""
        setting = self.setting()
        self.bench.forget()
        tokens, ablated, metric = setting.tokens, setting.ablated, setting.metric
        started = time.monotonic()
        try:
            about = (setting.reads, setting.mask, setting.places)
            clean = Clean(setting.forward, tokens, ablated, metric, *about)
        except ValueError as error:
            raise _uncovered(self.bench.executor.facts.name, str(error)) from None
        self.progress.one_pass(time.monotonic() - started)
        return clean

    def setting(self) -> Setting:
        """All examples, likewise."""
        return self.bench.setting(0, self.worse)

    def told(self, search: Generator[Progress, None, Result]) -> Result:
        """What a search returns, its progress told."""
        return finished(search, self.progress)


Method = Callable[[Problem, Mapping[str, Any], Sequence[float]], list[Found]]
"""Of a problem, options and thresholds, a circuit for each threshold, or one."""


def _acdc(problem: Problem, options: Mapping[str, Any], thresholds: Sequence[float]) -> list[Found]:
    rules = Rules(
        order=options["order"],
        direct=options["direct"],
        drop_dead=options["dead"],
        absolute=options["absolute"],
        start=options["start"],
    )
    return [
        Found(
            c.kept,
            {
                "order": c.order,
                "effect": problem.worse * c.effect,
                "score": problem.worse * c.score,
                "margin": c.margin,
                "evaluated": c.evaluated,
            },
            c.threshold,
        )
        for c in problem.told(
            acdc(problem.clean(), thresholds, rules, problem.among, problem.snapshot)
        )
    ]


def _top_edges(
    problem: Problem, options: Mapping[str, Any], thresholds: Sequence[float]
) -> list[Found]:
    graph, scores = problem.bench.graph, problem.ranking
    assert scores is not None
    absolute, grown, among = options["absolute"], options["grown"], problem.among
    by_rank = ranked.joining(graph, ranked.strengths(graph, scores, absolute), grown, among)
    order = np.full(graph.n_edges, -1)
    order[by_rank] = np.arange(len(by_rank))
    columns = {"order": order, "score": scores, "evaluated": False}
    if not thresholds:
        kept = ranked.top_edges(graph, scores, options["n"], None, absolute, grown, among)
        return [Found(kept, columns)]
    return [
        Found(ranked.top_edges(graph, scores, None, t, absolute, grown, among), columns, t)
        for t in thresholds
    ]


def _greedy(
    problem: Problem, options: Mapping[str, Any], thresholds: Sequence[float]
) -> list[Found]:
    setting, n = problem.setting(), options["n"]
    limit = math.inf if options["limit"] is None else problem.worse * options["limit"]
    search = greedy(setting, n, limit, options["share"], problem.among, problem.snapshot)
    found = problem.told(search)
    tested = on_path(setting.graph, setting.full)
    tested &= setting.full if problem.among is None else problem.among
    tested &= bool(tested.sum() > n)
    effect = np.where(tested, problem.worse * found.effect, np.nan)
    columns = {"order": found.scores - 1, "effect": effect, "score": found.scores}
    return [Found(found.kept, {**columns, "evaluated": tested})]


def _subnetwork_probing(
    problem: Problem, options: Mapping[str, Any], thresholds: Sequence[float]
) -> list[Found]:
    with torch.enable_grad():
        search = probing.probe(problem.setting(), **options, snapshot=problem.snapshot)
        found = problem.told(search)
    return [Found(found.kept, {"score": found.scores, "evaluated": False})]


def _edge_pruning(
    problem: Problem, options: Mapping[str, Any], thresholds: Sequence[float]
) -> list[Found]:
    with torch.enable_grad():
        search = pruning.prune_edges(
            problem.setting(), **options, among=problem.among, snapshot=problem.snapshot
        )
        found = problem.told(search)
    return [Found(found.kept, {"score": np.exp(found.scores), "evaluated": False})]


METHODS: dict[str, Method] = {
    "acdc": _acdc,
    "top_edges": _top_edges,
    "greedy": _greedy,
    "subnetwork_probing": _subnetwork_probing,
    "edge_pruning": _edge_pruning,
}


def _uncovered(name: str, why: str) -> InterpError:
    message = f"the edges of {name} cannot be searched"
    return InterpError(Diagnostic("E650", message, notes=(why,)), exit_code=1)
