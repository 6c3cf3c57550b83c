"""Circuits in plans: their parts as sets, which way a metric is good, what a search may cost."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from interp_dsl.check import check_source, plan_experiment
from interp_dsl.engine.keys import step_key
from interp_dsl.language.source import Source
from interp_dsl.models.graph import Graph
from interp_dsl.models.shape import Shape
from interp_dsl.plan.algebra import Combined, Literal, MetricCall, MetricSum, OfCircuit, Units
from interp_dsl.plan.edges import bounds, edges_cost, edges_plain
from interp_dsl.plan.explain import explain
from interp_dsl.plan.metrics import METRICS, good
from interp_dsl.plan.names import unit_of
from interp_dsl.plan.sizes import sizes
from interp_dsl.plan.tasks import CircuitOf, EvaluateCircuit, Plan, Search
from interp_dsl.plan.units import depends, expand
from interp_dsl.verbs.search import edge_counts


def edge(source: str, target: str, channel: str, kept: bool = True, **more: Any) -> dict[str, Any]:
    return {"source": source, "target": target, "channel": channel, "kept": kept, **more}


ROWS = [
    edge("embed", "L0H10", "v"),
    edge("embed", "L0H2", "q", kept=False),
    edge("L0H10", "L1H0", "k"),
    edge("L0.mlp", "L1H0", "attn"),
    edge("L0H9", "L0H9", "q"),
    edge("L1H0", "logits", "logits"),
]


def names(units: Units, rows: list[dict[str, Any]] = ROWS) -> list[str]:
    return [str(u) for u in expand(units, lambda step: rows, 4)]


def test_the_parts_of_a_circuit() -> None:
    assert names(OfCircuit("c", "edges")) == [
        "embed -> L0H10.v",
        "L0H10 -> L1H0.k",
        "L0.mlp -> L1H0",
        "L0H9 -> L0H9.q",
        "L1H0 -> logits",
    ]
    assert names(OfCircuit("c", "heads")) == ["L0H9", "L0H10", "L1H0"]
    assert names(OfCircuit("c", "nodes")) == ["embed", "L0H9", "L0H10", "L0.mlp", "L1H0"]
    assert depends(OfCircuit("c", "heads")) == {"c"}


def test_the_parts_of_one_of_several_circuits() -> None:
    rows = [
        edge("L0H0", "logits", "logits", threshold=0.1),
        edge("L0H1", "logits", "logits", threshold=0.1, kept=False),
        edge("L0H0", "logits", "logits", threshold=0.2, kept=False),
        edge("L0H1", "logits", "logits", threshold=0.2),
    ]
    first, second = OfCircuit("c", "edges", 0.1), OfCircuit("c", "edges", 0.2)
    assert names(first, rows) == ["L0H0 -> logits"]
    assert names(Combined("|", first, second), rows) == ["L0H0 -> logits", "L0H1 -> logits"]
    assert names(Combined("&", first, second), rows) == []


def test_an_edge_is_read_back_from_its_name() -> None:
    for name in names(OfCircuit("c", "edges")):
        assert str(unit_of(name, "all")) == name


@pytest.mark.parametrize(
    ("term", "wanted"),
    [
        (MetricCall("kl"), -1),
        (MetricCall("logit_diff"), 1),
        (MetricCall("loss"), -1),
        (MetricCall("entropy"), 0),
        (MetricSum("neg", (MetricCall("kl"),)), 1),
        (MetricSum("-", (MetricCall("logit_diff"), MetricCall("kl"))), 1),
        (MetricSum("+", (MetricCall("logit_diff"), MetricCall("kl"))), 0),
        (MetricSum("-", (Literal(1.0), MetricCall("prob"))), -1),
        (MetricSum("*", (Literal(-2.0), MetricCall("prob"))), -1),
        (MetricSum("/", (MetricCall("kl"), Literal(2.0))), -1),
        (MetricSum("*", (MetricCall("kl"), Literal(0.0))), 0),
        (MetricSum("/", (Literal(1.0), MetricCall("kl"))), 0),
        (MetricSum("/", (MetricCall("prob"), MetricCall("kl"))), 0),
    ],
    ids=str,
)
def test_which_way_a_metric_is_good(term: Any, wanted: int) -> None:
    assert good(term) == wanted


def test_distances_from_the_reference_are_good_when_small() -> None:
    assert {n for n, m in METRICS.items() if "reference" in m.needs} <= {
        n for n, m in METRICS.items() if m.good == -1
    }


# ---- what a search costs

TEXT = """model m = bundled("ioi-3l")
dataset ioi = template(n=16, seed=0) {
  clean   "When {A} and {B} went to the store, {B} gave a book to"
  corrupt "When {A} and {B} went to the store, {C} gave a book to"
  answer  " {A}"
  where   A, B, C in ["Mary", "John", "Anna", "Paul", "Lucy"]
}
step circuit = search EDGES by acdc(THRESHOLD) from ioi.corrupt into ioi.clean measure kl()
step check = evaluate circuit on ioi measure faithfulness()
"""


def planned(threshold: str = "0.1", edges: str = "edges", text: str = TEXT) -> Plan:
    source = Source(text.replace("THRESHOLD", threshold).replace("EDGES", edges))
    found = check_source(source)
    assert found.experiment is not None, found.diagnostics
    return plan_experiment(found.experiment, "cpu")


def tasks(plan: Plan) -> tuple[Search, EvaluateCircuit]:
    (search,) = (t for t in plan.tasks if isinstance(t, Search))
    (check,) = (t for t in plan.tasks if isinstance(t, EvaluateCircuit))
    return search, check


SHAPE = Shape(
    n_layers=3, n_heads=4, n_kv_heads=2, d_model=16, d_head=4, d_mlp=8, d_vocab=9, d_vocab_out=9,
    n_ctx=8,
)  # fmt: skip


@pytest.mark.parametrize("direct", [False, True])
def test_edges_are_counted_by_the_layer_that_they_enter(direct: bool) -> None:
    graph = Graph(SHAPE, direct=direct)
    counts = edge_counts(graph)
    assert counts is not None
    assert sum(counts) == graph.n_edges
    into = [e.target for e in graph.edges]
    assert counts[:-1] == tuple(sum(t.startswith(f"L{i}") for t in into) for i in range(3))
    assert counts[-1] == into.count("logits")


@pytest.mark.parametrize(
    ("size", "plain", "published"),
    [
        ({"n_layers": 12, "n_heads": 12, "d_mlp": 3072}, "32,491", "32,923"),
        ({"n_layers": 4, "n_heads": 8, "attn_only": True}, "1,281", "1,377"),
        ({"n_layers": 2, "n_heads": 8, "attn_only": True}, "257", "305"),
    ],
)
def test_a_plan_tells_the_published_numbers_of_edges(
    size: dict[str, int], plain: str, published: str, tmp_path: Path, monkeypatch: Any
) -> None:
    """Of shapes whose weights are nowhere: the plan needs none."""
    monkeypatch.chdir(tmp_path)
    width = {"d_model": 64, "d_head": 8, "n_ctx": 32, "d_vocab": 50, "act_fn": "gelu"}
    (tmp_path / "config.json").write_text(json.dumps({**width, **size}))
    about = "from pairs.corrupt into pairs.clean measure kl()"
    found = check_source(
        Source(
            'model m = weights(".")\ndataset pairs = repeated_tokens(pairs=4, half=8)\n'
            f"step a = search edges by acdc(threshold=0.1) {about}\n"
            f'step b = search edges by acdc(threshold=0.1, preset="original") {about}\n'
            f"expect size(edges) == {plain.replace(',', '')}",
            tmp_path / "a.interp",
        )
    )
    assert found.experiment is not None, found.diagnostics
    told = explain(plan_experiment(found.experiment))
    assert f" {plain} edges; tests" in told and f" {published} edges; tests" in told


def test_a_search_is_bounded_by_a_pass_an_edge() -> None:
    plan = planned()
    search, check = tasks(plan)
    known = sizes(plan)
    found, plain, total = (
        bounds(search, known),
        edges_plain(search, known),
        edges_cost(search, known),
    )
    assert found is not None and search.counts is not None
    edges = sum(search.counts)
    assert check.n_edges == edges
    assert 0 < found.least < 1 < found.most < edges
    assert plain.passes == 16 * (edges + 2)
    assert total.passes == plain.passes
    assert total.is_bound and total.flops and plain.flops and total.flops < plain.flops


def test_a_search_unembeds_the_answers_tokens_where_nothing_else_is_compared() -> None:
    """Every test of an edge, and every pass of an evaluation, makes so many logits less."""
    plan = planned(text=TEXT.replace("kl()", "logit()").replace("faithfulness()", "logit()"))
    known = sizes(plan)
    for task in tasks(plan):
        found = known.of(task.into)
        assert found is not None and task.reads_answers
        model, data = found
        assert data.answers is not None and data.answers < model.d_vocab
        few, every = edges_cost(task, known), edges_cost(replace(task, reads_answers=False), known)
        assert few.flops is not None and every.flops is not None
        tested = sum(task.counts or ()) if isinstance(task, Search) else 3
        saved = 2 * model.d_model * (model.d_vocab - data.answers) * data.n * tested
        assert every.flops - few.flops == pytest.approx(saved)
    assert not any(task.reads_answers for task in tasks(planned()))


def test_what_a_search_holds_is_bounded_by_nodes_and_examples() -> None:
    """Of every example what senders write and how the source differs, and of the accepted state
    what receivers read and senders write; the candidates' share does not grow with few examples."""

    def held(n: int) -> int:
        plan = planned(text=TEXT.replace("n=16", f"n={n}"))
        search, _ = tasks(plan)
        peak = edges_cost(search, sizes(plan)).peak
        assert peak is not None
        return peak

    plan = planned()
    search, _ = tasks(plan)
    found = sizes(plan).of(search.into)
    assert found is not None
    model, data = found
    senders = 1 + model.n_layers * (model.n_heads + 1)
    receivers = model.n_layers * (3 * model.n_heads + 1) + 1
    one = 4 * data.width * model.d_model
    assert held(17) - held(16) >= (3 * senders + receivers) * one
    assert held(18) - held(17) == held(17) - held(16)


def test_thresholds_multiply_what_a_search_may_cost() -> None:
    one, three = planned(), planned("[0.1, 0.2, 0.3]")
    least = bounds(tasks(one)[0], sizes(one))
    most = bounds(tasks(three)[0], sizes(three))
    assert least is not None and most is not None
    assert most.most == pytest.approx(3 * least.most)
    assert most.least == pytest.approx(least.least)
    assert tasks(three)[1].circuit == CircuitOf("circuit", (0.1, 0.2, 0.3))
    assert tasks(three)[1].n_circuits == 3


def test_a_search_reads_its_reference_alone_before_it_runs() -> None:
    from interp_dsl.plan.tasks import Forward

    (forward,) = (t for t in planned().tasks if isinstance(t, Forward))
    assert forward.run.side == "clean"
    assert not forward.stops


# ---- keys


def key(plan: Plan, circuit: str = "found") -> tuple[str, str]:
    search, check = tasks(plan)
    ids = {search.into.model: "model", search.into.data: "data"}
    return step_key(search, 0, ids, {}), step_key(check, 0, ids, {"circuit": circuit})


def test_a_key_is_of_what_decides_the_result() -> None:
    same = TEXT.replace("step circuit", "# a remark\nstep circuit")
    assert key(planned()) == key(planned(text=same))
    assert key(planned())[0] != key(planned("0.2"))[0]
    assert key(planned())[0] != key(planned('0.1, preset="original"'))[0]
    assert key(planned())[0] != key(planned(edges="edges(split_qkv=false)"))[0]
    assert key(planned())[1] != key(planned(), "other")[1]


def test_a_preset_is_what_it_stands_for() -> None:
    spelled = "0.1, order=reverse, direct=true, dead=true, start=measured"
    assert key(planned('0.1, preset="original"')) == key(planned(spelled))
    other = "0.1, order=forward, direct=false, dead=false, start=zero"
    assert key(planned('0.1, preset="auto-circuit"')) == key(planned(other))


def test_a_missing_step_has_no_key() -> None:
    with pytest.raises(KeyError):
        step_key(tasks(planned())[1], 0, {"model:m": "", "data:ioi": ""}, {})
