"""Sparse codes give what dense ones give."""

import torch

from interp_dsl.dictionaries.codes import Codes, Dense, Levels, Sparse, batch_top_k, top_k
from interp_dsl.dictionaries.selection import Known


def _values(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _of_batch(pre: torch.Tensor, k: int, sparse: bool) -> Codes:
    return batch_top_k(Known(pre), k, sparse)


def test_products_of_sparse_codes_are_those_of_dense_ones() -> None:
    pre, decoder, gradient = _values(0, 9, 30), _values(1, 30, 5), _values(2, 9, 5)
    for select in (top_k, _of_batch):
        dense, sparse = select(pre, 4, False), select(pre, 4, True)
        assert isinstance(dense, Dense) and isinstance(sparse, Sparse)
        spread = torch.zeros(9, 30)
        spread[sparse.row, sparse.index] = sparse.values
        assert torch.equal(spread, dense.values)
        torch.testing.assert_close(sparse.decode(decoder), dense.decode(decoder))
        slopes = dense.slopes(gradient, decoder)[sparse.row, sparse.index]
        torch.testing.assert_close(sparse.slopes(gradient, decoder), slopes)
        torch.testing.assert_close(
            sparse.outer(sparse.values, gradient), dense.outer(dense.values, gradient)
        )
        torch.testing.assert_close(sparse.total(sparse.values), dense.total(dense.values))


def test_levels_of_sparse_codes_are_parts_of_dense_ones() -> None:
    pre, decoder = _values(0, 9, 30), _values(1, 30, 5)
    dense, sparse = _of_batch(pre, 4, False), _of_batch(pre, 4, True)
    assert isinstance(dense, Dense) and isinstance(sparse, Sparse)
    levels = Levels(sparse, (3, 17, 30))
    made, gradient = levels.decode(decoder).view(3, 9, 5), _values(2, 3, 9, 5)
    outer = levels.outer(sparse.values, gradient.flatten(0, 1))
    for i, (start, stop) in enumerate([(0, 3), (3, 17), (17, 30)]):
        part = dense.part(start, stop)
        torch.testing.assert_close(made[i], part.decode(decoder[start:stop]))
        torch.testing.assert_close(outer[start:stop], part.outer(part.values, gradient[i]))


def test_rows_without_any_feature_decode_to_nothing() -> None:
    pre = _values(3, 6, 8)
    pre[2] = -1
    sparse = batch_top_k(Known(pre), 2, True)
    assert isinstance(sparse, Sparse) and 2 not in sparse.row
    assert sparse.decode(_values(4, 8, 3))[2].abs().sum() == 0


def test_a_batch_that_is_all_below_zero() -> None:
    pre = -_values(5, 6, 8).abs()
    for sparse in (True, False):
        codes = batch_top_k(Known(pre), 2, sparse)
        assert codes.decode(_values(4, 8, 3)).abs().sum() == 0
        assert codes.total(codes.values).tolist() == [0] * 8


def test_k_beyond_the_width_takes_all_that_is_positive() -> None:
    pre = _values(6, 5, 4)
    for select in (top_k, _of_batch):
        codes = select(pre, 9, False)
        assert isinstance(codes, Dense) and torch.equal(codes.values, pre.clamp_min(0))
