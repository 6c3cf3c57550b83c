"""Circuits that are known by construction."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
import torch
from torch import Tensor

from interp_dsl.circuits.acdc import Circuit, discover
from interp_dsl.circuits.clean import Clean
from interp_dsl.circuits.forward import EdgeForward
from interp_dsl.circuits.rules import Rules
from interp_dsl.models.graph import Edge
from tests.circuits.built import additive, gate, induction, share

ABLATIONS = ("resample", "zero")


def prepared(
    forward: EdgeForward,
    tokens: Tensor,
    corrupt: Tensor,
    ablation: str,
    reads: Tensor | None = None,
) -> Clean:
    """By squared distance from the model's logits, summed over them."""
    ablated = forward.outputs(corrupt)
    if ablation == "zero":
        ablated = torch.zeros_like(ablated)
    logits = forward.run(forward.embedded(tokens), reads=reads).logits
    return Clean(
        forward,
        tokens,
        ablated,
        lambda found: (found - logits).square().sum((-1, -2)),
        reads,
    )


def edges_of(circuit: Circuit, forward: EdgeForward) -> set[str]:
    return {str(edge) for edge, kept in zip(forward.graph.edges, circuit.kept, strict=True) if kept}


def gated(kind: str, ablation: str, rules: Rules) -> set[str]:
    forward = gate(kind, direct=rules.direct)
    true, false = torch.ones(1, 1, dtype=torch.long), torch.zeros(1, 1, dtype=torch.long)
    (circuit,) = discover(prepared(forward, true, false, ablation), 0.5, rules)
    return edges_of(circuit, forward)


SIDES = [
    {"embed -> L0H0.v", "L0H0 -> L0.mlp"},
    {"embed -> L0H1.v", "L0H1 -> L0.mlp"},
]


@pytest.mark.parametrize("ablation", ABLATIONS)
@pytest.mark.parametrize("batch", [1, 4])
def test_gates(ablation: str, batch: int) -> None:
    """Of an AND both inputs stay; of an OR the one that is visited last."""
    rules = {order: Rules(order=order, batch=batch) for order in ("reverse", "forward")}
    for one in rules.values():
        assert gated("and", ablation, one) == {"L0.mlp -> logits"} | SIDES[0] | SIDES[1]
    assert gated("or", ablation, rules["reverse"]) == {"L0.mlp -> logits"} | SIDES[0]
    assert gated("or", ablation, rules["forward"]) == {"L0.mlp -> logits"} | SIDES[1]


def test_gates_with_direct_edges() -> None:
    """Queries and keys go in one test each; what the values hang on stays."""
    kept = gated("and", "resample", Rules(direct=True))
    direct = {"L0H0 -> L0H0.v", "L0H1 -> L0H1.v"}
    assert kept == {"L0.mlp -> logits"} | SIDES[0] | SIDES[1] | direct


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_additive(ablation: str) -> None:
    """What an edge is worth does not depend on the others: kept is what is worth the threshold,
    in any order, and no more."""
    sizes = [0.5, 2.0, 1.0, 3.0]
    forward = additive(sizes)
    tokens = torch.ones(2, 3, dtype=torch.long)
    reads = torch.full((2, 1), 2)
    clean = prepared(forward, tokens, torch.zeros_like(tokens), ablation, reads)
    index, rest = forward.graph.index, forward.graph.edges
    heads = [f"L0H{head}" for head in range(4)]
    outputs = [index[Edge(head, "logits", "logits")] for head in heads]
    others = [index[edge] for edge in rest if edge.target == "logits" and edge.source == "embed"]
    behind = [index[edge] for edge in rest if edge.target != "logits"]
    for order in permutations(outputs):
        rules = Rules(order=[*order, *others, *behind])
        # 4.0 is exactly what head 1 is worth: an effect that is not below the threshold stays
        for threshold, circuit in zip(
            (0.1, 0.6, 4.0, 5.0, 10.0),
            discover(clean, [0.1, 0.6, 4.0, 5.0, 10.0], rules),
            strict=True,
        ):
            worth = {head for head, size in zip(heads, sizes, strict=True) if size**2 >= threshold}
            wanted = {f"{head} -> logits" for head in worth} | {f"embed -> {h}.v" for h in worth}
            assert edges_of(circuit, forward) == wanted
            lost = sum(size**2 for size in sizes if size**2 < threshold)
            assert circuit.final == pytest.approx(lost, abs=1e-12)
            for head, size in zip(heads, sizes, strict=True):
                number = index[Edge(head, "logits", "logits")]
                assert circuit.effect[number] == pytest.approx(size**2, abs=1e-12)


# Token 0 begins the prompt; 1 came before 2, and comes again.
PROMPT = torch.tensor([[0, 1, 2, 3, 1]])
CORE = {
    "embed -> L0H0.v",
    "L0H0 -> L1H0.k",
    "embed -> L1H0.v",
    "L1H0 -> logits",
}
QUERY = {"embed -> L1H0.q"}
PLACE = {"embed -> L0H0.q", "embed -> L0H0.k"}


@pytest.mark.parametrize(
    ("corrupt", "ablation", "wanted"),
    [
        ([0, 5, 6, 7, 1], "resample", CORE),
        ([0, 5, 6, 7, 4], "resample", CORE | QUERY),
        ([0, 5, 6, 7, 4], "zero", CORE | QUERY | PLACE),
    ],
    ids=["same query", "other query", "zero"],
)
@pytest.mark.parametrize("order", ["reverse", "forward"])
def test_induction(corrupt: list[int], ablation: str, wanted: set[str], order: str) -> None:
    """The previous token's head feeds the keys of the induction head; both copy by values from the
    embedding. The query matters where the corrupt prompt asks for another, positions where
    ablation takes them away."""
    forward = induction()
    reads = torch.tensor([[4]])
    run = forward.run(forward.embedded(PROMPT), reads=reads)
    assert torch.allclose(run.logits, torch.eye(8).double()[2], atol=1e-12)
    clean = prepared(forward, PROMPT, torch.tensor([corrupt]), ablation, reads)
    for threshold in (1e-3, 0.3):
        (circuit,) = discover(clean, threshold, Rules(order=order))
        assert edges_of(circuit, forward) == wanted
        assert circuit.final < 1e-12


def test_induction_with_positions_apart() -> None:
    """The first head finds its place by positions alone, all else goes by tokens."""
    forward = induction(split_embed=True)
    corrupt, reads = torch.tensor([[0, 5, 6, 7, 4]]), torch.tensor([[4]])
    clean = prepared(forward, PROMPT, corrupt, "zero", reads)
    (circuit,) = discover(clean, 0.01, Rules())
    place = {edge.replace("embed", "pos_embed") for edge in PLACE}
    assert edges_of(circuit, forward) == CORE | QUERY | place


@pytest.mark.parametrize("ablation", ABLATIONS)
@pytest.mark.parametrize("order", ["reverse", "forward"])
def test_compiled_share(ablation: str, order: str) -> None:
    forward = share()
    tokens = torch.tensor([[0, 2, 3, 1, 2], [3, 3, 1, 4, 0]])
    wanted = [[0, 1 / 2, 2 / 3, 1 / 2, 3 / 5], [1, 1, 2 / 3, 1 / 2, 2 / 5]]
    logits = forward.run(forward.embedded(tokens)).logits
    assert torch.allclose(logits[..., 0], torch.tensor(wanted).double(), atol=1e-7)
    clean = prepared(forward, tokens, tokens.flip(1), ablation)
    (circuit,) = discover(clean, 1e-6, Rules(order=order))
    assert edges_of(circuit, forward) == {
        "embed -> L0.mlp",
        "L0.mlp -> L1H1.v",
        "L1H1 -> logits",
    }
    assert circuit.final < 1e-12


@pytest.mark.parametrize(
    ("make", "tokens", "corrupt"),
    [
        (lambda: gate("or"), [1, 0, 1, 1], [0, 1, 0, 0]),
        (induction, [0, 1, 2, 1], [0, 2, 2, 3]),
        (share, [1, 2, 3, 1], [3, 0, 1, 2]),
    ],
    ids=["or", "induction", "share"],
)
def test_everything_and_nothing(
    make: Callable[[], EdgeForward], tokens: list[int], corrupt: list[int]
) -> None:
    forward = make()
    prompts = torch.tensor([[tokens], [corrupt]])
    clean = prepared(forward, *prompts, "resample")
    everything, nothing = discover(clean, [-np.inf, np.inf], Rules(drop_dead=False))
    assert everything.kept.all() and everything.final == 0
    assert not nothing.kept.any()
    logits = [forward.run(forward.embedded(x)).logits for x in prompts]
    distance = float((logits[0] - logits[1]).square().sum())
    assert distance > 0.1
    assert nothing.final == pytest.approx(distance, abs=1e-12)
