"""Where b_dec begins, scales, and dictionaries whose results are known."""

import math

import torch

from interp_dsl.dictionaries.dictionary import Dictionary
from interp_dsl.dictionaries.starting import begin_at, geometric_median, scale_of


def test_the_geometric_median_ignores_an_outlier() -> None:
    cross = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    torch.testing.assert_close(geometric_median(cross), torch.zeros(2))
    line = torch.tensor([[0.0], [1], [2], [3], [1000]])
    assert abs(float(geometric_median(line)) - 2) < 0.01


def test_beginnings_and_scale() -> None:
    x = torch.randn(50, 16, generator=torch.Generator().manual_seed(0)) + 3
    torch.testing.assert_close(begin_at(x, "mean"), x.mean(0))
    assert begin_at(x, "zero").abs().sum() == 0
    assert math.isclose(float((x * scale_of(x)).norm(dim=1).mean()), 4.0, rel_tol=1e-5)


def test_gated_and_topk_encode_by_hand() -> None:
    eye = torch.eye(2)
    tensors = {"W_enc": eye, "W_dec": eye, "b_dec": torch.tensor([1.0, 0.0])}
    gated = Dictionary(
        "gated",
        {
            **tensors,
            "b_gate": torch.tensor([0.0, -3.0]),
            "b_mag": torch.tensor([0.5, 0.5]),
            "r_mag": torch.tensor([math.log(2), 0.0]),
        },
    )
    assert gated.encode(torch.tensor([3.0, 2.0])).tolist() == [4.5, 0.0]
    top = Dictionary("topk", {**tensors, "b_enc": torch.tensor([0.0, 0.25])}, k=1)
    assert top.encode(torch.tensor([[[3.0, 2.0]]])).tolist() == [[[0.0, 2.25]]]
    assert top.decode(torch.tensor([0.0, 2.25])).tolist() == [1.0, 2.25]


def test_jumprelu_keeps_what_is_above_its_threshold_whole() -> None:
    eye = torch.eye(2)
    tensors = {"W_enc": eye, "W_dec": eye, "b_dec": torch.zeros(2), "b_enc": torch.zeros(2)}
    jump = Dictionary("jumprelu", {**tensors, "threshold": torch.tensor([1.0, 2.0])})
    assert jump.encode(torch.tensor([1.5, 1.5])).tolist() == [1.5, 0.0]
