"""What stands in an activation's place, by its length and its angle; features chosen by rank."""

from __future__ import annotations

import pytest
import torch

from interp_dsl.geometry.reconstruction import HOWS, chosen, substituted

X = torch.randn(50, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = 0.7 * X + 0.4 * torch.randn(50, 16, generator=torch.Generator().manual_seed(1)).double()
RANDOM = torch.randn(50, 16, generator=torch.Generator().manual_seed(2)).double()


def cosine(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cosine_similarity(a, b, dim=-1)


def test_lengths_and_angles_are_those_that_a_substitute_keeps() -> None:
    found = {how: substituted(how, X, Y, RANDOM) for how in HOWS}
    long, short = X.norm(dim=1), Y.norm(dim=1)
    for how, length in zip(HOWS, (short, long, short, short), strict=True):
        torch.testing.assert_close(found[how].norm(dim=1), length)
    torch.testing.assert_close(found["error"], Y)
    torch.testing.assert_close(cosine(found["error_kept"], Y), torch.ones(50).double())
    torch.testing.assert_close(cosine(found["shrinkage"], X), torch.ones(50).double())
    torch.testing.assert_close(cosine(found["rotated"], X), cosine(Y, X))
    assert float(cosine(found["rotated"], Y).abs().max()) < 0.999
    torch.testing.assert_close((found["rotated"] - X).norm(dim=1), (Y - X).norm(dim=1))


@pytest.mark.parametrize("how", HOWS)
def test_a_perfect_reconstruction_is_the_activation(how: str) -> None:
    torch.testing.assert_close(substituted(how, X, X, RANDOM), X)


def test_features_are_chosen_by_their_rank_among_the_allowed() -> None:
    allowed = torch.tensor([[0, 1, 0, 1, 1], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]]).bool()
    draws = torch.tensor([[0, 1, 2], [0, 0, 0], [0, 0, 0]])
    assert chosen(allowed, draws).tolist() == [[1, 3, 4], [0, 0, 0], [-1, -1, -1]]
