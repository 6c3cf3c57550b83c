"""Each architecture's loss and gradients against autograd on the formula as it is published."""

import pytest
import torch
from torch import Tensor

from interp_dsl.dictionaries.architectures import (
    BatchTopK,
    Gated,
    JumpRelu,
    Matryoshka,
    Now,
    Params,
    Relu,
    TopK,
)
from interp_dsl.dictionaries.codes import Dense
from tests.dictionaries.formulas import (
    B,
    Jump,
    M,
    Step,
    compare,
    inputs,
    loss_of,
    pre_activations,
    squares,
    started,
    top,
)


def test_relu_with_unit_norms() -> None:
    def plain(p: Params, x: Tensor) -> Tensor:
        f = pre_activations(p, x).relu()
        return squares(p, f, x).mean() + 0.03 * f.sum(1).mean()

    compare(Relu(0.03, "unit"), plain)


def test_relu_with_weighted_norms_and_a_coefficient_that_warms_up() -> None:
    def plain(p: Params, x: Tensor) -> Tensor:
        f = pre_activations(p, x).relu()
        penalty = (f * p["decoder"].norm(dim=1)).sum(1).mean()
        return squares(p, f, x).sum(1).mean() + 0.5 * 0.3 * penalty

    compare(Relu(0.3, "weighted"), plain, Now(warmth=0.5))


@pytest.mark.parametrize("sparse", [False, True])
def test_topk(sparse: bool) -> None:
    def plain(p: Params, x: Tensor) -> Tensor:
        return squares(p, top(pre_activations(p, x), 3), x).mean()

    found = compare(TopK(3, sparse=sparse), plain)
    params, x = started(TopK(3)), inputs()
    assert torch.equal(found.fired, (top(pre_activations(params, x), 3) > 0).sum(0).double())


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("k_aux", [2, 50])
def test_topk_with_an_auxiliary_loss(sparse: bool, k_aux: int) -> None:
    dead = torch.zeros(M, dtype=torch.bool)
    dead[[1, 4, 9, 15]] = True

    def plain(p: Params, x: Tensor) -> Tensor:
        pre = pre_activations(p, x)
        f = top(pre, 3)
        error = (x - f @ p["decoder"] - p["b_dec"]).detach()
        few = torch.zeros_like(pre)
        few[:, dead] = top(pre[:, dead], min(k_aux, 4))
        revived = (few @ p["decoder"] - error).square().mean()
        return squares(p, f, x).mean() + revived / 32

    found = compare(TopK(3, k_aux=k_aux, sparse=sparse), plain, Now(dead=dead))
    assert found.terms["auxk"] > 0


@pytest.mark.parametrize("sparse", [False, True])
def test_batch_topk(sparse: bool) -> None:
    def plain(p: Params, x: Tensor) -> Tensor:
        pre = pre_activations(p, x)
        return squares(p, top(pre.flatten(), 3 * B).view_as(pre), x).mean()

    found = compare(BatchTopK(3, sparse=sparse), plain)
    params, x = started(BatchTopK(3)), inputs()
    on = top(pre_activations(params, x).flatten(), 3 * B)
    torch.testing.assert_close(found.held["threshold"], on[on > 0].min())


def test_batch_topk_looks_again_where_one_row_holds_most() -> None:
    architecture = BatchTopK(1)
    params = started(architecture)
    x = inputs() * 0.01
    x[3] *= 5000
    found = loss_of(architecture, params, x, Now())
    pre = pre_activations(params, x)
    wanted = top(pre.flatten(), B).view_as(pre)
    assert (wanted[3] > 0).sum() > 4
    assert torch.equal(found.fired, (wanted > 0).sum(0).double())


def test_the_threshold_is_a_moving_average() -> None:
    architecture = BatchTopK(3)
    params, x = started(architecture), inputs()
    first = loss_of(architecture, params, x, Now())
    second = loss_of(architecture, params, 2 * x, Now(held=first.held))
    alone = loss_of(architecture, params, 2 * x, Now())
    mean = (first.held["threshold"] + 10 * alone.held["threshold"]) / 11
    torch.testing.assert_close(second.held["threshold"], mean)


def test_the_threshold_is_of_the_last_tenth_of_the_batches_and_of_a_hundred_at_most() -> None:
    """A ramp's average lags by what it is averaged over."""
    architecture, lag = BatchTopK(3), {}
    held: Params = {}
    for count in range(1, 3_001):
        codes = Dense(torch.tensor([[float(count)]]))
        held = architecture.held(codes, Now(held=held))
        lag[count] = count - float(held["threshold"])
    assert lag[1] == 0
    for count in (100, 300, 500):
        assert 0.05 * count < lag[count] < 0.15 * count
    assert 90 < lag[2_500] < 110 and 90 < lag[3_000] < 110


@pytest.mark.parametrize("sparse", [False, True])
def test_matryoshka(sparse: bool) -> None:
    def plain(p: Params, x: Tensor) -> Tensor:
        pre = pre_activations(p, x)
        f = top(pre.flatten(), 3 * B).view_as(pre)
        levels = [
            (f[:, :n] @ p["decoder"][:n] + p["b_dec"] - x).square().mean() for n in (5, 10, 20)
        ]
        return torch.stack(levels).mean()

    compare(Matryoshka(3, sparse=sparse, prefixes=(0.25, 0.5, 1.0)), plain)


def test_prefixes_of_a_small_dictionary_are_each_there_once() -> None:
    assert Matryoshka(1).levels(8) == (1, 2, 4, 8)


def test_a_batch_without_any_feature_leaves_the_threshold() -> None:
    architecture = BatchTopK(3)
    params, x = started(architecture), inputs()
    silent = {**params, "b_enc": params["b_enc"] - 1e3}
    first = loss_of(architecture, silent, x, Now())
    assert first.held["threshold"] == 0 and first.fired.sum() == 0
    on = loss_of(architecture, params, x, Now())
    after = loss_of(architecture, silent, x, Now(held=on.held))
    assert torch.equal(after.held["threshold"], on.held["threshold"])


def test_gated() -> None:
    def plain(p: Params, x: Tensor) -> Tensor:
        shared = (x - p["b_dec"]) @ p["encoder"].T
        gate = (shared + p["b_gate"]).relu()
        f = (gate > 0) * (shared * p["r_mag"].exp() + p["b_mag"]).relu()
        frozen = {k: p[k].detach() for k in ("decoder", "b_dec")}
        aux = squares(frozen, gate, x).mean()
        return squares(p, f, x).mean() + 0.2 * gate.sum(1).mean() + aux

    compare(Gated(0.2), plain)


@pytest.mark.parametrize("target", [None, 4.0])
def test_jumprelu(target: float | None) -> None:
    width = 0.4

    def plain(p: Params, x: Tensor) -> Tensor:
        t = p["threshold"]  # one below 0 counts as 0, and has a slope, so that it can return
        a, threshold = pre_activations(p, x), 2.0 * (t + (t.clamp_min(0) - t).detach())
        f = Jump.apply(a, threshold, width)
        count = Step.apply(a, threshold, width).sum(1).mean()
        penalty = count if target is None else (count / target - 1).square()
        return squares(p, f, x).mean() + 0.1 * penalty

    architecture = JumpRelu(0.1, target, bandwidth=width / 2, threshold=0.3, length=2.0)
    compare(architecture, plain)


def test_no_dead_feature_costs_nothing() -> None:
    found = loss_of(TopK(3), started(TopK(3)), inputs(), Now(dead=torch.zeros(M, dtype=torch.bool)))
    assert found.terms.keys() == {"mse"}
