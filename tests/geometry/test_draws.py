"""Draws by counters: their distribution, and what they depend on."""

from __future__ import annotations

import torch

from interp_dsl.geometry.draws import below, hashed, normals


def counters(*sizes: int) -> tuple[torch.Tensor, ...]:
    grids = torch.meshgrid(*(torch.arange(n) for n in sizes), indexing="ij")
    return tuple(grids)


def test_a_draw_depends_on_its_counters_alone() -> None:
    whole = normals(3, "random", counters(4, 5, 6), 7)
    number, example, position = (torch.tensor([i]) for i in (2, 4, 3))
    one = normals(3, "random", (number, example, position), 7)
    assert torch.equal(one[0], whole[2, 4, 3])
    assert not torch.equal(one, normals(4, "random", (number, example, position), 7))
    assert not torch.equal(one, normals(3, "covariance", (number, example, position), 7))
    assert not torch.equal(one, normals(3, "random", (number, position, example), 7))


def test_draws_are_independent_and_normal() -> None:
    x = normals(0, "random", counters(200, 100), 16).double()
    assert x.mean().abs() < 4 / x.numel() ** 0.5
    covariance = torch.einsum("nmi,nmj->ij", x, x) / 20_000
    assert (covariance - torch.eye(16)).abs().max() < 0.05
    assert abs(float((x**4).mean()) - 3) < 0.05
    for shift in (x[1:] * x[:-1], x[:, 1:] * x[:, :-1]):
        assert shift.mean().abs() < 4 / shift.numel() ** 0.5
    inside = (x.abs() < 1).double().mean()
    assert abs(float(inside) - 0.6827) < 0.003


def test_numbers_below_n_are_even() -> None:
    found = below(hashed(0, "d", *counters(700, 100)), 7)
    counts = torch.bincount(found.flatten(), minlength=7)
    assert len(counts) == 7
    chi = ((counts - 10_000) ** 2 / 10_000).sum()
    assert chi < 22.5  # the 99.9 % point of six degrees of freedom
