"""The edge-patched forward equals its formulas, on every family."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from interp_dsl.circuits.forward import EdgeForward
from interp_dsl.models.compiled.executor import CompiledExecutor
from interp_dsl.models.compiled.forward import Compiled
from interp_dsl.models.graph import Graph
from tests.circuits.models import double, executor_of
from tests.circuits.plain import Plain, close
from tests.models.running import MODELS

BATCH, LENGTH = 3, 6
EXACT = 1e-12
NAMES = ("gpt2", "gpt_neox", "gemma2", "rotary", "attn_only")


def tokens_of(name: str, seed: int, batch: int = BATCH) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    vocabulary = double(name).description.shape.d_vocab
    return torch.randint(0, vocabulary, (batch, LENGTH), generator=generator)


def masks() -> Tensor:
    """One row with a hole, one that begins with padding."""
    mask = torch.ones(BATCH, LENGTH, dtype=torch.bool)
    mask[1, 2] = mask[2, 0] = False
    return mask


def coins(*size: int, seed: int = 0) -> Tensor:
    return torch.rand(size, generator=torch.Generator().manual_seed(seed)) < 0.6


def pair(name: str, **options: bool) -> tuple[EdgeForward, Plain]:
    model = double(name)
    graph = Graph(model.description.shape, **options)
    return EdgeForward(model, graph), Plain(model, graph)


@pytest.mark.parametrize("name", MODELS)
def test_outputs(name: str) -> None:
    forward, plain = pair(name)
    tokens = tokens_of(name, 0)
    for mask in (None, masks()):
        assert close(forward.outputs(tokens, mask), plain.outputs(tokens, mask)) < EXACT


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_all_kept_is_the_model(name: str) -> None:
    forward, _ = pair(name)
    tokens = tokens_of(name, 0)
    ablated = forward.outputs(tokens_of(name, 1))
    kept = torch.ones(forward.graph.n_edges, dtype=torch.bool)
    executor = executor_of(name)
    for mask in (None, masks()):
        logits = forward.logits(tokens, kept, ablated, mask=mask)
        run = forward.run(forward.embedded(tokens), mask=mask)
        assert close(logits, run.logits) < EXACT
        assert close(logits.float(), executor.forward(tokens, None, mask=mask).logits) < 1e-6


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_none_kept_is_the_corrupt_run(name: str) -> None:
    forward, _ = pair(name)
    tokens, corrupt = tokens_of(name, 0), tokens_of(name, 1)
    kept = torch.zeros(forward.graph.n_edges, dtype=torch.bool)
    executor = executor_of(name)
    for mask in (None, masks()):
        run = forward.run(forward.embedded(corrupt), mask=mask)
        assert run.outputs is not None
        logits = forward.logits(tokens, kept, run.outputs, mask=mask)
        assert close(logits, run.logits) < EXACT
        assert close(logits.float(), executor.forward(corrupt, None, mask=mask).logits) < 1e-6


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_random_circuits(name: str) -> None:
    """One circuit for all examples and one an example; masks; by a corrupt run, zero, the mean."""
    forward, plain = pair(name)
    tokens = tokens_of(name, 0)
    corrupt = forward.outputs(tokens_of(name, 1))
    n_edges = forward.graph.n_edges
    for kept, mask in ((coins(n_edges), None), (coins(BATCH, n_edges), masks())):
        for ablated in (corrupt, torch.zeros_like(corrupt), corrupt.mean(1, keepdim=True)):
            mine = forward.logits(tokens, kept, ablated, mask=mask)
            assert close(mine, plain.logits(tokens, kept, ablated.expand_as(corrupt), mask)) < EXACT


@torch.no_grad()
def test_bias_before_a_norm() -> None:
    """The scale of a norm behind the attention holds for the bias as well."""
    model = double("gemma2")
    bias = torch.linspace(-1, 2, model.description.shape.d_model, dtype=torch.float64)
    blocks = tuple(replace(block, b_o=bias) for block in model.weights.blocks)
    biased = Compiled(model.description, replace(model.weights, blocks=blocks))
    graph = Graph(model.description.shape)
    forward, plain = EdgeForward(biased, graph), Plain(biased, graph)
    tokens, kept = tokens_of("gemma2", 0), coins(BATCH, graph.n_edges)
    ablated = forward.outputs(tokens_of("gemma2", 1))
    mine = forward.logits(tokens, kept, ablated)
    assert close(mine, plain.logits(tokens, kept, ablated)) < EXACT
    whole = CompiledExecutor(biased, executor_of("gemma2").facts, "").forward(tokens, None).logits
    assert close(forward.run(forward.embedded(tokens)).logits.float(), whole) < 1e-6


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "options",
    [{"split_qkv": False}, {"split_embed": True}, {"direct": True}],
    ids=lambda options: next(iter(options)),
)
@torch.no_grad()
def test_other_graphs(name: str, options: dict[str, bool]) -> None:
    forward, plain = pair(name, **options)
    tokens = tokens_of(name, 0)
    ablated = forward.outputs(tokens_of(name, 1))
    assert close(forward.outputs(tokens), plain.outputs(tokens)) < EXACT
    kept = coins(BATCH, forward.graph.n_edges)
    mine = forward.logits(tokens, kept, ablated)
    assert close(mine, plain.logits(tokens, kept, ablated)) < EXACT


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_shares_and_positions(name: str) -> None:
    """kept of numbers between 0 and 1, one a position."""
    forward, plain = pair(name)
    tokens = tokens_of(name, 0)
    ablated = forward.outputs(tokens_of(name, 1))
    kept = torch.rand(BATCH, forward.graph.n_edges, LENGTH, dtype=torch.float64)
    assert close(forward.logits(tokens, kept, ablated), plain.logits(tokens, kept, ablated)) < EXACT
    shared = forward.logits(tokens, kept[:1], ablated)
    assert close(shared, plain.logits(tokens, kept[:1].expand_as(kept), ablated)) < EXACT


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_reads(name: str) -> None:
    forward, _ = pair(name)
    tokens = tokens_of(name, 0)
    ablated, kept = forward.outputs(tokens_of(name, 1)), coins(BATCH, forward.graph.n_edges)
    reads = torch.tensor([[5, 1], [0, 0], [2, 4]])
    every = forward.logits(tokens, kept, ablated)
    some = forward.logits(tokens, kept, ablated, reads)
    rows = torch.arange(BATCH)[:, None]
    assert close(some, every[rows, reads]) < EXACT


@torch.no_grad()
def test_circuits_in_one_batch() -> None:
    """Rows are circuits x examples: each row is what it is alone."""
    forward, _ = pair("gpt2")
    tokens, corrupt = tokens_of("gpt2", 0), forward.outputs(tokens_of("gpt2", 1))
    circuits = coins(4, forward.graph.n_edges)
    kept = circuits.repeat_interleave(BATCH, 0)
    together = forward.logits(tokens.repeat(4, 1), kept, corrupt.repeat(1, 4, 1, 1))
    alone = [forward.logits(tokens, circuit, corrupt) for circuit in circuits]
    assert close(together, torch.cat(alone)) < EXACT


@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_inputs(name: str) -> None:
    """An edge's score by gradient is the derivative of the metric in what the edge keeps, and that
    the slope between two runs."""
    forward, _ = pair(name)
    tokens = tokens_of(name, 0)
    ablated = forward.outputs(tokens_of(name, 1))
    reads = torch.tensor([[5], [3], [4]])
    run = forward.run(forward.embedded(tokens), reads=reads, watch=True)
    assert run.outputs is not None
    gradients = torch.autograd.grad(run.logits[..., 0].sum(), run.inputs)
    scores = torch.cat(
        [
            torch.einsum("sbtd,mbtd->ms", (ablated - run.outputs)[: g.senders], grad).flatten()
            for g, grad in zip(forward.graph.groups, gradients, strict=True)
        ]
    )
    kept = torch.ones(forward.graph.n_edges, dtype=torch.float64, requires_grad=True)
    by_kept = torch.autograd.grad(forward.logits(tokens, kept, ablated, reads)[..., 0].sum(), kept)[
        0
    ]
    assert close(-scores, by_kept) < 1e-10
    with torch.no_grad():
        for edge in range(0, len(kept), 17):
            step = torch.zeros_like(kept)
            step[edge] = 1e-5
            up, down = (
                forward.logits(tokens, kept + sign * step, ablated, reads)[..., 0].sum()
                for sign in (1, -1)
            )
            slope = (up - down) / 2e-5
            assert abs(slope - by_kept[edge]) < 1e-5 * by_kept.abs().max()


def test_watching_a_circuit() -> None:
    """Inputs of a watched circuit are those of the formula, and its outputs come along."""
    forward, _ = pair("plain")
    tokens = tokens_of("plain", 0)
    ablated = forward.outputs(tokens_of("plain", 1))
    kept = coins(forward.graph.n_edges)
    run = forward.run(forward.embedded(tokens), kept, ablated, watch=True)
    assert run.outputs is not None
    biases = torch.zeros(forward.graph.shape.d_model, dtype=torch.float64)
    for group, inputs in zip(forward.graph.groups, run.inputs, strict=True):
        if group.channel in ("mlp", "logits"):
            layer = group.layer if group.layer is not None else forward.graph.shape.n_layers
            blocks = forward.model.weights.blocks[: layer + (group.channel == "mlp")]
            biases = sum((block.b_o for block in blocks), torch.zeros_like(biases))
            row = kept[group.edges].view(-1, 1, 1, 1)
            senders = slice(0, group.senders)
            wanted = torch.where(row, run.outputs[senders], ablated[senders]).sum(0) + biases
            assert close(inputs[0], wanted) < EXACT
