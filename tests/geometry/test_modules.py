"""Modules of chains with planted blocks."""

import torch

from interp_dsl.geometry import interaction_basis as ib
from interp_dsl.geometry.modules import Module, logarithmic, modules
from tests.geometry.planted import two_blocks


def test_weights_are_orders_of_magnitude_over_the_least_edge() -> None:
    edges = torch.tensor([[100.0, 1.0], [0.0, 10.0]])
    assert logarithmic([edges, edges.T], [1.0, 0.1]) == [
        (0, 2, 2.0),
        (1, 3, 1.0),
        (2, 4, 3.0),
        (2, 5, 1.0),
        (3, 5, 2.0),
    ]


def test_two_hidden_blocks_are_two_modules() -> None:
    stages, layers = two_blocks(torch.relu)
    held = list(ib.bases(stages, layers))[::-1]
    edges = [
        ib.edges(s, f, [(below["interaction"], above["interaction"])])[0]
        for s, f, below, above in zip(stages, layers, held, held[1:], strict=False)
    ]
    found = modules(edges, [1e-9 * float(e.max()) for e in edges])
    table = found.table
    assert [(m.first, m.last) for m in table] == [(0, 3), (0, 3)]
    assert sum(m.size for m in table) == sum(map(len, found.labels))
    assert 0.45 < found.modularity <= 0.5 and found.share == 1


def test_directions_without_edges_are_no_module() -> None:
    found = modules([torch.tensor([[10.0, 0.0], [0.0, 0.0]])], [1.0])
    assert found.table == [Module(0, 2, 0, 1)]
    assert len(set(found.labels[0] + found.labels[1])) == 3
