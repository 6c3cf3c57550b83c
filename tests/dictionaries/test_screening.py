"""Features found by a rough product are those of the exact one, however close they are."""

import pytest
import torch
from torch import Tensor

from interp_dsl.dictionaries.architectures import (
    Architecture,
    BatchTopK,
    Matryoshka,
    Now,
    TopK,
    screening,
)
from interp_dsl.dictionaries.architectures.base import Params, Room
from interp_dsl.dictionaries.architectures.screening import ROUNDING, Rough, Screen
from interp_dsl.dictionaries.ends import Itself, loss_between
from interp_dsl.dictionaries.gathering import CACHED, dots, sums
from interp_dsl.dictionaries.selection import largest_of_batch

D, M, B = 48, 256, 40


def _drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _even() -> tuple[Params, Tensor]:
    encoder = _drawn(0, M, D)
    encoder /= encoder.norm(dim=1, keepdim=True)
    return {"encoder": encoder, "b_enc": 0.1 * _drawn(1, M)}, _drawn(2, B, D)


def _alike() -> tuple[Params, Tensor]:
    """All features are one but for less than bfloat16 tells apart."""
    params, x = _even()
    steps = 1 + 1e-5 * torch.randperm(M, generator=torch.Generator().manual_seed(3))
    return {**params, "encoder": params["encoder"][:1] * steps[:, None], "b_enc": torch.ones(M)}, x


def _uneven() -> tuple[Params, Tensor]:
    """Encoders and inputs of lengths far apart, biases far larger than products."""
    params, x = _even()
    params["encoder"][::7] *= 30
    params["b_enc"][::5] *= 300
    x[::3] *= 1e4
    x[4] = 0
    return params, x


def _silent() -> tuple[Params, Tensor]:
    """Few features of each input are above 0."""
    params, x = _even()
    return {**params, "b_enc": params["b_enc"] - 2.0}, x


CASES = {"even": _even, "alike": _alike, "uneven": _uneven, "silent": _silent}


def _rough(case: str) -> tuple[Rough, Tensor]:
    """Rough pre-activations, and the exact ones in double precision."""
    params, x = CASES[case]()
    pre = x.double() @ params["encoder"].double().T + params["b_enc"].double()
    return Screen(params, Room()).of(x), pre


def _sum_error(pre: Tensor) -> float:
    """What sums in float32 may be off."""
    return 2e-7 * float(pre.abs().max())


@pytest.mark.parametrize("case", CASES)
def test_rough_values_are_off_by_no_more_than_the_slack(case: str) -> None:
    rough, pre = _rough(case)
    found = rough.bits.view(torch.bfloat16).double()
    off = (found - pre).abs() - ROUNDING * found.abs() * (1 + ROUNDING)
    assert (off <= rough.slack[:, None]).all()
    assert ((found - pre).abs() > 1e-3 * rough.slack[:, None]).any(), "nothing was rounded"


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("k", [1, 5, M])
def test_the_largest_of_each_row(case: str, k: int) -> None:
    rough, pre = _rough(case)
    values, index = rough.largest(k)
    wanted = pre.sort(1, descending=True).values[:, :k].clamp_min(0)
    found = values.clamp_min(0).double()
    torch.testing.assert_close(
        found.sort(1, descending=True).values, wanted, rtol=1e-6, atol=_sum_error(pre)
    )
    chosen = torch.where(values > 0, pre.gather(1, index), 0.0)
    torch.testing.assert_close(chosen, found, rtol=1e-6, atol=_sum_error(pre))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("n", [7, 200, 4000])
def test_the_largest_of_a_batch(case: str, n: int) -> None:
    rough, pre = _rough(case)
    values, row, index = largest_of_batch(rough, n)
    flat = pre.flatten().sort(descending=True).values[:n].clamp_min(0)
    flat = flat[flat > 0]
    found = values.double().sort(descending=True).values
    torch.testing.assert_close(found, flat, rtol=1e-6, atol=_sum_error(pre))
    torch.testing.assert_close(pre[row, index], values.double(), rtol=1e-6, atol=_sum_error(pre))
    assert row.tolist() == sorted(row.tolist())


def test_few_features_are_computed_in_vain() -> None:
    params, x = _even()
    rough = Screen(params, Room()).of(x)
    fifth = rough.largest(5)[0].amin(1)
    assert 5 * B <= len(rough.reaching(fifth)[0]) < 8 * B


@pytest.mark.parametrize("made", [TopK(3), BatchTopK(3), Matryoshka(3)], ids=lambda a: a.name)
@pytest.mark.parametrize("share", [0.0, 0.1])
def test_a_step_is_the_same_with_and_without(
    made: Architecture, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    params, x = _even()
    params |= {"decoder": params["encoder"].clone(), "b_dec": 0.1 * _drawn(5, D)}
    dead = torch.arange(M) < share * M
    found = {}
    for is_quick in (True, False):
        monkeypatch.setattr(screening, "is_quick", lambda is_quick=is_quick: is_quick)
        found[is_quick] = loss_between(Itself(), made, params, {}, (x, x), Now(dead=dead))
    assert torch.equal(found[True].fired, found[False].fired)
    for name, gradient in found[False].gradients.items():
        torch.testing.assert_close(found[True].gradients[name], gradient, rtol=1e-5, atol=1e-7)
    for name, value in found[False].held.items():
        torch.testing.assert_close(found[True].held[name], value)


def test_gathering_from_tables_that_are_larger_than_the_cache() -> None:
    generator = torch.Generator().manual_seed(6)
    table, left = _drawn(7, 3000, 150), _drawn(8, 20, 150)
    assert table.numel() > CACHED
    row = torch.arange(20).repeat_interleave(9)
    index = torch.randint(3000, (180,), generator=generator)
    wanted = (left[row] * table[index]).sum(1)
    torch.testing.assert_close(dots(left, table, row, index), wanted)
    weights = _drawn(9, 180)
    summed = torch.zeros(20, 150).index_add_(0, row, weights[:, None] * table[index])
    torch.testing.assert_close(sums(index, table, torch.arange(20) * 9, weights), summed)
