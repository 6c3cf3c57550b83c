"""Directions against what is known of a linear and of a softmax read-out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from interp_dsl.geometry.directions import (
    along_arc,
    another,
    covariance_mixture,
    drawn_others,
    isotropic,
    real_mixture,
    sampled,
    unit,
)
from interp_dsl.geometry.moments import Moments

D, N = 64, 40_000


def gaussian(n: int = N, seed: int = 0, scale: float = 1.0) -> Tensor:
    """Activations whose spectrum falls slowly."""
    random = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(D, D, generator=random, dtype=torch.float64))[0]
    sizes = torch.linspace(0.5, 2, D, dtype=torch.float64) * scale
    z = torch.randn(n, D, generator=random, dtype=torch.float64)
    return (z * sizes) @ basis.T + 3 * basis[:, 0]


def counters(n: int, number: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    examples = torch.arange(n)
    return torch.full_like(examples, number), examples, torch.zeros_like(examples)


def factor(moments: Moments) -> Tensor:
    values, vectors = moments.components()
    return vectors * values.sqrt()


def quadratic(seed: int = 5) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    w = torch.randn(D, D, generator=random, dtype=torch.float64) / D**0.5
    return w.T @ w


def test_a_linear_read_out_is_moved_by_the_quadratic_form() -> None:
    """E t²uᵀAu is t² tr A / d of random directions, t² tr AΣ / tr Σ of mixtures, A the read-out's
    own form (science: 5 % for the second, which holds in the limit of many dimensions)."""
    a, x, t = quadratic(), gaussian(), 3.0
    moments = Moments.of(x)
    sigma, mixed_by = moments.covariance, factor(moments)

    def mean(v: Tensor) -> float:
        u = t * unit(v.double())[0]
        return float(torch.einsum("nd,de,ne->n", u, a, u).mean())

    assert mean(isotropic(0, counters(N), D)) == pytest.approx(
        float(t**2 * a.trace() / D), rel=0.01
    )
    expected = float(t**2 * (a @ sigma).trace() / sigma.trace())
    assert mean(covariance_mixture(0, counters(N), mixed_by)) == pytest.approx(expected, rel=0.05)
    real = real_mixture(0, counters(N), x, torch.arange(N))
    mixed = covariance_mixture(1, counters(N), mixed_by)
    assert mean(real) == pytest.approx(mean(mixed), rel=0.02)


def test_divergence_of_a_softmax_is_fishers_form() -> None:
    """KL(p || q) → t²/2 uᵀWᵀ(diag p − ppᵀ)Wu: within 1 % at t = 0.1, to 4 figures at 1e-3."""
    random = torch.Generator().manual_seed(2)
    w = torch.randn(50, D, generator=random, dtype=torch.float64) * 0.2
    x = gaussian(500)
    u = unit(isotropic(0, counters(500), D).double())[0]
    p = (x @ w.T).softmax(1)
    wu = u @ w.T
    fisher = (p * wu**2).sum(1) - (p * wu).sum(1) ** 2

    def ratio(t: float) -> float:
        logp, logq = ((x + s * u) @ w.T for s in (0.0, t))
        logp, logq = logp.log_softmax(1), logq.log_softmax(1)
        kl = (logp.exp() * (logp - logq)).sum(1)
        return float(kl.mean() / (t**2 / 2 * fisher.mean()))

    assert ratio(1e-3) == pytest.approx(1.0, abs=1e-4)
    assert ratio(1e-1) == pytest.approx(1.0, abs=1e-2)


def test_a_direction_toward_another_activation_shrinks_and_a_mixture_does_not() -> None:
    """Toward another holds −x: its mean cosine with x − mean is near −1/√2; a mixture's is 0."""
    x = gaussian(20_000)
    moments = Moments.of(x)
    centred = unit(x - moments.mean)[0]

    def cosine(v: Tensor) -> float:
        return float((unit(v.double())[0] * centred).sum(1).mean())

    own = torch.arange(len(x))
    toward = another(0, counters(len(x)), x, own) - x
    drawn = sampled(0, counters(len(x)), moments.mean, factor(moments)) - x
    assert cosine(toward) == pytest.approx(-(0.5**0.5), abs=0.02)
    assert cosine(drawn) == pytest.approx(-(0.5**0.5), abs=0.02)
    assert abs(cosine(real_mixture(0, counters(len(x)), x, own))) < 0.01
    assert abs(cosine(covariance_mixture(0, counters(len(x)), factor(moments)))) < 0.01


def test_samples_have_the_moments_they_are_drawn_by() -> None:
    moments = Moments.of(gaussian(2_000))
    found = Moments.of(sampled(0, counters(N), moments.mean, factor(moments)))
    np.testing.assert_allclose(found.mean, moments.mean, atol=0.05)
    difference = (found.covariance - moments.covariance).abs().max()
    assert difference < 0.04 * moments.covariance.abs().max()


def test_others_are_others() -> None:
    own = torch.arange(5).repeat(2_000)
    own[:1_000] = -1
    first, second = drawn_others(0, "difference", counters(len(own)), 5, own, 2)
    assert not ((first == own) | (second == own) | (first == second)).any()
    pairs = torch.bincount((first * 5 + second)[own == 2], minlength=25).view(5, 5)
    assert (pairs > 0).sum() == 12  # every ordered pair of the other four
    chances = pairs[pairs > 0].double() / pairs.sum()
    assert (chances - 1 / 12).abs().max() < 0.02
    free = torch.bincount((first * 5 + second)[own == -1], minlength=25).view(5, 5)
    assert (free > 0).sum() == 20
    with pytest.raises(ValueError, match="2 others"):
        drawn_others(0, "difference", counters(1), 2, own[:1], 2)


def test_a_vector_without_length_stays() -> None:
    u, length = unit(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    assert u.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0, 0]]
    assert length.tolist() == [[5.0], [0.0]]


def test_an_arc_keeps_lengths_and_angles() -> None:
    a, b = gaussian(20, 1), 2 * gaussian(20, 2)
    for share in (0.0, 0.25, 0.5, 1.0):
        x = along_arc(a, b, torch.tensor(share, dtype=torch.float64))
        expected = (1 - share) * a.norm(dim=1) + share * b.norm(dim=1)
        np.testing.assert_allclose(x.norm(dim=1), expected)
        angle = (unit(a)[0] * unit(b)[0]).sum(1).arccos()
        mine = (unit(a)[0] * unit(x)[0]).sum(1).clamp(-1, 1).arccos()
        np.testing.assert_allclose(mine, share * angle, atol=1e-6)
    np.testing.assert_allclose(along_arc(a, b, torch.tensor(1.0)), b, atol=1e-9)
    chord = along_arc(a, 3 * a, torch.tensor(0.5))
    np.testing.assert_allclose(chord, 2 * a)
    assert torch.equal(along_arc(a, 0 * a, torch.tensor(0.5)), a / 2)
