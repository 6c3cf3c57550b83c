"""Dictionaries compared: by hand, and against torch's own correlations."""

from __future__ import annotations

import math

import pytest
import torch

from interp_dsl.dictionaries.likeness import Correlations, mmcs

from . import planted


def test_mmcs_by_hand() -> None:
    reference = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    decoder = torch.tensor([[3.0, 3.0], [5.0, 0.0], [0.0, 0.0]])
    assert mmcs(reference, decoder) == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert mmcs(decoder, reference) == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert mmcs(reference, -decoder) == pytest.approx(0)  # the row of zeros


def test_a_part_of_a_dictionary_is_all_in_it_and_not_the_reverse() -> None:
    known = planted.features()
    assert mmcs(known[:10], known) == pytest.approx(1)
    assert mmcs(known, known[:10]) == pytest.approx(planted.mmcs(known, known[:10])) != 1


def test_correlations_are_torchs_own_block_by_block() -> None:
    generator = torch.Generator().manual_seed(0)
    f = torch.randn(200, 5, generator=generator).clamp_min(0) + 3
    g = torch.randn(200, 7, generator=generator).clamp_min(0)
    f[:, 2] = g[:, 4] * 2 + 1
    f[:, 3] = 0
    g[:, 6] = 0
    sums = Correlations()
    for part in torch.split(torch.arange(200), 33):
        sums.add(Correlations.of(f[part], g[part]))
    matrix = torch.corrcoef(torch.cat([f, g], 1).T.double())[:5, 5:11]  # the last never changes
    alive = [0, 1, 2, 4]
    torch.testing.assert_close(sums.largest[alive], matrix[alive].amax(1))
    assert sums.largest[2] == pytest.approx(1) and bool(sums.largest[3].isnan())
    assert sums.universality == pytest.approx(float(matrix[alive].amax(1).mean()))


def test_nothing_that_fires_is_no_number() -> None:
    sums = Correlations()
    sums.add(Correlations.of(torch.zeros(4, 2), torch.ones(4, 3)))
    assert math.isnan(sums.universality)
