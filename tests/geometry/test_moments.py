"""Moments gathered in parts are those of the whole."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from interp_dsl.geometry.moments import Moments


def activations(n: int, seed: int = 0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 5, generator=random, dtype=torch.float64)
    return x @ torch.randn(5, 5, generator=random, dtype=torch.float64) + 1e4


@pytest.mark.parametrize("cuts", [(), (1,), (0, 40), (13, 14, 90)])
def test_parts_add_up(cuts: tuple[int, ...]) -> None:
    x = activations(100)
    ends = [0, *cuts, 100]
    found = Moments.of(x[:0])
    for start, stop in pairwise(ends):
        found = found + Moments.of(x[start:stop])
    assert found.n == 100
    np.testing.assert_allclose(found.mean, x.mean(0), rtol=1e-12)
    expected = np.cov(x.numpy().T, bias=True)
    np.testing.assert_allclose(found.covariance, expected, rtol=1e-9)
    assert found.norm == pytest.approx(float(x.norm(dim=1).median()))


def test_components_are_those_of_the_covariance() -> None:
    x = activations(300, 1)
    values, vectors = Moments.of(x).components()
    _, sizes, rows = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    np.testing.assert_allclose(values, sizes**2 / 300, rtol=1e-8)
    assert ((vectors.T @ rows.T).abs() - torch.eye(5)).abs().max() < 1e-8
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    assert (largest > 0).all()


def test_a_factor_of_a_flat_cloud_has_its_rank() -> None:
    x = activations(50)[:, :2] @ torch.tensor([[1.0, 2, 0, 1], [0, 1, 1, 0]], dtype=torch.float64)
    found = Moments.of(x)
    values, vectors = found.components()
    factor = vectors * values.sqrt()
    assert factor.shape == (4, 2)
    np.testing.assert_allclose(factor @ factor.T, found.covariance, atol=1e-7)
