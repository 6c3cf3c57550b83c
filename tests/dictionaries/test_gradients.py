"""Each architecture's loss and gradients against autograd on the formula as it is published."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from interp_dsl.dictionaries.architectures import (
    Architecture,
    BatchTopK,
    Found,
    Gated,
    JumpRelu,
    Matryoshka,
    Now,
    Params,
    Relu,
    Sizes,
    TopK,
)
from interp_dsl.dictionaries.codes import Dense
from interp_dsl.dictionaries.ends import Itself, Onto, loss_between, loss_through

D, M, B, OUT = 7, 20, 12, 5
Plain = Callable[[Params, Tensor], Tensor]


def _drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()


def _params(architecture: Architecture, d_out: int = D) -> Params:
    """Parameters away from the beginning, where no bias is 0 and nothing is tied."""
    generator = torch.Generator().manual_seed(1)
    start = architecture.initial(Sizes(D, d_out, M, d_out == D), generator)
    start["b_dec"] = torch.zeros(d_out)
    return {
        k: v.double() + 0.3 * torch.randn(v.shape, generator=generator).double()
        for k, v in start.items()
    }


def _x() -> Tensor:
    return _drawn(2, B, D)


def _loss(architecture: Architecture, params: Params, x: Tensor, now: Now | None = None) -> Found:
    return loss_between(Itself(), architecture, params, {}, (x, x), now or Now())


def _compare(architecture: Architecture, plain: Plain, now: Now | None = None) -> Found:
    params, x = _params(architecture), _x()
    return _compared(_loss(architecture, params, x, now), params, lambda p: plain(p, x))


def _compared(found: Found, params: Params, plain: Callable[[Params], Tensor]) -> Found:
    """The loss and all gradients are those of the formula."""
    leaves = {k: v.clone().requires_grad_() for k, v in params.items()}
    loss = plain(leaves)
    wanted = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))
    torch.testing.assert_close(torch.stack([*found.terms.values()]).sum(), loss.detach())
    assert found.gradients.keys() == wanted.keys()
    for name, gradient in wanted.items():
        assert gradient.abs().max() > 1e-4, f"the test says nothing of {name}"
        torch.testing.assert_close(found.gradients[name], gradient, msg=lambda m, n=name: n + m)
    return found


def _pre(p: Params, x: Tensor) -> Tensor:
    return (x - p["b_dec"]) @ p["encoder"].T + p["b_enc"]


def _squares(p: Params, f: Tensor, x: Tensor) -> Tensor:
    return (f @ p["decoder"] + p["b_dec"] - x).square()


def test_relu_with_unit_norms() -> None:
    def plain(p: Params, x: Tensor) -> Tensor:
        f = _pre(p, x).relu()
        return _squares(p, f, x).mean() + 0.03 * f.sum(1).mean()

    _compare(Relu(0.03, "unit"), plain)


def test_relu_with_weighted_norms_and_a_coefficient_that_warms_up() -> None:
    def plain(p: Params, x: Tensor) -> Tensor:
        f = _pre(p, x).relu()
        penalty = (f * p["decoder"].norm(dim=1)).sum(1).mean()
        return _squares(p, f, x).sum(1).mean() + 0.5 * 0.3 * penalty

    _compare(Relu(0.3, "weighted"), plain, Now(warmth=0.5))


def _top(values: Tensor, k: int) -> Tensor:
    """The k largest along the last axis, none below 0; by sorting."""
    least = values.sort(dim=-1, descending=True).values[..., k - 1 : k]
    return values.relu() * (values >= least)


@pytest.mark.parametrize("sparse", [False, True])
def test_topk(sparse: bool) -> None:
    def plain(p: Params, x: Tensor) -> Tensor:
        return _squares(p, _top(_pre(p, x), 3), x).mean()

    found = _compare(TopK(3, sparse=sparse), plain)
    params, x = _params(TopK(3)), _x()
    assert torch.equal(found.fired, (_top(_pre(params, x), 3) > 0).sum(0).double())


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("k_aux", [2, 50])
def test_topk_with_an_auxiliary_loss(sparse: bool, k_aux: int) -> None:
    dead = torch.zeros(M, dtype=torch.bool)
    dead[[1, 4, 9, 15]] = True

    def plain(p: Params, x: Tensor) -> Tensor:
        pre = _pre(p, x)
        f = _top(pre, 3)
        error = (x - f @ p["decoder"] - p["b_dec"]).detach()
        few = torch.zeros_like(pre)
        few[:, dead] = _top(pre[:, dead], min(k_aux, 4))
        revived = (few @ p["decoder"] - error).square().mean()
        return _squares(p, f, x).mean() + revived / 32

    found = _compare(TopK(3, k_aux=k_aux, sparse=sparse), plain, Now(dead=dead))
    assert found.terms["auxk"] > 0


@pytest.mark.parametrize("sparse", [False, True])
def test_batch_topk(sparse: bool) -> None:
    def plain(p: Params, x: Tensor) -> Tensor:
        pre = _pre(p, x)
        return _squares(p, _top(pre.flatten(), 3 * B).view_as(pre), x).mean()

    found = _compare(BatchTopK(3, sparse=sparse), plain)
    params, x = _params(BatchTopK(3)), _x()
    on = _top(_pre(params, x).flatten(), 3 * B)
    torch.testing.assert_close(found.held["threshold"], on[on > 0].min())


def test_batch_topk_looks_again_where_one_row_holds_most() -> None:
    architecture = BatchTopK(1)
    params = _params(architecture)
    x = _x() * 0.01
    x[3] *= 5000
    found = _loss(architecture, params, x, Now())
    pre = _pre(params, x)
    wanted = _top(pre.flatten(), B).view_as(pre)
    assert (wanted[3] > 0).sum() > 4
    assert torch.equal(found.fired, (wanted > 0).sum(0).double())


def test_the_threshold_is_a_moving_average() -> None:
    architecture = BatchTopK(3)
    params, x = _params(architecture), _x()
    first = _loss(architecture, params, x, Now())
    second = _loss(architecture, params, 2 * x, Now(held=first.held))
    alone = _loss(architecture, params, 2 * x, Now())
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
        pre = _pre(p, x)
        f = _top(pre.flatten(), 3 * B).view_as(pre)
        levels = [
            (f[:, :n] @ p["decoder"][:n] + p["b_dec"] - x).square().mean() for n in (5, 10, 20)
        ]
        return torch.stack(levels).mean()

    _compare(Matryoshka(3, sparse=sparse, prefixes=(0.25, 0.5, 1.0)), plain)


def test_prefixes_of_a_small_dictionary_are_each_there_once() -> None:
    assert Matryoshka(1).levels(8) == (1, 2, 4, 8)


def test_a_batch_without_any_feature_leaves_the_threshold() -> None:
    architecture = BatchTopK(3)
    params, x = _params(architecture), _x()
    silent = {**params, "b_enc": params["b_enc"] - 1e3}
    first = _loss(architecture, silent, x, Now())
    assert first.held["threshold"] == 0 and first.fired.sum() == 0
    on = _loss(architecture, params, x, Now())
    after = _loss(architecture, silent, x, Now(held=on.held))
    assert torch.equal(after.held["threshold"], on.held["threshold"])


def test_gated() -> None:
    def plain(p: Params, x: Tensor) -> Tensor:
        shared = (x - p["b_dec"]) @ p["encoder"].T
        gate = (shared + p["b_gate"]).relu()
        f = (gate > 0) * (shared * p["r_mag"].exp() + p["b_mag"]).relu()
        frozen = {k: p[k].detach() for k in ("decoder", "b_dec")}
        aux = _squares(frozen, gate, x).mean()
        return _squares(p, f, x).mean() + 0.2 * gate.sum(1).mean() + aux

    _compare(Gated(0.2), plain)


class _Jump(torch.autograd.Function):
    """JumpReLU with the published pseudo-derivative of its threshold."""

    @staticmethod
    def forward(ctx, a, threshold, width):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(a, threshold)
        ctx.width = width
        return a * (a > threshold)

    @staticmethod
    def backward(ctx, slope):  # type: ignore[no-untyped-def]
        a, threshold = ctx.saved_tensors
        inside = (((a - threshold) / ctx.width).abs() < 0.5).to(a.dtype)
        return slope * (a > threshold), (-threshold / ctx.width * inside * slope).sum(0), None


class _Step(torch.autograd.Function):
    """The Heaviside step with the published pseudo-derivative of its threshold."""

    @staticmethod
    def forward(ctx, a, threshold, width):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(a, threshold)
        ctx.width = width
        return (a > threshold).to(a.dtype)

    @staticmethod
    def backward(ctx, slope):  # type: ignore[no-untyped-def]
        a, threshold = ctx.saved_tensors
        inside = (((a - threshold) / ctx.width).abs() < 0.5).to(a.dtype)
        return None, (-1 / ctx.width * inside * slope).sum(0), None


@pytest.mark.parametrize("target", [None, 4.0])
def test_jumprelu(target: float | None) -> None:
    width = 0.4

    def plain(p: Params, x: Tensor) -> Tensor:
        t = p["threshold"]  # one below 0 counts as 0, and has a slope, so that it can return
        a, threshold = _pre(p, x), 2.0 * (t + (t.clamp_min(0) - t).detach())
        f = _Jump.apply(a, threshold, width)
        count = _Step.apply(a, threshold, width).sum(1).mean()
        penalty = count if target is None else (count / target - 1).square()
        return _squares(p, f, x).mean() + 0.1 * penalty

    architecture = JumpRelu(0.1, target, bandwidth=width / 2, threshold=0.3, length=2.0)
    _compare(architecture, plain)


def test_no_dead_feature_costs_nothing() -> None:
    found = _loss(TopK(3), _params(TopK(3)), _x(), Now(dead=torch.zeros(M, dtype=torch.bool)))
    assert found.terms.keys() == {"mse"}


# ---- other ends

CENTRE = {"centre": torch.full((D,), 0.3, dtype=torch.float64)}


def _across(architecture: Architecture, has_skip: bool, plain: Plain) -> Found:
    """A transcoder against autograd: `plain` is the loss of what its features make [B, OUT], the
    biases and the skip connection added, and of pre-activations."""
    params, x, y = _params(architecture, OUT), _x(), _drawn(3, B, OUT)
    if has_skip:
        params["W_skip"] = _drawn(4, OUT, D)

    def whole(p: Params) -> Tensor:
        seen = x - CENTRE["centre"]
        pre = seen @ p["encoder"].T + p.get("b_enc", 0)
        goal = y - p["b_dec"] - (seen @ p["W_skip"].T if has_skip else 0)
        return plain({**p, "goal": goal}, pre)

    found = loss_between(Onto(has_skip), architecture, params, CENTRE, (x, y), Now())
    return _compared(found, params, whole)


def _off(p: Params, f: Tensor) -> Tensor:
    return (f @ p["decoder"] - p["goal"]).square()


def _gate(p: Params, pre: Tensor) -> Tensor:
    gate = (pre + p["b_gate"]).relu()
    f = (gate > 0) * (pre * p["r_mag"].exp() + p["b_mag"]).relu()
    frozen = {"decoder": p["decoder"].detach(), "goal": p["goal"].detach()}
    return _off(p, f).mean() + 0.2 * gate.sum(1).mean() + _off(frozen, gate).mean()


def _jump(p: Params, pre: Tensor) -> Tensor:
    threshold = p["threshold"] + (p["threshold"].clamp_min(0) - p["threshold"]).detach()
    f = _Jump.apply(pre, threshold, 0.4)
    return _off(p, f).mean() + 0.1 * _Step.apply(pre, threshold, 0.4).sum(1).mean()


def _nest(p: Params, pre: Tensor) -> Tensor:
    f = _top(pre.flatten(), 3 * B).view_as(pre)
    nested = [(f[:, :n] @ p["decoder"][:n] - p["goal"]).square().mean() for n in (5, 10, 20)]
    return torch.stack(nested).mean()


TRANSCODERS: dict[str, tuple[Architecture, Plain]] = {
    "relu": (
        Relu(0.03, "unit"),
        lambda p, pre: _off(p, pre.relu()).mean() + 0.03 * pre.relu().sum(1).mean(),
    ),
    "weighted": (
        Relu(0.3, "weighted"),
        lambda p, pre: (
            _off(p, pre.relu()).sum(1).mean()
            + 0.3 * (pre.relu() * p["decoder"].norm(dim=1)).sum(1).mean()
        ),
    ),
    "topk": (TopK(3), lambda p, pre: _off(p, _top(pre, 3)).mean()),
    "batch_topk": (
        BatchTopK(3),
        lambda p, pre: _off(p, _top(pre.flatten(), 3 * B).view_as(pre)).mean(),
    ),
    "matryoshka": (Matryoshka(3, prefixes=(0.25, 0.5, 1.0)), _nest),
    "jumprelu": (JumpRelu(0.1, bandwidth=0.4, threshold=0.3), _jump),
    "gated": (Gated(0.2), _gate),
}


@pytest.mark.parametrize("has_skip", [False, True], ids=["plain", "skip"])
@pytest.mark.parametrize("name", TRANSCODERS)
def test_transcoders(name: str, has_skip: bool) -> None:
    architecture, plain = TRANSCODERS[name]
    _across(architecture, has_skip, plain)


def test_a_crosscoder_pays_for_the_sum_of_its_decoders_lengths() -> None:
    """Of two places, 3 and 4 wide, that stand side by side."""

    def plain(p: Params, x: Tensor) -> Tensor:
        f = _pre(p, x).relu()
        lengths = p["decoder"][:, :3].norm(dim=1) + p["decoder"][:, 3:].norm(dim=1)
        return _squares(p, f, x).sum(1).mean() + 0.3 * (f * lengths).sum(1).mean()

    _compare(Relu(0.3, "weighted", parts=(3, 4)), plain)


THROUGH: dict[str, tuple[Architecture, Callable[[Tensor], Tensor], Callable[..., Tensor]]] = {
    "relu": (Relu(0.03, "unit"), lambda pre: pre.relu(), lambda p, f: 0.03 * f.sum(1).mean()),
    "weighted": (
        Relu(0.3, "weighted"),
        lambda pre: pre.relu(),
        lambda p, f: 0.3 * (f * p["decoder"].norm(dim=1)).sum(1).mean(),
    ),
    "topk": (TopK(3, alpha=0.0), lambda pre: _top(pre, 3), lambda p, f: f.sum() * 0),
    "batch_topk": (
        BatchTopK(3, alpha=0.0),
        lambda pre: _top(pre.flatten(), 3 * B).view_as(pre),
        lambda p, f: f.sum() * 0,
    ),
}


@pytest.mark.parametrize("name", THROUGH)
@pytest.mark.parametrize("transcodes", [False, True], ids=["itself", "onto"])
def test_an_objective_of_what_is_rebuilt(name: str, transcodes: bool) -> None:
    """Any function of the rebuilt activations, here one far from a squared error."""
    architecture, encode, penalty = THROUGH[name]
    d_out = OUT if transcodes else D
    params, x, mixed = _params(architecture, d_out), _x(), _drawn(5, d_out, 9)
    y = _drawn(3, B, d_out) if transcodes else x
    if transcodes:
        params["W_skip"] = _drawn(4, OUT, D)

    def plain(made: Tensor) -> Tensor:
        return (made @ mixed).logsumexp(1).square().mean()

    def objective(made: Tensor) -> tuple[Tensor, Tensor]:
        made = made.clone().requires_grad_()
        value = plain(made)
        return value.detach(), torch.autograd.grad(value, made)[0]

    def whole(p: Params) -> Tensor:
        seen = x - (CENTRE["centre"] if transcodes else p["b_dec"])
        f = encode(seen @ p["encoder"].T + p["b_enc"])
        made = f @ p["decoder"] + p["b_dec"] + (seen @ p["W_skip"].T if transcodes else 0)
        return plain(made) + penalty(p, f)

    ends = Onto(True) if transcodes else Itself()
    fixed = CENTRE if transcodes else {}
    found = loss_through(ends, architecture, params, fixed, (x, y), Now(), objective)
    _compared(found, params, whole)
    assert "mse" not in found.terms
    plainly = loss_between(ends, architecture, params, fixed, (x, y), Now())
    torch.testing.assert_close(found.error, plainly.error)
