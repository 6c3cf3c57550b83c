"""Directions and edges that a planted network needs."""

import itertools

import torch
from torch import Tensor

from interp_dsl.geometry import ablation
from interp_dsl.geometry import interaction_basis as ib


def test_counts_grow_by_a_twentieth() -> None:
    assert ablation.counts(4) == [1, 2, 3, 4]
    found = ablation.counts(128)
    assert found[:10] == list(range(1, 11)) and found[-1] == 128
    assert all(b <= a * 1.05 + 1 for a, b in itertools.pairwise(found[9:]))


def planted() -> tuple[ib.Stage, Tensor, ib.Basis, ib.Basis]:
    """y = (3 x0, 2 x1, 1 x2, 0): three edges are needed, x3 varies most and is not read."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(300, 1, 4, generator=generator, dtype=torch.float64)
    x[..., 3] *= 10
    gains = torch.tensor([3.0, 2.0, 1.0, 0.0]).double()

    def stage(f: Tensor, rows: slice) -> Tensor:
        return f * gains

    below, above = ib.moments(x), ib.moments(stage(x, slice(0, 300)))
    return stage, x, ib.neurons(*below), ib.neurons(*above)


def test_the_least_number_of_edges_is_found() -> None:
    stage, x, below, above = planted()
    whole = stage(x, slice(0, 300))

    def score(y: Tensor) -> float:
        return -float((y - whole).square().mean())

    [edges] = ib.edges(stage, x, [(below, above)])
    assert (edges > 1e-9).sum() == 3

    def required(target: float) -> int | None:
        rest = ib.composed([])
        return ablation.edges_required(stage, rest, x, (below, above), edges, score, target)

    variance = whole[..., 2].var(unbiased=False) / 4
    assert required(-1e-12) == 3
    assert required(-1.01 * float(variance)) == 2
    assert required(-1e9) == 0 and required(1.0) is None


def test_nodes_are_kept_from_the_greatest_down() -> None:
    stage, x, below, _ = planted()
    whole = stage(x, slice(0, 300))

    def score(y: Tensor) -> float:
        return -float((y - whole).square().mean())

    by_variance = list(ablation.ablate_nodes(stage, x, below, [1, 4], score))
    assert below.to.argmax(0)[0] == 3  # the greatest variance is of what is not read
    assert by_variance[1] > -1e-20
    expected = -float(whole.flatten(0, 1).var(0, unbiased=False).sum() / 4)
    assert abs(by_variance[0] - expected) < 1e-9
    basis = list(ib.bases([stage], [x, whole]))[1]["interaction"]
    assert len(basis.values) == 3
    assert next(ablation.ablate_nodes(stage, x, basis, [3], score)) > -1e-20


def test_a_mask_of_all_edges_is_the_stage_and_one_of_single_edges_its_parts() -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(50, 2, 3, generator=generator, dtype=torch.float64)
    weight = torch.randn(3, 3, generator=generator, dtype=torch.float64)

    def stage(f: Tensor, rows: slice) -> Tensor:
        return (f @ weight).tanh()

    y = stage(x, slice(0, 50))
    below, above = ib.neurons(*ib.moments(x)), ib.neurons(*ib.moments(y))
    every = torch.ones(3, 3, dtype=torch.bool)
    assert torch.allclose(ablation.masked(stage, x, below, above, every), y, atol=1e-12)
    kept = torch.tensor([[True, False, False], [False, False, False], [True, False, True]])
    out = above.coordinates(ablation.masked(stage, x, below, above, kept))
    h = below.coordinates(x)
    for at, row in enumerate(kept):
        alone = above.coordinates(stage(below.activations(h * row), slice(0, 50)))
        assert torch.allclose(out[..., at], alone[..., at], atol=1e-12)
