"""The largest values of rows and of batches, against sorting all of them."""

import pytest
import torch

from interp_dsl.dictionaries import selection
from interp_dsl.dictionaries.selection import Known, largest, largest_of_batch


@pytest.mark.parametrize(("rows", "width", "k"), [(5, 64, 3), (7, 41, 6), (3, 64, 30), (4, 8, 20)])
def test_the_largest_of_each_row(rows: int, width: int, k: int) -> None:
    pre = torch.randn(rows, width, generator=torch.Generator().manual_seed(0))
    values, index = largest(pre, k)
    wanted = pre.sort(1, descending=True).values[:, :k]
    assert torch.equal(values.sort(1, descending=True).values, wanted)
    assert torch.equal(pre.gather(1, index), values)
    assert all(len(set(row)) == len(row) for row in index.tolist())


@pytest.mark.parametrize("margin", [1.3, 0.01])
@pytest.mark.parametrize(
    ("rows", "width", "n"), [(9, 64, 20), (6, 41, 30), (4, 16, 64), (2, 8, 99)]
)
def test_the_largest_of_a_batch(
    rows: int, width: int, n: int, margin: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a bound that lets too few through it is lowered."""
    monkeypatch.setattr(selection, "MARGIN", margin)
    pre = torch.randn(rows, width, generator=torch.Generator().manual_seed(1))
    values, row, index = largest_of_batch(Known(pre), n)
    flat = pre.flatten().sort(descending=True).values[:n]
    assert torch.equal(values.sort(descending=True).values, flat[flat > 0])
    assert torch.equal(pre[row, index], values)
    assert row.tolist() == sorted(row.tolist())


def test_the_bound_is_lowered_where_a_sample_says_too_little(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(selection, "SAMPLE", 4)
    pre = torch.rand(50, 64, generator=torch.Generator().manual_seed(2))
    values, _, _ = largest_of_batch(Known(pre), 320)
    assert torch.equal(values.sort().values, pre.flatten().sort().values[-320:])


def test_what_is_no_number_stays_none() -> None:
    values, row, index = largest_of_batch(Known(torch.full((3, 8), torch.nan)), 4)
    assert values.isnan().all() and row.tolist() == index.tolist() == [0]
