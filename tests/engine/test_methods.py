"""Searches beside ACDC from their tasks: the same as the mathematics called directly, on a metric
written out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interp_dsl.circuits.found import finished
from interp_dsl.circuits.greedy import greedy
from interp_dsl.circuits.probing import probe
from interp_dsl.circuits.pruning import prune_edges
from interp_dsl.circuits.ranked import top_edges
from interp_dsl.circuits.setting import Setting
from interp_dsl.engine.circuits import ranking_of
from interp_dsl.engine.state import Result, State
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models.graph import Bools
from interp_dsl.plan.algebra import Edges, Metric, ScoreOf
from interp_dsl.plan.expressions import Row
from interp_dsl.plan.tasks import CircuitOf
from interp_dsl.runs.circuit import Circuit
from interp_dsl.runs.circuit_file import circuit_path, circuits_of
from interp_dsl.verbs.methods import SEARCHES

from .plans import GAP, folder_in
from .searching import (
    GREEDY,
    LEARNED,
    TOP,
    evaluation,
    finding,
    kept_in,
    ran,
    rows,
    search,
    setting,
)
from .test_circuits import KL


@pytest.mark.parametrize("metric", [KL, GAP], ids=lambda m: m.name)
def test_elimination(metric: Metric, tmp_path: Path) -> None:
    """Effects and the limit in the metric's own sign: a logit difference is worse when it falls."""
    sign = 1 if metric is KL else -1
    wanted = finished(greedy(setting(metric, sign), 6, share=0.2))
    folder = ran(tmp_path / "n", search("greedy", metric, **GREEDY))
    table = folder.read_table("found")
    assert (kept_in(folder) == wanted.kept).all() and 0 < wanted.kept.sum() <= 6
    assert table["effect"].to_numpy() == pytest.approx(sign * wanted.effect, abs=1e-5)
    assert (table["score"].to_numpy() == wanted.scores).all()
    assert (table["order"].to_numpy() == wanted.scores - 1).all()
    assert table["evaluated"].all()
    limit = float(setting(metric).means(wanted.kept))
    stopped = ran(
        tmp_path / "limit",
        search("greedy", metric, **{**GREEDY, "n": 0, "limit": limit + 1e-4 * sign}),
    )
    (about,) = stopped.step_facts("found")["circuits"]
    assert sign * about["metrics"][metric.name] <= sign * limit + 1e-3
    assert about["edges"] <= wanted.kept.sum()


@pytest.mark.parametrize(
    ("method", "own"),
    [
        ("subnetwork_probing", {"strength": 0.5}),
        ("edge_pruning", {"n": 9, "multiplier_lr": 1.0, "warmup": 0.7}),
    ],
)
@pytest.mark.parametrize("metric", [KL, GAP], ids=lambda m: m.name)
def test_learned_masks(method: str, own: dict[str, Any], metric: Metric, tmp_path: Path) -> None:
    place = setting(metric, 1 if metric is KL else -1)
    if method == "edge_pruning":
        wanted = finished(prune_edges(place, **LEARNED, **own))
        scores = np.exp(wanted.scores)
    else:
        wanted = finished(probe(place, **LEARNED, **own))
        scores = wanted.scores
    folder = ran(tmp_path, search(method, metric, **LEARNED, **own))
    table = folder.read_table("found")
    assert (kept_in(folder) == wanted.kept).all() and wanted.kept.any()
    assert table["score"].to_numpy() == pytest.approx(scores, abs=1e-4)
    assert table["effect"].is_null().all() and not table["evaluated"].any()
    events = [e for e in folder.events() if e["event"] == "edges"]
    assert events[-1]["done"] == events[-1]["total"] == LEARNED["steps"]


def test_the_best_edges_by_another_search(tmp_path: Path) -> None:
    first = search("greedy", **GREEDY)
    folder = ran(tmp_path, first, search("top_edges", by=CircuitOf("found"), **TOP))
    turns = folder.read_table("found")["score"].to_numpy()
    graph = setting().graph
    assert (kept_in(folder, "best") == top_edges(graph, turns, 9, absolute=False)).all()
    table = folder.read_table("best")
    assert (table["score"].to_numpy() == turns).all()
    assert (np.diff(turns[np.argsort(table["order"].to_numpy())]) <= 0).all()
    circuit = Circuit.load(circuit_path(folder.path, "best"))
    assert circuit.method.options["by"] == "found"


def test_the_best_edges_above_several_thresholds(tmp_path: Path) -> None:
    options = {**TOP, "n": None, "threshold": (2.0, 4.0)}
    folder = ran(
        tmp_path,
        search("greedy", **GREEDY),
        search("top_edges", by=CircuitOf("found"), **options),
        evaluation(finding("faithfulness"), step="best", thresholds=(2.0, 4.0)),
    )
    turns = folder.read_table("found")["score"].to_numpy()
    found = circuits_of(folder.path, "best")
    assert list(found) == [2.0, 4.0]
    for threshold, circuit in found.items():
        assert threshold is not None
        wanted = top_edges(setting().graph, turns, threshold=threshold, absolute=False)
        assert (circuit.table["kept"].to_numpy() == wanted).all()
    assert [row["threshold"] for row in rows(folder)] == [2.0, 4.0]


@pytest.mark.parametrize("options", [GREEDY, {**GREEDY, "n": 2, "share": 0.5}])
def test_elimination_measures_no_more_circuits_than_the_plan_says(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = 0
    values = Setting.values

    def counted(self: Setting, kept: Bools) -> Any:
        nonlocal measured
        measured += int(np.prod(kept.shape[:-1]))
        return values(self, kept)

    monkeypatch.setattr(Setting, "values", counted)
    place = setting()
    finished(greedy(place, options["n"], share=options["share"]))
    most = SEARCHES["greedy"].passes(options, place.graph.n_edges)
    assert most / 4 < measured <= most


def test_a_ranking_is_of_the_graph_that_is_searched(tmp_path: Path) -> None:
    joined = replace(search("greedy", **GREEDY), edges=Edges(split_qkv=False))
    with pytest.raises(InterpError) as caught:
        ran(tmp_path, joined, search("top_edges", by=CircuitOf("found"), **TOP))
    assert caught.value.diagnostics[0].code == "E655"


def test_scores_of_edges_are_found_by_the_edges_names(tmp_path: Path) -> None:
    """In any order, those of one metric; an edge without a score has 0."""
    graph = setting().graph
    wanted = np.random.default_rng(0).normal(size=graph.n_edges).round(3)
    scored: list[Row] = [
        {"unit": str(edge), "metric": metric, "effect": score * sign}
        for edge, score in zip(graph.edges, wanted.tolist(), strict=True)
        for metric, sign in (("kl", 1), ("gap", -2))
    ]
    scored.reverse()
    scored[1], wanted[-1] = {**scored[1], "effect": None}, 0.0
    folder = folder_in(tmp_path)
    state = State(0, results={"scores": Result(scored, {})})
    task = replace(search("top_edges", **TOP), by=ScoreOf("scores", "kl", "effect"))
    found = ranking_of(task, state, folder)
    assert found is not None and (found(graph, None) == wanted).all()
    for strange in (
        scored[2:],
        [*scored, {"unit": "L7H7 -> logits", "metric": "kl", "effect": 1.0}],
    ):
        state.results["scores"] = Result(list(strange), {})
        found = ranking_of(task, state, folder)
        assert found is not None
        with pytest.raises(InterpError) as caught:
            found(graph, None)
        assert caught.value.diagnostics[0].code == "E655"
