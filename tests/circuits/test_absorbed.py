"""Attention without keys and values of its own gives what attention with them gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from interp_dsl.circuits import absorbed
from interp_dsl.circuits.absorbed import Source
from interp_dsl.circuits.forward import EdgeForward
from interp_dsl.circuits.layer import Layer, by_head
from interp_dsl.circuits.prompts import Prompts
from interp_dsl.circuits.rows import picked
from interp_dsl.models.graph import Graph, Ints
from tests.circuits.models import double

CANDIDATES, BATCH, LENGTH = 3, 2, 6
READS = torch.tensor([[5], [3]])
PADDED = torch.tensor([[1] * 6, [0, 1, 1, 1, 1, 0]], dtype=torch.bool)


def case(name: str, mask: Tensor | None) -> tuple[Layer, Prompts]:
    model = double(name)
    forward = EdgeForward(model, Graph(model.description.shape))
    return forward.layers[1], Prompts(model, LENGTH, mask, READS)


def projected(layer: Layer, h: Tensor, part: str, heads: Ints) -> Tensor:
    return layer.project(h, part, torch.arange(LENGTH), heads)


@pytest.mark.parametrize("mask", [None, PADDED], ids=["whole", "padded"])
@pytest.mark.parametrize("name", ["gpt2", "rotary", "mistral", "qwen3", "gemma2", "bidirectional"])
def test_attends_as_with_keys_and_values(name: str, mask: Tensor | None) -> None:
    """Of some heads the inputs of keys, of others those of values are new: of one head its own, of
    two the same; a head's queries see what it kept elsewhere."""
    layer, prompts = case(name, mask)
    shape = layer.model.description.shape
    heads = np.arange(shape.n_heads)
    torch.manual_seed(0)
    q = torch.randn(len(heads), CANDIDATES, BATCH, 1, shape.d_head).double()
    own, shared = torch.randn(2, 1, CANDIDATES, BATCH, LENGTH, shape.d_model).double()
    first, others = heads[:1], heads[1:]
    kept = torch.randn(len(heads), 1, BATCH, LENGTH, shape.d_head).double()
    keys = torch.cat(
        [projected(layer, own, "k", first), kept[1:].expand(-1, CANDIDATES, -1, -1, -1)]
    )
    values = torch.cat(
        [kept[:1].expand(-1, CANDIDATES, -1, -1, -1), projected(layer, shared, "v", others)]
    )
    wanted = layer.attend(q, keys, values, prompts, narrow=True)
    linear, everyone = absorbed.absorbs_keys(layer), np.arange(CANDIDATES)
    assert linear == (name in ("gpt2", "bidirectional"))
    new = Source(first, everyone, own if linear else keys[:1], linear)
    found = absorbed.attended(
        layer,
        prompts,
        heads,
        q,
        [Source(others, everyone, kept[1:], False), new],
        [Source(first, everyone, kept[:1], False), Source(others, everyone, shared, True)],
    )
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("heads", [[0, 1, 2], [2, 2, 2], [1, 1, 3], [3, 0, 0, 1], [2]])
def test_each_row_is_multiplied_by_its_own_head(heads: list[int]) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(len(heads), 2, 5, 3).double(), torch.randn(4, 3, 7).double()
    found = by_head(x, weight, np.array(heads))
    with torch.no_grad():
        plain = by_head(x, weight, np.array(heads))
    wanted = torch.einsum("nbta,nac->nbtc", x, weight[heads])
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(plain, wanted)


@pytest.mark.parametrize("rows", [[], [1], [1, 2, 3], [2, 2, 2], [3, 1, 1]])
def test_picked_are_the_rows_asked_for(rows: list[int]) -> None:
    x = torch.arange(12.0).view(4, 3)
    assert picked(x, np.array(rows, dtype=np.int64)).tolist() == x[rows].tolist()


@pytest.mark.parametrize(
    ("sizes", "pays"), [((1, 8, 8), True), ((2, 40, 4), False), ((8, 8, 64), False)]
)
def test_pays_where_queries_are_few(sizes: tuple[int, int, int], pays: bool) -> None:
    """Multiplications of one head with d_model 1: keys and values, against both absorbed."""
    n_queries, n_keys, d_head = sizes
    assert absorbed.pays(n_queries, n_keys, d_head) == pays
    if pays:
        plain = 2 * n_keys * d_head
        assert 2 * (n_queries * d_head + n_queries * n_keys) <= plain / 2 + 1e-9
