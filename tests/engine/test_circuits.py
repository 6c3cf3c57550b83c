"""Searches and evaluations of circuits from their tasks, against passes of one edge at a time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from interp_dsl.data.types import Data
from interp_dsl.engine.execute import execute
from interp_dsl.engine.methods import METHODS
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models.graph import Edge, Graph
from interp_dsl.plan.algebra import (
    Edges,
    Finding,
    FromRun,
    Metric,
    MetricCall,
    Source,
)
from interp_dsl.plan.tasks import (
    CircuitFile,
    CircuitOf,
    EvaluateCircuit,
    Forward,
    Plan,
    Search,
)
from interp_dsl.runs.circuit import Circuit, Fingerprint
from interp_dsl.runs.circuit_file import circuit_path, circuits_of
from interp_dsl.runs.circuit_table import KEY
from interp_dsl.runs.events import Event
from interp_dsl.runs.folder import RunFolder
from tests.circuits.models import executor_of
from tests.circuits.plain import Plain

from .plans import CLEAN, CORRUPT, GAP, LOADS, folder_in, run
from .tiny import Given, pairs

KL = Metric("kl", MetricCall("kl"))
DATA = pairs(n=8, length=5)
OPTIONS = {
    "absolute": False,
    "dead": True,
    "direct": False,
    "order": "reverse",
    "start": "measured",
}
PAIRED, SPLIT = FromRun(CORRUPT), Edges()
REFERENCE = Forward("f", CLEAN, (), (GAP,))


def search(
    thresholds: tuple[float, ...] = (0.01,),
    metrics: tuple[Metric, ...] = (KL, GAP),
    source: Source = PAIRED,
    edges: Edges = SPLIT,
    **options: Any,
) -> Search:
    held = {**OPTIONS, "threshold": thresholds, **options}
    return Search(
        "search:found",
        "found",
        CLEAN,
        source,
        edges,
        "acdc",
        tuple(sorted(held.items())),
        metrics,
        CLEAN,
        thresholds,
        is_stepwise=True,
    )


def evaluation(*findings: Finding, source: Source = PAIRED, **about: Any) -> Any:
    return EvaluateCircuit(
        "evaluate:check",
        "check",
        about.pop("circuit", CircuitOf("found")),
        about.pop("into", CLEAN),
        source,
        findings,
        CLEAN,
        **about,
    )


FAITHFUL = Finding("faithfulness", replace(KL, name="faithfulness"), "faithfulness")
OWN_GAP = Finding("gap", GAP)


def searched(task: Search, tmp_path: Path, name: str = "plain", data: Data = DATA) -> RunFolder:
    folder = folder_in(tmp_path)
    plan = Plan((*LOADS, REFERENCE, task))
    execute(plan, folder, loaders=Given(executor_of(name), d=data))
    return folder


def by_plain(metric: str, name: str = "plain") -> tuple[Graph, Plain, Tensor, Tensor, Any]:
    """A model's plain edge-patched pass, its tokens, the corrupt run's outputs, and a metric of
    logits [B, T, V] written out."""
    model = executor_of(name).model
    graph = Graph(model.description.shape)
    plain = Plain(model, graph)
    clean, corrupt = (torch.from_numpy(DATA.sides[s].tokens) for s in ("clean", "corrupt"))
    whole = plain.logits(clean, torch.ones(graph.n_edges), plain.outputs(clean))[:, -1].float()

    def measure(logits: Tensor) -> Tensor:
        last = logits[:, -1].float()
        if metric == "kl":
            p = whole.log_softmax(1)
            return (p.exp() * (p - last.log_softmax(1))).sum(1)
        rows = range(len(last))
        assert DATA.answers and DATA.wrongs
        answers = [a.alternatives[0][0] for a in DATA.answers]
        wrongs = [a.alternatives[0][0] for a in DATA.wrongs]
        return torch.stack([last[i, answers[i]] - last[i, wrongs[i]] for i in rows])

    return graph, plain, clean, plain.outputs(corrupt), measure


@pytest.mark.parametrize("metric", [KL, GAP], ids=lambda m: m.name)
def test_a_search_is_the_sequential_one_of_its_first_metric(metric: Metric, tmp_path: Path) -> None:
    threshold = 0.02
    folder = searched(search((threshold,), (metric,)), tmp_path)
    table = folder.read_table("found")
    sign = 1 if metric is KL else -1  # a logit difference is worse when it falls
    graph, plain, tokens, ablated, measure = by_plain(metric.name)

    def score(kept: Tensor) -> float:
        return float(sign * measure(plain.logits(tokens, kept, ablated)).double().mean())

    kept, current = torch.ones(graph.n_edges), score(torch.ones(graph.n_edges))
    for row in table.sort("order").iter_rows(named=True):
        edge = graph.index[Edge(row["source"], row["target"], row["channel"])]
        without = kept.clone()
        without[edge] = 0
        effect = score(without) - current
        if row["evaluated"]:
            assert row["effect"] == pytest.approx(sign * effect, abs=2e-6)
        else:
            assert abs(effect) < 1e-6
        assert row["kept"] is (effect >= threshold)
        if not row["kept"]:
            kept, current = without, current + effect
        assert row["score"] == pytest.approx(sign * current, abs=2e-6)
    assert 0 < table["kept"].sum() < len(table)


def test_a_search_leaves_a_circuit_that_says_where_it_comes_from(tmp_path: Path) -> None:
    folder = searched(search(), tmp_path)
    circuit = Circuit.load(circuit_path(folder.path, "found"))
    executor = executor_of("plain")
    assert circuit.model == Fingerprint(executor.facts.name, executor.fingerprint())
    assert circuit.metric == "kl"
    assert circuit.ablation == "d.corrupt"
    assert circuit.thresholds == (0.01,)
    assert circuit.method.name == "acdc"
    assert circuit.method.options == {**OPTIONS, "split_qkv": True, "split_embed": False}
    assert circuit.table.equals(folder.read_table("found"))
    (about,) = folder.step_facts("found")["circuits"]
    assert about["edges"] == circuit.size
    last = folder.read_table("found").sort("order")["score"][-1]
    assert about["metrics"]["kl"] == pytest.approx(last, abs=1e-5)


def test_several_thresholds_are_circuits_of_their_own(tmp_path: Path) -> None:
    folder = searched(search((0.01, 0.3)), tmp_path / "two")
    found = circuits_of(folder.path, "found")
    assert list(found) == [0.01, 0.3]
    table = folder.read_table("found")
    for threshold, circuit in found.items():
        alone = searched(search((threshold,)), tmp_path / str(threshold))  # type: ignore[arg-type]
        assert circuit.table.equals(alone.read_table("found"))
        assert (
            table.filter(pl.col("threshold") == threshold).drop("threshold").equals(circuit.table)
        )
    events = [e for e in folder.events() if e["event"] == "edges"]
    ends = {e["threshold"]: e["kept"] for e in events if e["done"] == e["total"]}
    assert ends == {t: c.size for t, c in found.items()}


@pytest.mark.parametrize("edges", [Edges(split_qkv=False), Edges(split_embed=True)])
@pytest.mark.parametrize("direct", [False, True])
def test_the_graph_is_the_one_asked_for_and_is_known_again(
    edges: Edges, direct: bool, tmp_path: Path
) -> None:
    task = search(edges=edges, direct=direct)
    check = evaluation(FAITHFUL)
    ran = run(Plan((*LOADS, REFERENCE, task, check)), executor_of("plain"), tmp_path, "check",
              d=DATA)  # fmt: skip
    shape = executor_of("plain").facts.shape
    graph = Graph(shape, edges.split_qkv, edges.split_embed, direct)
    table = ran.folder.read_table("found")
    assert [Edge(*row) for row in table.select(KEY).iter_rows()] == list(graph.edges)
    assert ran.table["value"][0] is not None


# ---- the evaluation


def test_faithfulness_is_the_share_of_the_way_from_nothing_to_all(tmp_path: Path) -> None:
    plan = Plan((*LOADS, REFERENCE, search(), evaluation(FAITHFUL, OWN_GAP)))
    ran = run(plan, executor_of("plain"), tmp_path, "check", d=DATA)
    faithful, gap = ran.rows()
    circuit = Circuit.load(circuit_path(ran.folder.path, "found"))
    for row, metric in ((faithful, "kl"), (gap, "gap")):
        graph, plain, tokens, ablated, measure = by_plain(metric)
        kept = torch.zeros(graph.n_edges)
        for edge in circuit.edges.select(KEY).iter_rows():
            kept[graph.index[Edge(*edge)]] = 1
        empty, full = torch.zeros(graph.n_edges), torch.ones(graph.n_edges)
        m = [
            float(measure(plain.logits(tokens, k, ablated)).double().mean())
            for k in (kept, empty, full)
        ]
        share = (m[0] - m[1]) / (m[2] - m[1])
        if metric == "kl":
            assert row["value"] == pytest.approx(share, abs=1e-5)
            assert row["normalized"] == row["value"]
            assert row["low"] <= row["value"] <= row["high"]
        else:
            assert row["value"] == pytest.approx(m[0], abs=1e-5)
            assert row["base"] == pytest.approx(m[1], abs=1e-5)
            assert row["normalized"] is None or row["normalized"] == pytest.approx(share, abs=1e-4)
    assert np.isnan(ran.values[0]).all()
    assert ran.values[1].mean() == pytest.approx(gap["value"], abs=1e-6)


def test_everything_is_the_whole_model_and_nothing_the_other_side(tmp_path: Path) -> None:
    """With every edge out, the logits are those of the run that edges are set to."""
    plan = Plan((*LOADS, REFERENCE, search((0.0,), absolute=True, dead=False), evaluation(OWN_GAP)))
    ran = run(plan, executor_of("plain"), tmp_path, "check", d=DATA)
    assert ran.folder.read_table("found")["kept"].all()
    _, plain, tokens, _, measure = by_plain("gap")
    ones = torch.ones(plain.graph.n_edges)
    whole = measure(plain.logits(tokens, ones, plain.outputs(tokens)))
    corrupt = torch.from_numpy(DATA.sides["corrupt"].tokens)
    other = measure(plain.logits(corrupt, ones, plain.outputs(corrupt)))
    (row,) = ran.rows()
    assert row["value"] == pytest.approx(float(whole.mean()), abs=1e-5)
    assert row["base"] == pytest.approx(float(other.mean()), abs=1e-5)


def test_examples_in_batches_measure_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan((*LOADS, REFERENCE, search(), evaluation(FAITHFUL, OWN_GAP)))
    whole = run(plan, executor_of("plain"), tmp_path / "a", "check", d=DATA)
    monkeypatch.setattr("interp_dsl.engine.edges.WRITTEN", 1)
    apart = run(plan, executor_of("plain"), tmp_path / "b", "check", d=DATA)
    for name in ("value", "base", "normalized", "low", "high"):
        for a, b in zip(whole.table[name], apart.table[name], strict=True):
            assert a == b if a is None else a == pytest.approx(b, abs=1e-6)


def test_several_circuits_are_rows_by_threshold(tmp_path: Path) -> None:
    two = evaluation(FAITHFUL, circuit=CircuitOf("found", (0.01, 0.3)))
    plan = Plan((*LOADS, REFERENCE, search((0.01, 0.3)), two))
    ran = run(plan, executor_of("plain"), tmp_path / "two", "check", d=DATA)
    assert ran.table["threshold"].to_list() == [0.01, 0.3]
    one = evaluation(FAITHFUL, circuit=CircuitOf("found", (0.3,)))
    plan = Plan((*LOADS, REFERENCE, search((0.01, 0.3)), one))
    alone = run(plan, executor_of("plain"), tmp_path / "one", "check", d=DATA)
    assert "threshold" not in alone.table.columns
    assert alone.table["value"][0] == pytest.approx(ran.table["value"][1])


def test_a_circuit_of_a_file_must_be_of_this_model(tmp_path: Path) -> None:
    folder = searched(search(), tmp_path / "found")
    path = circuit_path(folder.path, "found")
    held = CircuitFile(str(path), "")
    ran = run(
        Plan((*LOADS, REFERENCE, evaluation(FAITHFUL, circuit=held))),
        executor_of("plain"),
        tmp_path / "same",
        "check",
        d=DATA,
    )
    assert ran.table["value"][0] is not None
    other = replace(Circuit.load(path), model=Fingerprint("other", "ab" * 32))
    other.save(tmp_path / "other.json")
    fewer = replace(Circuit.load(path), graph=replace(other.graph, n_edges=10_000))
    fewer.save(tmp_path / "fewer.json")
    for name, code in (("other", "E652"), ("fewer", "E653")):
        task = evaluation(FAITHFUL, circuit=CircuitFile(str(tmp_path / f"{name}.json"), ""))
        with pytest.raises(InterpError) as caught:
            run(
                Plan((*LOADS, REFERENCE, task)),
                executor_of("plain"),
                tmp_path / name,
                "check",
                d=DATA,
            )
        assert caught.value.diagnostics[0].code == code


def test_a_finished_search_is_taken_over_with_its_circuits(tmp_path: Path) -> None:
    plan = Plan((*LOADS, REFERENCE, search((0.01, 0.3))))
    first = searched(search((0.01, 0.3)), tmp_path / "first")
    second = folder_in(tmp_path / "second")
    execute(plan, second, loaders=Given(executor_of("plain"), d=DATA), reuse=[first])
    assert circuits_of(second.path, "found") == circuits_of(first.path, "found")
    assert second.step_facts("found")["taken_from"] == str(first.path)
    assert second.step_facts("found")["circuits"] == first.step_facts("found")["circuits"]
    assert not [e for e in second.events() if e["event"] == "edges"]


def test_a_search_is_cancelled_between_receivers_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interp_dsl.circuits.order.APART", 8)
    monkeypatch.setattr("interp_dsl.engine.searches.EVERY", 0.0)
    task = search((0.01, 0.3))
    whole = searched(task, tmp_path / "whole")
    plan, folder = Plan((*LOADS, REFERENCE, task)), folder_in(tmp_path)
    told: list[int] = []

    def listen(event: Event) -> None:
        if event["event"] == "edges":
            told.append(event["done"])
            if len(told) == 5:
                folder.cancel()

    folder.log.listener = listen
    loaders = Given(executor_of("plain"), d=DATA)
    assert execute(plan, folder, loaders=loaders).status == "cancelled"
    stopped = list(told)
    assert 0 < stopped[-1] < by_plain("kl")[0].n_edges and not folder.has_table("found")
    assert execute(plan, folder, loaders=loaders).status == "done"
    assert told[len(stopped)] == stopped[-1]
    assert folder.read_table("found").equals(whole.read_table("found"))
    assert not folder.parts("found", folder.step_keys["found"])


def test_a_search_tells_how_long_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interp_dsl.engine.searches.EVERY", 0.0)
    folder = searched(search((0.02,), (KL,)), tmp_path)
    left = [e["left"] for e in folder.events() if e["event"] == "edges"]
    assert left[0] is None and left[-1] == [0.0, 0.0]
    known = [found for found in left if found is not None]
    assert len(known) > 5 and all(0 <= least <= most for least, most in known)


def test_a_search_that_does_not_fit_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> list[Any]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setitem(METHODS, "acdc", full)
    with pytest.raises(InterpError) as caught:
        searched(search(), tmp_path)
    (told,) = caught.value.diagnostics
    assert told.code == "E640" and "all 8 examples" in told.message


def test_an_error_of_a_search_stays_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any) -> list[Any]:
        raise RuntimeError("shapes")

    monkeypatch.setitem(METHODS, "acdc", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        searched(search(), tmp_path)
