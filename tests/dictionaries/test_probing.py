"""Sparse probes: the regression by its slope and by Newton's method, planted labels, divisions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from interp_dsl.dictionaries.probing import divided, fitted, regression


def _drawn(*sizes: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*sizes, generator=generator, dtype=torch.float64)


def _newton(x: Tensor, y: Tensor) -> Tensor:
    """The same minimum by Newton's method on the class's probability."""
    inputs = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)
    theta = torch.zeros(inputs.shape[1], dtype=x.dtype)
    ridge = torch.ones_like(theta)
    ridge[-1] = 0
    for _ in range(50):
        p = (inputs @ theta).sigmoid()
        slope = ridge * theta + inputs.T @ (p - y.double())
        bend = ridge.diag() + inputs.T @ (inputs * (p * (1 - p))[:, None])
        theta = theta - torch.linalg.solve(bend, slope)
    return theta


@pytest.mark.parametrize("k", [1, 5, 40])
def test_the_regression_is_newtons(k: int) -> None:
    x = 2 * _drawn(60, k)
    y = (x[:, 0] + _drawn(60, seed=1)) > 0
    weight, bias = regression(x, y)
    wanted = _newton(x, y)
    torch.testing.assert_close(
        torch.cat([weight, torch.tensor([bias])]), wanted, rtol=1e-3, atol=1e-4
    )


def test_the_features_whose_means_differ_most_are_taken() -> None:
    x, y = _drawn(80, 12), torch.arange(80) % 2 == 0
    x[y, 7] += 5
    x[~y, 3] += 2
    probe = fitted(x, y, 2)
    assert probe.features.tolist() == [7, 3]
    means = [float(x[y, j].mean() - x[~y, j].mean()) for j in (7, 3)]
    assert probe.difference.tolist() == pytest.approx(means)
    assert probe.weight[0] > 0 > probe.weight[1]
    assert float(probe.is_right(x, y).double().mean()) > 0.95
    assert float(probe.is_right(x, ~y).double().mean()) < 0.05
    assert len(fitted(x, y, None).features) == 12


def test_divisions_are_balanced_and_nothing_is_tried_that_was_learned() -> None:
    sizes = (30, 12, 18)
    label = torch.cat([torch.full((n,), c) for c, n in enumerate((*sizes, 1))])
    label[-1] = -1  # of no class
    for c, division in enumerate(divided(label, 3, 0.25, seed=3)):
        (learned, own), (tried, theirs) = division.learned, division.tried
        assert not {*learned.tolist()} & {*tried.tolist()}
        for examples, is_own in ((learned, own), (tried, theirs)):
            assert len(set(examples.tolist())) == len(examples) == 2 * int(is_own.sum())
            assert ((label[examples] == c) == is_own).all() and (label[examples] >= 0).all()
        assert int(theirs.sum()) == (7, 3, 4)[c]  # of the others 3 + 4 are tried, not 8
        others = torch.bincount(label[learned[~own]], minlength=3).tolist()
        assert others[c] == 0 and sum(others) == int(own.sum())
    same = divided(label, 3, 0.25, seed=3)[0].learned[0]
    assert torch.equal(same, divided(label, 3, 0.25, seed=3)[0].learned[0])
    assert not torch.equal(same, divided(label, 3, 0.25, seed=4)[0].learned[0])
