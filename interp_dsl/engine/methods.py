"""How each method of verbs/methods.py finds a circuit, and what it knows of the edges."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from interp_dsl.circuits import probing, pruning, ranked
from interp_dsl.circuits.acdc import Progress, acdc
from interp_dsl.circuits.clean import Clean
from interp_dsl.circuits.found import Result
from interp_dsl.circuits.greedy import greedy
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


@dataclass(frozen=True)
class Problem:
    """What a method gets: the bench, which way the first metric is worse (1: up), the ranking [E]
    that it starts from, where it does, and which edges [E] are searched, None for all."""

    bench: EdgeBench
    worse: int
    progress: Callable[[float | None, int, int, int, float], None]
    """Of a threshold's search: what is done, all of it, edges kept, the score, to be small."""
    ranking: Floats | None = None
    among: Bools | None = None

    def clean(self) -> Clean:
        """The clean run of all examples, the first metric signed so that it is to be small."""
        setting = self.setting()
        tokens, ablated, metric = setting.tokens, setting.ablated, setting.metric
        try:
            return Clean(setting.forward, tokens, ablated, metric, setting.reads, setting.mask)
        except ValueError as error:
            raise _uncovered(self.bench.executor.facts.name, str(error)) from None

    def setting(self) -> Setting:
        """All examples, likewise."""
        return self.bench.setting(0, self.worse)

    def told(self, search: Generator[Progress, None, Result]) -> Result:
        """What a search returns, its progress told."""
        while True:
            try:
                at = next(search)
            except StopIteration as end:
                result: Result = end.value
                return result
            threshold = None if math.isnan(at.threshold) else at.threshold
            self.progress(threshold, at.done, at.total, at.kept, at.score)


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
        for c in problem.told(acdc(problem.clean(), thresholds, rules, problem.among))
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
    found = problem.told(greedy(setting, n, limit, options["share"], problem.among))
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
        found = problem.told(probing.probe(problem.setting(), **options))
    return [Found(found.kept, {"score": found.scores, "evaluated": False})]


def _edge_pruning(
    problem: Problem, options: Mapping[str, Any], thresholds: Sequence[float]
) -> list[Found]:
    with torch.enable_grad():
        found = problem.told(pruning.prune_edges(problem.setting(), **options, among=problem.among))
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
