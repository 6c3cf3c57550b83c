"""Planes through three activations, and a planted map of regions."""

from __future__ import annotations

import torch
from torch import Tensor

from interp_dsl.geometry.planes import foot, similarities


def drawn(*sizes: int, seed: int = 0) -> Tensor:
    return torch.randn(sizes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_third_activation_lies_at_its_foot_and_one_height() -> None:
    a, b, c = drawn(3, 5, 2, 8)
    share, across = foot(a, b, c)
    along = (b - a).flatten(1)
    assert float((along * across.flatten(1)).sum(1).abs().max()) < 1e-12
    torch.testing.assert_close(a + share[:, None, None] * (b - a) + across, c)
    share, across = foot(a, a, c)
    assert share.tolist() == [0] * 5
    torch.testing.assert_close(across, c - a)


def test_planted_regions_are_those_of_the_nearest_centre() -> None:
    """A model that answers with the output of the nearest centre, all but softly."""
    centres, values = drawn(3, 6) * 3, torch.eye(3, dtype=torch.float64)
    a, b, c = centres

    def model(x: Tensor) -> Tensor:
        return (-50 * torch.cdist(x, centres).square()).softmax(1) @ values

    share, across = foot(a[None, None], b[None, None], c[None, None])
    ticks = torch.linspace(-0.25, 1.25, 25, dtype=torch.float64)
    points = torch.stack([a + s * (b - a) + t * across[0, 0] for t in ticks for s in ticks])
    found = similarities(model(points), model(centres))
    torch.testing.assert_close(found.argmax(1), torch.cdist(points, centres).argmin(1))
    corners = torch.stack([a, b, a + share[0] * (b - a) + across[0, 0]])
    torch.testing.assert_close(similarities(model(corners), model(centres)), values)
    assert float(found.min()) >= 0 and float(found.max()) <= 1


def test_outputs_that_are_all_the_same_are_alike() -> None:
    assert similarities(torch.ones(2, 4), torch.ones(3, 4)).tolist() == [[1, 1, 1]] * 2
