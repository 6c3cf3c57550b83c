"""Searches beside ACDC: by brute force over all circuits, on models known by construction, and on
the bundled models."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from interp_dsl.circuits import concrete
from interp_dsl.circuits.evidence import faithfulness
from interp_dsl.circuits.forward import EdgeForward
from interp_dsl.circuits.found import Found, finished
from interp_dsl.circuits.greedy import greedy
from interp_dsl.circuits.probing import edge_masks, probe
from interp_dsl.circuits.pruning import prune_edges
from interp_dsl.models.graph import Graph
from interp_dsl.models.paths import on_path
from tests.circuits.built import induction, share
from tests.circuits.models import double
from tests.circuits.settings import added, bundled, circuit, every_circuit, gated, named, squared

SIDES = [{"embed -> L0H0.v", "L0H0 -> L0.mlp"}, {"embed -> L0H1.v", "L0H1 -> L0.mlp"}]
OUT = {"L0.mlp -> logits"}
SIZES = [0.5, 2.0, 1.0, 3.0]


# ** backward elimination **


def test_elimination_from_its_definition() -> None:
    """One forward pass a candidate."""
    setting = added([0.5, 2.0])
    graph = setting.graph
    search = finished(greedy(setting))

    def score(kept: np.ndarray) -> float:
        logits = setting.forward.logits(
            setting.tokens, torch.from_numpy(kept), setting.ablated, setting.reads
        )
        return float(setting.metric(logits).mean())

    kept, turn = on_path(graph, np.ones(graph.n_edges, dtype=bool)), 0
    while kept.any():
        candidates = []
        for edge in np.flatnonzero(kept):
            left = kept.copy()
            left[edge] = False
            left = on_path(graph, left)
            candidates.append((score(left), edge, left))
        kept = min(candidates, key=lambda one: one[:2])[2]
        turn += 1
        assert (search.after(turn) == kept).all()
    assert search.value == pytest.approx(0.5**2 + 2.0**2, abs=1e-12)


@pytest.mark.parametrize("kind", ["or", "and"])
def test_elimination_against_all_circuits_of_a_gate(kind: str) -> None:
    """Of nine edges (queries, keys and values together), the smallest circuit that measures 0."""
    setting = gated(kind, split_qkv=False)
    assert setting.graph.n_edges == 9
    circuits = every_circuit(9)
    exact = circuits[setting.means(circuits) < 1e-12]
    found = finished(greedy(setting, limit=1e-9))
    assert found.kept.sum() == exact.sum(1).min() == (3 if kind == "or" else 5)
    assert (exact == found.kept).all(1).any()
    assert found.value < 1e-12


@pytest.mark.parametrize("method", ["greedy", "prune"])
@pytest.mark.parametrize(
    ("make", "prompts", "wanted"),
    [
        (
            induction,
            ([0, 1, 2, 3, 1], [0, 5, 6, 7, 1]),
            {"embed -> L0H0.v", "L0H0 -> L1H0.k", "embed -> L1H0.v", "L1H0 -> logits"},
        ),
        (
            share,
            ([1, 2, 3, 1], [1, 0, 0, 1]),
            {"embed -> L0.mlp", "L0.mlp -> L1H1.v", "L1H1 -> logits"},
        ),
    ],
    ids=["induction", "share"],
)
def test_known_circuits(
    method: str,
    make: Callable[[], EdgeForward],
    prompts: tuple[list[int], list[int]],
    wanted: set[str],
) -> None:
    tokens, corrupt = torch.tensor([prompts]).transpose(0, 1)
    setting = squared(make(), tokens, corrupt, torch.tensor([[len(prompts[0]) - 1]]))
    if method == "greedy":
        found: Found = finished(greedy(setting, limit=1e-9))
    else:
        found = finished(prune_edges(setting, len(wanted), steps=300))
    assert named(setting.graph, found.kept) == wanted
    assert found.value < 1e-12


def test_elimination_keeps_the_worth_of_additive_heads() -> None:
    setting = added(SIZES)
    for n, heads in ((2, [3]), (4, [1, 3]), (6, [1, 2, 3])):
        found = finished(greedy(setting, n=n))
        wanted = {f"L0H{h} -> logits" for h in heads} | {f"embed -> L0H{h}.v" for h in heads}
        assert named(setting.graph, found.kept) == wanted
        lost = sum(size**2 for head, size in enumerate(SIZES) if head not in heads)
        assert found.value == pytest.approx(lost, abs=1e-12)
        assert (found.scores[found.kept] > found.scores[~found.kept].max()).all()


def test_elimination_by_shares() -> None:
    """Many edges a turn: fewer turns, and what it leaves is measured as it is left."""
    setting = added(SIZES)
    steps = list(greedy(setting, n=4, share=0.3))
    found = finished(greedy(setting, n=4, share=0.3))
    assert len(steps) < len(list(greedy(setting, n=4)))
    assert steps[-1].kept == found.kept.sum() <= 4
    assert found.value == steps[-1].score == pytest.approx(setting.means(found.kept))
    assert [one.kept for one in steps] == sorted((one.kept for one in steps), reverse=True)


# ** masks **


def test_hard_concrete_masks_are_zero_as_often_as_they_say() -> None:
    logits = torch.tensor([-3.0, -1.0, 0.0, 2.0]).double()
    masks = concrete.sampled(logits, 200_000, torch.Generator().manual_seed(0))
    assert masks.min() == 0 and masks.max() == 1
    alive = (masks > 0).double().mean(0)
    assert torch.allclose(alive, concrete.log_alive(logits).exp(), atol=0.005)
    assert concrete.settled(concrete.logits(2, 0.9, masks.device)).tolist() == pytest.approx(
        [0.9] * 2
    )


@pytest.mark.parametrize("name", ["attn_only", "gpt2", "gpt_neox"])
@pytest.mark.parametrize("split_qkv", [True, False])
def test_masks_of_nodes_are_all_edges_between_the_nodes_kept(name: str, split_qkv: bool) -> None:
    graph = Graph(double(name).description.shape, split_qkv=split_qkv)
    masks = np.random.default_rng(0).random(graph.n_receivers - 1) < 0.5
    kept = dict(zip(graph.receivers[:-1], masks, strict=True))
    heads = {target for (target, _), is_kept in kept.items() if is_kept}
    wanted = [
        (edge.source in heads or edge.source in graph.embeds)
        and (edge.channel in ("mlp", "logits") or kept[edge.target, edge.channel])
        for edge in graph.edges
    ]
    found = edge_masks(graph, torch.from_numpy(masks).double()).numpy()
    assert found.tolist() == [float(one) for one in wanted]


@pytest.mark.parametrize(("price", "heads"), [(1.0, [1, 2, 3]), (4.0, [1, 3])])
@pytest.mark.parametrize("seed", [0, 1])
def test_probing_finds_the_worth_of_additive_heads(
    price: float, heads: list[int], seed: int
) -> None:
    """Masks are 12, so that λ / 12 is the price of one. A head worth the price stays, one worth a
    quarter of it goes, and with it the queries and keys, which are worth nothing."""
    setting = added(SIZES)
    found = finished(probe(setting, strength=12 * price, steps=300, seed=seed))
    kept = np.array(setting.graph.receivers[:-1])[found.nodes > 0.5].tolist()
    assert kept == [[f"L0H{head}", "v"] for head in heads]
    wanted = {f"L0H{head} -> logits" for head in heads} | {"embed -> logits"}
    wanted |= {f"embed -> L0H{head}.v" for head in heads}
    assert named(setting.graph, found.kept) == wanted
    lost = sum(size**2 for head, size in enumerate(SIZES) if head not in heads)
    assert found.value == pytest.approx(lost, abs=1e-12)


def test_probing_an_and_gate() -> None:
    setting = gated("and")
    found = finished(probe(setting, strength=0.5, steps=300))
    kept = named(setting.graph, found.kept)
    assert SIDES[0] | SIDES[1] | OUT <= kept
    assert not any(edge.endswith((".q", ".k")) for edge in kept)
    assert found.value < 1e-12


@pytest.mark.parametrize(("n", "heads"), [(2, [3]), (4, [1, 3]), (6, [1, 2, 3])])
def test_pruning_finds_the_worth_of_additive_heads(n: int, heads: list[int]) -> None:
    setting = added(SIZES)
    found = finished(prune_edges(setting, n, steps=400))
    wanted = {f"L0H{head} -> logits" for head in heads} | {
        f"embed -> L0H{head}.v" for head in heads
    }
    assert named(setting.graph, found.kept) == wanted


def test_pruning_gates() -> None:
    both, one = gated("and"), gated("or")
    found = finished(prune_edges(both, 5))
    assert named(both.graph, found.kept) == SIDES[0] | SIDES[1] | OUT
    found = finished(prune_edges(one, 3))
    assert named(one.graph, found.kept) in (SIDES[0] | OUT, SIDES[1] | OUT)
    assert found.value < 1e-12


def test_a_seed_gives_the_same_again() -> None:
    setting = added(SIZES)
    for search in (
        lambda seed: finished(probe(setting, 1.0, steps=20, seed=seed)),
        lambda seed: finished(prune_edges(setting, 4, steps=20, seed=seed)),
    ):
        first, again, other = search(0), search(0), search(1)
        assert (first.scores == again.scores).all() and (first.kept == again.kept).all()
        assert (first.scores != other.scores).any()


def test_direct_edges_are_refused() -> None:
    setting = gated("and", direct=True)
    for search in (probe(setting, 1.0), prune_edges(setting, 3)):
        with pytest.raises(ValueError, match="direct edges"):
            next(search)


# ** the bundled models **


@pytest.mark.parametrize("method", ["greedy", "probe", "prune"])
def test_small_faithful_circuits_of_induction(method: str) -> None:
    """Found on 8 prompts, faithful on 64 others: at most 12, 27 and 14 of 81 edges."""
    setting, others = (
        bundled("induction-2l", "kl", n, split) for n, split in ((8, "train"), (64, "heldout"))
    )
    if method == "greedy":
        found, most = finished(greedy(setting, n=12, share=0.15)), 12
    elif method == "probe":
        found, most = finished(probe(setting, 10.0, steps=150)), 27
    else:
        found, most = finished(prune_edges(setting, 14, steps=200)), 14
    assert 0 < found.kept.sum() <= most
    assert faithfulness(others, found.kept).normalized >= 0.9


def test_a_small_faithful_circuit_of_indirect_objects() -> None:
    """At most 20 of 262 edges, found on 8 prompts."""
    setting, others = (
        bundled("ioi-3l", "kl", n, split) for n, split in ((8, "train"), (64, "heldout"))
    )
    found = finished(prune_edges(setting, 20, steps=200))
    assert 0 < found.kept.sum() <= 20
    assert faithfulness(others, found.kept).normalized >= 0.9


def test_the_induction_circuit_runs_through_previous_token_heads() -> None:
    """Keys of the second layer read head 0 of the first, as the model's card says."""
    setting = bundled("induction-2l", "kl", 8, "train")
    found = finished(prune_edges(setting, 10, steps=200))
    keys = circuit(setting.graph, *(f"L0H0 -> L1H{head}.k" for head in range(4)))
    assert (found.kept & keys).any()
