"""Scores of edges are the derivatives they claim to be, and add up to what patching does."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from interp_dsl.circuits.attribution.edges import (
    clean_corrupt,
    eap,
    eap_ig,
    eap_ig_activations,
)
from interp_dsl.circuits.attribution.examples import Examples, points
from interp_dsl.circuits.forward import EdgeForward
from interp_dsl.models.compiled.forward import Compiled
from interp_dsl.models.graph import Edge, Graph
from tests.circuits.built import additive, gate
from tests.circuits.models import double
from tests.circuits.plain import close
from tests.circuits.tasks import induction, ioi, mixed, ranks_agree, small
from tests.models.running import MODELS

EXACT = 1e-12
OPTIONS: list[dict[str, bool]] = [
    {},
    {"split_qkv": False},
    {"split_embed": True},
    {"direct": True},
]


def metric_of(forward: EdgeForward, examples: Examples, kept: Tensor, ablated: Tensor) -> Tensor:
    tokens, reads, mask = examples.tokens, examples.reads, examples.mask
    return examples.metric(forward.logits(tokens, kept, ablated, reads, mask))


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: next(iter(options), "plain"))
@pytest.mark.parametrize("name", MODELS)
def test_eap_is_the_derivative_of_removing(name: str, options: dict[str, bool]) -> None:
    """-∂M/∂kept of the edge-patched forward, which splits every input: corrupt runs, zero, means;
    with a mask and without."""
    for masked in (True, False):
        forward, examples, corrupt = small(name, masked, **options)
        outputs = forward.outputs(corrupt)
        for ablated in (outputs, torch.zeros_like(outputs), outputs.mean((1, 2), keepdim=True)):
            kept = torch.ones(3, forward.graph.n_edges, dtype=torch.float64, requires_grad=True)
            value = metric_of(forward, examples, kept, ablated).sum()
            (slope,) = torch.autograd.grad(value, kept)
            scores = eap(forward, examples, ablated)
            assert scores.shape == (3, forward.graph.n_edges) and not scores.requires_grad
            assert close(scores, -slope) < EXACT


@pytest.mark.parametrize("name", ["gpt2", "gpt_neox", "gemma2", "qwen3", "rotary"])
def test_edges_one_by_one(name: str) -> None:
    """Each edge's own mask, one at a time; and by finite differences."""
    forward, examples, corrupt = small(name)
    ablated = forward.outputs(corrupt)
    scores = eap(forward, examples, ablated)
    n_edges = forward.graph.n_edges
    for edge in range(0, n_edges, 11):
        share = torch.ones((), dtype=torch.float64, requires_grad=True)
        one = torch.nn.functional.one_hot(torch.tensor(edge), n_edges).double()
        value = metric_of(forward, examples, 1 - one * (1 - share), ablated)
        slope = [torch.autograd.grad(x, share, retain_graph=True)[0] for x in value]
        largest = scores.abs().max()
        assert (scores[:, edge] + torch.stack(slope)).abs().max() < EXACT * largest
        with torch.no_grad():
            up, down = (
                metric_of(forward, examples, 1 + sign * 1e-5 * one, ablated) for sign in (1, -1)
            )
        assert (scores[:, edge] + (up - down) / 2e-5).abs().max() < 1e-6 * largest


@pytest.mark.parametrize("name", ["gpt2", "gpt_neox", "gemma3_text", "attn_only"])
def test_eap_ig_is_the_mean_gradient_of_a_path(name: str) -> None:
    """Gradients in the inputs that a watched run gives every receiver, a point at a time."""
    forward, examples, corrupt = small(name, split_embed=True)
    ablated, outputs = forward.outputs(corrupt), forward.outputs(examples.tokens, examples.mask)
    n = len(forward.graph.embeds)

    def scores(part: float) -> Tensor:
        x = outputs[:n] + part * (ablated - outputs)[:n]
        run = forward.run(x, reads=examples.reads, mask=examples.mask, watch=True)
        found = torch.autograd.grad(examples.metric(run.logits).sum(), run.inputs)
        products = [
            torch.einsum("sbtd,mbtd->bms", (ablated - outputs)[: group.senders], gradient)
            for group, gradient in zip(forward.graph.groups, found, strict=True)
        ]
        return torch.cat([x.flatten(1) for x in products], 1)

    wanted = torch.stack([scores(part) for part in (0, 0.25, 0.5, 0.75)]).mean(0)
    assert close(eap_ig(forward, examples, ablated, 4), wanted) < EXACT
    wanted = (scores(0.25) + scores(0.75)) / 2
    assert close(eap_ig(forward, examples, ablated, 2, "midpoint"), wanted) < EXACT
    wanted = (scores(0) + scores(1)) / 2
    assert close(clean_corrupt(forward, examples, ablated), wanted) < EXACT
    assert torch.equal(eap_ig(forward, examples, ablated, 1), eap(forward, examples, ablated))


def effects(forward: EdgeForward, examples: Examples, ablated: Tensor) -> Tensor:
    """What removing each edge alone does, [B, E]."""
    kept = torch.ones(forward.graph.n_edges, dtype=torch.bool)
    base = metric_of(forward, examples, kept, ablated)
    found = []
    for edge in range(forward.graph.n_edges):
        kept[edge] = False
        found.append(metric_of(forward, examples, kept, ablated) - base)
        kept[edge] = True
    return torch.stack(found, 1)


def test_where_all_is_linear_eap_is_exact() -> None:
    forward = additive([3.0, -1.0, 0.5])
    true, false = torch.ones(1, 4, dtype=torch.long), torch.zeros(1, 4, dtype=torch.long)
    examples = Examples(true, lambda logits: logits.sum((-1, -2)))
    ablated = forward.outputs(false)
    wanted = effects(forward, examples, ablated)
    assert wanted.abs().max() > 1
    for scores in (
        eap(forward, examples, ablated),
        eap_ig(forward, examples, ablated),
        eap_ig_activations(forward, examples, ablated),
    ):
        assert close(scores, wanted) < EXACT


def test_where_the_metric_is_quadratic_paths_are_exact() -> None:
    """Each edge of a model of parallel lines is all that its term depends on: the gradient in the
    middle of the path is the mean one, that at its start is double, the published points are off by
    1/steps."""
    forward = additive([3.0, -1.0, 0.5])
    true, false = torch.ones(1, 4, dtype=torch.long), torch.zeros(1, 4, dtype=torch.long)
    examples = Examples(true, lambda logits: logits.square().sum((-1, -2)))
    ablated = forward.outputs(false)
    wanted = effects(forward, examples, ablated)
    assert close(eap_ig(forward, examples, ablated, 1, "midpoint"), wanted) < EXACT
    assert close(eap_ig_activations(forward, examples, ablated, 1, "midpoint"), wanted) < EXACT
    assert close(clean_corrupt(forward, examples, ablated), wanted) < EXACT
    assert close(eap(forward, examples, ablated), 2 * wanted) < EXACT
    assert close(eap_ig(forward, examples, ablated, 10), 1.1 * wanted) < EXACT


def test_gates() -> None:
    """An OR that is true twice over has no slope: EAP sees neither input, a path sees both."""
    true, false = torch.ones(1, 1, dtype=torch.long), torch.zeros(1, 1, dtype=torch.long)
    examples = Examples(true, lambda logits: logits.sum((-1, -2)))
    for kind, by_eap, by_path in (("and", -1.0, -0.5), ("or", 0.0, -0.5)):
        forward = gate(kind)
        ablated = forward.outputs(false)
        inputs = [forward.graph.index[Edge(f"L0H{h}", "L0.mlp", "mlp")] for h in (0, 1)]
        out = forward.graph.index[Edge("L0.mlp", "logits", "logits")]
        scores = eap(forward, examples, ablated)[0]
        assert scores[inputs].tolist() == [by_eap] * 2 and scores[out] == -1
        scores = eap_ig(forward, examples, ablated, 200, "midpoint")[0]
        assert torch.allclose(scores[inputs], torch.tensor(by_path).double(), atol=5e-3)


@pytest.mark.parametrize("name", ["gpt2", "gpt_neox", "gemma2", "rotary", "attn_only"])
def test_paths_of_activations_are_complete(name: str) -> None:
    """The edges from what writes at once add up to removing all of them."""
    forward, examples, corrupt = small(name)
    graph, ablated = forward.graph, forward.outputs(corrupt)
    scores = eap_ig_activations(forward, examples, ablated, 60, "midpoint")
    everything = torch.ones(graph.n_edges, dtype=torch.bool)
    base = metric_of(forward, examples, everything, ablated)
    places = [["embed"]]
    for layer in range(graph.shape.n_layers):
        places.append([f"L{layer}H{head}" for head in range(graph.shape.n_heads)])
        places += [] if graph.shape.attn_only else [[f"L{layer}.mlp"]]
    sources = [edge.source for edge in graph.edges]
    for place in places:
        mine = torch.tensor([source in place for source in sources])
        effect = metric_of(forward, examples, ~mine, ablated) - base
        assert close(scores[:, mine].sum(1), effect) < 5e-3, place


def test_one_example_at_a_time() -> None:
    forward, examples, corrupt = small("gpt2")
    ablated = forward.outputs(corrupt)
    assert examples.reads is not None and examples.mask is not None
    for method in (eap, eap_ig, eap_ig_activations):
        whole = method(forward, examples, ablated)
        for row in range(3):
            one = slice(row, row + 1)
            part = Examples(examples.tokens[one], mixed, examples.reads[one], examples.mask[one])
            assert close(method(forward, part, ablated[:, one]), whole[one]) < EXACT


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.1)], ids=str
)
def test_precisions(dtype: torch.dtype, tolerance: float) -> None:
    """Scores are float32 at least, and whatever the caller's gradients are turned off."""
    forward, examples, corrupt = small("gpt2")
    wanted = eap_ig(forward, examples, forward.outputs(corrupt), 3)
    low = lowered(double("gpt2"), dtype)
    with torch.no_grad():
        other = EdgeForward(low, Graph(low.description.shape))
        scores = eap_ig(other, examples, other.outputs(corrupt), 3)
    assert scores.dtype == torch.float32
    assert close(scores.double(), wanted) < tolerance


def lowered(model: Compiled, dtype: torch.dtype) -> Compiled:
    def cast(part: object) -> object:
        if isinstance(part, Tensor):
            return part.to(dtype)
        if isinstance(part, tuple):
            return tuple(cast(item) for item in part)
        if hasattr(part, "__dataclass_fields__"):
            return replace(part, **{k: cast(v) for k, v in vars(part).items()})  # type: ignore[type-var]
        return part

    return Compiled(model.description, cast(model.weights))  # type: ignore[arg-type]


def test_points() -> None:
    assert points(4, "right") == [(0.0, 0.25), (0.25, 0.25), (0.5, 0.25), (0.75, 0.25)]
    assert points(2, "midpoint") == [(0.25, 0.5), (0.75, 0.5)]
    with pytest.raises(ValueError, match="1 step or more"):
        points(0, "right")
    with pytest.raises(ValueError, match="right, midpoint"):
        points(1, "left")


@pytest.mark.parametrize(
    ("task", "least"),
    [
        (induction, {"eap": (0.97, 0.99), "eap_ig": (0.94, 0.98), "activations": (0.96, 0.98)}),
        (ioi, {"eap": (0.92, 0.6), "eap_ig": (0.89, 0.98), "activations": (0.94, 0.98)}),
    ],
)
@torch.no_grad()
def test_trained_models(task: object, least: dict[str, tuple[float, float]]) -> None:
    """Estimates rank edges nearly as removing each of them does, by size (Spearman), and are in
    proportion to it (Pearson); on ioi-3l the plain gradient is not, while five steps are."""
    found = task()  # type: ignore[operator]
    forward, examples, ablated = found.forward, found.examples, found.ablated
    wanted = effects(forward, examples, ablated).mean(0)
    scores = {
        "eap": eap(forward, examples, ablated),
        "eap_ig": eap_ig(forward, examples, ablated),
        "activations": eap_ig_activations(forward, examples, ablated),
    }
    pearson = {}
    for name, (by_rank, by_size) in least.items():
        mine = scores[name].mean(0)
        assert ranks_agree(mine.abs(), wanted.abs()) > by_rank, name
        pearson[name] = float(torch.corrcoef(torch.stack([mine, wanted]))[0, 1])
        assert pearson[name] > by_size, name
    if task is ioi:
        assert pearson["eap"] < 0.8
