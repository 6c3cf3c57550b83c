"""The bootstrap against transformer_lens's own, and when an effect is normalised."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformer_lens.utilities.statistics import bootstrap_ci, derive_generator
from transformer_lens.utilities.statistics import standard_error as theirs

from interp_dsl.engine.statistics import (
    bounds,
    gap,
    generator,
    median_bounds,
    resampling,
    standard_error,
)
from tests.largest import Largest


@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_the_bounds_of_a_median_are_those_of_medians_of_resamples(n: int) -> None:
    values = torch.randn(n, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    counts = (resampling(n, 3) * n).round().long()
    medians = [np.median(np.repeat(values.numpy(), row)) for row in counts.numpy()]
    expected = np.quantile(medians, [0.025, 0.975])
    np.testing.assert_allclose(median_bounds(values, 3), expected, atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 17, 128, 1500])
def test_same_draws_as_transformer_lens(n: int) -> None:
    values = torch.randn(n, 9, generator=torch.Generator().manual_seed(n)).double()
    low, high = bounds(values, seed=7)
    wanted = bootstrap_ci(values, dim=0, generator=derive_generator(7))
    torch.testing.assert_close((low, high), wanted, rtol=0, atol=1e-6)


def test_resamples_of_many_examples_are_never_held_together() -> None:
    """Weights of so many examples would take 8 bytes for each of them and each resample."""
    values, n = torch.ones(6000, 1).double(), 6000
    with Largest() as largest:
        low, high = bounds(values, seed=11)
    assert float(low) == pytest.approx(1) == float(high)
    assert largest.bytes < 3 * n * 1000


def test_more_cells_than_one_chunk() -> None:
    values = torch.randn(6, 5000, generator=torch.Generator().manual_seed(0)).double()
    low, high = bounds(values, seed=0)
    alone = bounds(values[:, 4321:4322], seed=0)
    assert (low[4321], high[4321]) == (alone[0][0], alone[1][0])


def test_generators_by_label() -> None:
    def drawn(g: torch.Generator) -> list[float]:
        return torch.rand(3, generator=g).tolist()

    assert drawn(generator(3, "a", 1)) == drawn(derive_generator(3, "a", 1))
    assert drawn(generator(3, "a", 1)) != drawn(generator(3, "a", 2))


def test_weights_of_a_resample_sum_to_one() -> None:
    weights = resampling(13, 0)
    assert weights.shape == (1000, 13)
    torch.testing.assert_close(weights.sum(1), torch.ones(1000).double())


def test_standard_error() -> None:
    values = torch.randn(40, generator=torch.Generator().manual_seed(0)).double()
    assert standard_error(values) == pytest.approx(float(theirs(values)))
    assert standard_error(values[:1]) == 0


@pytest.mark.parametrize(
    ("differences", "in_logits", "wanted"),
    [
        ([1.0, 1.0, 1.0], True, 1.0),
        ([0.4, 0.4, 0.4], True, None),
        ([0.4, 0.4, 0.4], False, 0.4),
        ([0.0, 0.0], False, None),
        ([-2.0], True, -2.0),
        ([3.0, -2.0, 2.0], True, None),
        ([3.0, 1.0, 2.0], True, 2.0),
    ],
)
def test_a_gap_worth_dividing_by(
    differences: list[float], in_logits: bool, wanted: float | None
) -> None:
    base = torch.linspace(0, 3, len(differences))
    found = gap(base, base + torch.tensor(differences), in_logits)
    assert found == (None if wanted is None else pytest.approx(wanted, abs=1e-6))


def test_no_gap_without_another_run() -> None:
    assert gap(torch.zeros(3), None, True) is None
