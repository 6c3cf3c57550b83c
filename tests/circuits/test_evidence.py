"""Evidence for circuits: identities, by hand, and against measurements one at a time."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch

from interp_dsl.circuits.criteria import (
    each_edge,
    each_node,
    incompleteness,
    minimality,
    node_set,
    nodes_in,
    random_sets,
    worst_set,
)
from interp_dsl.circuits.curves import grid_sizes
from interp_dsl.circuits.evidence import faithfulness, knocked_out, size_curve
from interp_dsl.circuits.nulls import random_circuits, random_null, shuffled_null
from interp_dsl.circuits.ranked import top_edges
from interp_dsl.models.graph import Graph
from interp_dsl.models.paths import on_path
from tests.circuits.models import double
from tests.circuits.settings import added, bundled, circuit, every_circuit, gated

SIZES = [0.5, 2.0, 1.0, 3.0]
ONE = ("embed -> L0H0.v", "L0H0 -> L0.mlp", "L0.mlp -> logits")
BOTH = (*ONE, "embed -> L0H1.v", "L0H1 -> L0.mlp")


# ** measuring **


def test_many_circuits_at_once_measure_as_one_by_one() -> None:
    setting = bundled("induction-2l", "kl", 3, "heldout")
    circuits = random_circuits(setting.graph, 20, 7, seed=0).reshape(7, 1, -1)
    alone = [
        setting.metric(
            setting.forward.logits(
                setting.tokens, torch.from_numpy(kept[0]), setting.ablated, setting.reads
            )
        ).numpy()
        for kept in circuits
    ]
    for rows in (None, 1, 6, 10):
        found = replace(setting, rows=rows).values(circuits)
        assert found.shape == (7, 1, 3)
        np.testing.assert_allclose(found[:, 0], alone, atol=1e-4)
    assert setting.values(circuits[:0]).shape == (0, 1, 3)


def test_masks_and_shared_ablated_values_are_repeated() -> None:
    setting = added(SIZES)
    mask = torch.tensor([[True, True, True], [False, True, True]])
    for ablated in (torch.zeros_like(setting.ablated), setting.ablated[:, :1] * 0):
        changed = replace(setting, ablated=ablated, mask=mask)
        kept = np.array([changed.full, changed.empty, top_edges(changed.graph, changed.full, n=4)])
        one_by_one = [changed.values(one) for one in kept]
        np.testing.assert_array_equal(changed.values(kept), one_by_one)


@pytest.mark.parametrize("metric", ["kl", "logit_diff"])
@pytest.mark.parametrize("name", ["induction-2l", "ioi-3l"])
def test_all_and_nothing(name: str, metric: str) -> None:
    setting = bundled(name, metric, 16, "heldout")
    found = faithfulness(setting, np.stack([setting.full, setting.empty]))
    assert found.normalized.tolist() == [1, 0]
    assert knocked_out(setting, setting.full).normalized == pytest.approx(0, abs=1e-5)
    assert knocked_out(setting, setting.empty).normalized == pytest.approx(1, abs=1e-5)
    if metric == "logit_diff":
        with torch.no_grad():
            embedded = setting.forward.embedded(setting.tokens)
            logits = setting.forward.run(embedded, reads=setting.reads).logits
        np.testing.assert_allclose(found.full, setting.metric(logits).numpy(), atol=1e-4)


def test_faithfulness_is_a_ratio_of_means() -> None:
    setting = bundled("induction-2l", "logit_diff", 8, "heldout")
    kept = random_circuits(setting.graph, 60, 1, seed=1)[0]
    found = faithfulness(setting, kept)
    gap = (found.full - found.empty).mean()
    assert found.normalized == pytest.approx((found.circuit - found.empty).mean() / gap)
    assert found.raw == pytest.approx(setting.means(kept))
    assert found.circuit.shape == (8,)


def test_additive_heads_share_the_model() -> None:
    """Squared distance: what is left out counts, alone and knocked out."""
    setting = added(SIZES)
    kept = circuit(setting.graph, "embed -> L0H3.v", "L0H3 -> logits")
    total = sum(size**2 for size in SIZES)
    assert faithfulness(setting, kept).normalized == pytest.approx(9 / total)
    assert knocked_out(setting, kept).normalized == pytest.approx(1 - 9 / total)


def test_faithfulness_needs_a_gap() -> None:
    setting = replace(added(SIZES), metric=lambda logits: logits[..., 0, 0] * 0)
    with pytest.raises(ValueError, match="measure the same"):
        _ = faithfulness(setting, setting.full).normalized


def test_the_curve_over_sizes() -> None:
    setting = added(SIZES)
    worth = {f"L0H{head}": size for head, size in enumerate(SIZES)}
    scores = [worth.get(e.source, worth.get(e.target, 0)) for e in setting.graph.edges]
    found = size_curve(setting, scores)
    assert (found.sizes <= grid_sizes(setting.graph.n_edges)).all()
    assert found.sizes[-1] == setting.graph.n_edges
    np.testing.assert_allclose(
        found.faithful, faithfulness(setting, found.kept).normalized, atol=1e-12
    )
    assert found.faithful[0] == 0 and found.faithful[-1] == 1
    assert 0 < found.cpr < 1 and found.cmd == pytest.approx(0.999 - found.cpr)


# ** completeness and minimality **


def test_sets_of_nodes() -> None:
    setting = gated("or")
    graph, kept = setting.graph, circuit(setting.graph, *ONE)
    assert nodes_in(graph, kept) == ("L0H0", "L0.mlp")
    sets = each_node(graph, kept)
    for name, edges in zip(nodes_in(graph, kept), sets, strict=True):
        assert [edge.source == name for edge in graph.edges] == edges.tolist()
    assert (node_set(graph, ["L0H0", "L0.mlp"]) == sets.any(0)).all()
    assert each_edge(kept).sum(0).tolist() == kept.astype(int).tolist()
    drawn = random_sets(graph, kept, 200, seed=0)
    assert {row.tobytes() for row in drawn} == {
        row.tobytes() for row in [sets[0] & False, sets[0], sets[1], sets.any(0)]
    }
    assert (drawn == random_sets(graph, kept, 200, seed=0)).all()
    with pytest.raises(ValueError, match="no sender 'L7H7'"):
        node_set(graph, ["L7H7"])


def test_the_model_is_complete() -> None:
    setting = bundled("ioi-3l", "logit_diff", 4, "heldout")
    sets = random_sets(setting.graph, setting.full, 10, seed=0)
    assert incompleteness(setting, setting.full, sets).max() == 0
    assert worst_set(setting, setting.full, 2) == (pytest.approx(setting.empty), 0)


def test_half_an_or_gate_is_faithful_but_incomplete() -> None:
    """Without head 0 the whole gate still says true, the circuit of head 0 false."""
    setting = gated("or")
    kept = circuit(setting.graph, *ONE)
    assert faithfulness(setting, kept).normalized == pytest.approx(1)
    nodes = each_node(setting.graph, kept)
    sets = np.array([setting.empty, *nodes])
    assert incompleteness(setting, kept, sets) == pytest.approx([0, 1, 0])
    worst, distance = worst_set(setting, kept)
    assert (worst == nodes[0]).all() and distance == pytest.approx(1)
    both = circuit(setting.graph, *BOTH)
    assert worst_set(setting, both)[1] == pytest.approx(0, abs=1e-12)


def test_the_worst_set_against_all_sets_of_nodes() -> None:
    """In a model whose heads add up, the greedy way is the best."""
    setting = added(SIZES)
    kept = top_edges(setting.graph, [*range(setting.graph.n_edges)], n=12)
    nodes = each_node(setting.graph, kept)
    chosen = [
        np.any([setting.empty, *some], axis=0)
        for size in range(len(nodes) + 1)
        for some in combinations(nodes, size)
    ]
    best = incompleteness(setting, kept, np.array(chosen)).max()
    assert worst_set(setting, kept)[1] == pytest.approx(best)


def test_minimality_of_an_or_gate() -> None:
    """Alone no side of the gate is missed; with the other one taken away each is."""
    setting = gated("or")
    kept = circuit(setting.graph, *BOTH)
    units = each_node(setting.graph, kept)
    assert nodes_in(setting.graph, kept) == ("L0H0", "L0H1", "L0.mlp")
    assert minimality(setting, kept, units).change == pytest.approx([0, 0, 1])
    found = minimality(setting, kept, units, np.array([setting.empty, *units[:2]]))
    assert found.change == pytest.approx([1, 1, 1])
    assert found.with_set.tolist() == [2, 1, 0]


def test_minimality_from_its_definition() -> None:
    setting = gated("and", split_qkv=False)
    circuits = every_circuit(setting.graph.n_edges)
    values = dict(zip(map(tuple, circuits), setting.means(circuits), strict=True))
    kept = on_path(setting.graph, setting.full)
    units, sets = each_edge(kept), circuits[::37]
    found = minimality(setting, kept, units, sets)
    for unit, change in zip(units, found.change, strict=True):
        changes = [
            abs(values[tuple(kept & ~(k | unit))] - values[tuple(kept & ~(k & ~unit))])
            for k in sets
        ]
        assert change == pytest.approx(max(changes))
    assert found.change.max() > 0.5 and found.change.min() < 1e-12


# ** nulls **


@pytest.mark.parametrize("name", ["attn_only", "gpt2", "gpt_neox"])
def test_random_circuits_have_their_size_and_hang_together(name: str) -> None:
    graph = Graph(double(name).description.shape)
    for n in (0, 1, 2, 3, 7, graph.n_edges // 2, graph.n_edges - 1, graph.n_edges):
        drawn = random_circuits(graph, n, 20, seed=n)
        assert (drawn.sum(1) == n).all()
        assert (on_path(graph, drawn) == drawn).all()
        assert (drawn == random_circuits(graph, n, 20, seed=n)).all()
        if 7 <= n < graph.n_edges - 1:
            assert len({row.tobytes() for row in drawn}) > 15
    assert random_circuits(graph, graph.n_edges // 3, 300, seed=0).any(0).all()
    with pytest.raises(ValueError, match="no circuit of"):
        random_circuits(graph, graph.n_edges + 1, 1, seed=0)


def test_random_circuits_are_worse_than_the_circuit() -> None:
    setting = added(SIZES)
    kept = circuit(
        setting.graph,
        *(f"L0H{h} -> logits" for h in (1, 3)),
        *(f"embed -> L0H{h}.v" for h in (1, 3)),
    )
    null = random_null(setting, 4, 50, seed=0)
    best = faithfulness(setting, kept).normalized
    assert null.shape == (50,)
    assert null.max() <= best + 1e-12 and np.median(null) < 0.5 * best


def test_shuffled_pairs() -> None:
    """Two examples can only change places; the full circuit is faithful whatever is shuffled."""
    setting = bundled("induction-2l", "logit_diff", 2, "heldout")
    kept = random_circuits(setting.graph, 60, 1, seed=1)[0]
    swapped = replace(setting, ablated=setting.ablated[:, [1, 0]])
    wanted = faithfulness(swapped, kept).normalized
    assert shuffled_null(setting, kept, 3, seed=0) == pytest.approx([wanted] * 3)
    assert wanted != pytest.approx(faithfulness(setting, kept).normalized)
    assert shuffled_null(setting, setting.full, 2, seed=0).tolist() == [1, 1]
    with pytest.raises(ValueError, match="two examples"):
        shuffled_null(gated("or"), gated("or").full, 1, seed=0)
