"""Counts of free parameters against the rank of the behavioural loss's Hessian."""

import pytest
import torch
from torch import Tensor, nn

from interp_dsl.geometry import degeneracy as dg


def count(eigenvalues: Tensor) -> int:
    return dg.rank(eigenvalues, 1e-10)


def net(first: Tensor, second: Tensor) -> nn.Module:
    model = nn.Sequential(
        nn.Linear(first.shape[1], len(first), bias=False),
        nn.ReLU(),
        nn.Linear(second.shape[1], len(second), bias=False),
    ).double()
    with torch.no_grad():
        model[0].weight.copy_(first)
        model[2].weight.copy_(second)
    return model


def random(*size: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*size, generator=generator, dtype=torch.float64)


def test_ranks_of_activations_and_jacobians_count_a_linear_layer() -> None:
    """Activations of rank 3, Jacobians of rank 2 in a layer of 6 x 7: 6 of 42 directions matter."""
    x = random(200, 3) @ random(3, 6, seed=1)
    read = random(4, 2, seed=2) @ random(2, 7, seed=3)
    model = nn.Sequential(nn.Linear(6, 7, bias=False), nn.Linear(7, 4, bias=False)).double()
    with torch.no_grad():
        model[1].weight.copy_(read)
    eigenvalues = dg.hessian_spectrum(model, x, ["0.weight"])
    assert len(eigenvalues) == 42 and count(eigenvalues) == 6
    activations, jacobians = dg.spectrum(x), dg.spectrum(read)
    r1, r2 = dg.rank(activations), dg.rank(jacobians)
    assert (r1, r2) == (3, 2) and dg.free_directions(6, 7, r1, r2) == 36
    assert dg.effective_parameters(activations, jacobians) == 6
    products = torch.outer(jacobians, activations).flatten().sort(descending=True).values
    assert torch.allclose(eigenvalues[:6], 4 * products[:6], rtol=1e-9)


def test_relu_neurons_are_free_up_to_their_scale() -> None:
    model = net(random(5, 6), random(3, 5, seed=1))
    assert count(dg.hessian_spectrum(model, random(400, 6, seed=2))) == 45 - 5


def test_a_parallel_pair_of_neurons_frees_three_more() -> None:
    first = random(5, 6)
    first[1] = 2 * first[0]
    model = net(first, random(3, 5, seed=1))
    x = random(400, 6, seed=2)
    assert count(dg.hessian_spectrum(model, x)) == 37
    assert dg.synchronised(x @ first.T) == ((0, 1),)


def test_a_synchronised_pair_acts_as_one_linear_map() -> None:
    """Two neurons on for the same inputs: (6 + 3) 2 - 2^2 = 14 directions, not 2 (6 + 3 - 1)."""
    first = random(5, 6)
    first[1] = first[0] + 0.3 * random(6, seed=7)
    x = random(2000, 6, seed=2)
    x = x[((x @ first[0] > 0) == (x @ first[1] > 0))]
    model = net(first, random(3, 5, seed=1))
    assert count(dg.hessian_spectrum(model, x)) == 3 * 8 + 14
    assert dg.synchronised(x @ first.T) == ((0, 1),)


def test_the_spectrum_is_that_of_the_behavioural_loss() -> None:
    model = net(random(3, 4), random(2, 3, seed=1))
    x = random(50, 4, seed=2)
    parameters = torch.cat([p.detach().flatten() for p in model.parameters()])
    target = model(x).detach()

    def loss(flat: Tensor) -> Tensor:
        first, second = flat[:12].view(3, 4), flat[12:].view(2, 3)
        return ((x @ first.T).relu() @ second.T - target).square().sum(1).mean()

    hessian = torch.autograd.functional.hessian(loss, parameters) / 2
    expected = torch.linalg.eigvalsh(hessian).flip(0)
    assert torch.allclose(dg.hessian_spectrum(model, x), expected, atol=1e-10 * expected[0])


class Behind(nn.Module):
    """A matrix applied at each of three positions; what follows mixes them in a curved way."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 5, bias=False).double()
        self.first.weight.data.copy_(random(5, 4))
        self.last = random(15, 6, seed=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.behind(self.first(x))

    def behind(self, out: Tensor) -> Tensor:
        return (out.flatten(-2).tanh() @ self.last).sigmoid()


def test_the_hessian_of_one_matrix_needs_no_row_of_its_jacobian() -> None:
    """From activations and slopes alone as from all derivatives; with many examples, and with few,
    whose outputs are fewer than the matrix's numbers."""
    model = Behind()
    for n in (2, 40):
        x = random(n, 3, 4, seed=3)
        out = model.first(x).detach()
        slopes = torch.stack([torch.autograd.functional.jacobian(model.behind, o) for o in out])
        found = dg.matrix_hessian_spectrum(x, slopes)
        expected = dg.hessian_spectrum(model, x, ["first.weight"])
        assert len(found) == len(expected) == min(20, 6 * n)
        assert torch.allclose(found, expected, atol=1e-12 * float(expected[0]))
        assert count(found) == min(20, 6 * n)


def test_few_examples_bound_the_rank() -> None:
    model = net(random(5, 6), random(3, 5, seed=1))
    eigenvalues = dg.hessian_spectrum(model, random(4, 6, seed=2))
    assert len(eigenvalues) == 12 and count(eigenvalues) == 12


@pytest.mark.parametrize(("agreement", "groups"), [(0.999, ((0, 2),)), (0.9, ((0, 1, 2),))])
def test_synchronised_neurons_by_agreement(
    agreement: float, groups: tuple[tuple[int, ...], ...]
) -> None:
    on = torch.zeros(100, 5)
    on[:50, [0, 2]] = 1
    on[:45, 1] = 1
    on[::2, 3] = 1
    assert dg.synchronised(on - 0.5, agreement) == groups
