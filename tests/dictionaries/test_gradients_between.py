"""Transcoders, crosscoders and objectives of what is rebuilt, against autograd on the formulas."""

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
    TopK,
)
from interp_dsl.dictionaries.ends import Itself, Onto, loss_between, loss_through
from tests.dictionaries.formulas import (
    OUT,
    B,
    D,
    Jump,
    Plain,
    Step,
    compare,
    compared,
    drawn,
    inputs,
    pre_activations,
    squares,
    started,
    top,
)

CENTRE = {"centre": torch.full((D,), 0.3, dtype=torch.float64)}


def _across(architecture: Architecture, has_skip: bool, plain: Plain) -> Found:
    """A transcoder against autograd: `plain` is the loss of what its features make [B, OUT], the
    biases and the skip connection added, and of pre-activations."""
    params, x, y = started(architecture, OUT), inputs(), drawn(3, B, OUT)
    if has_skip:
        params["W_skip"] = drawn(4, OUT, D)

    def whole(p: Params) -> Tensor:
        seen = x - CENTRE["centre"]
        pre = seen @ p["encoder"].T + p.get("b_enc", 0)
        goal = y - p["b_dec"] - (seen @ p["W_skip"].T if has_skip else 0)
        return plain({**p, "goal": goal}, pre)

    found = loss_between(Onto(has_skip), architecture, params, CENTRE, (x, y), Now())
    return compared(found, params, whole)


def _off(p: Params, f: Tensor) -> Tensor:
    return (f @ p["decoder"] - p["goal"]).square()


def _gate(p: Params, pre: Tensor) -> Tensor:
    gate = (pre + p["b_gate"]).relu()
    f = (gate > 0) * (pre * p["r_mag"].exp() + p["b_mag"]).relu()
    frozen = {"decoder": p["decoder"].detach(), "goal": p["goal"].detach()}
    return _off(p, f).mean() + 0.2 * gate.sum(1).mean() + _off(frozen, gate).mean()


def _jump(p: Params, pre: Tensor) -> Tensor:
    threshold = p["threshold"] + (p["threshold"].clamp_min(0) - p["threshold"]).detach()
    f = Jump.apply(pre, threshold, 0.4)
    return _off(p, f).mean() + 0.1 * Step.apply(pre, threshold, 0.4).sum(1).mean()


def _nest(p: Params, pre: Tensor) -> Tensor:
    f = top(pre.flatten(), 3 * B).view_as(pre)
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
    "topk": (TopK(3), lambda p, pre: _off(p, top(pre, 3)).mean()),
    "batch_topk": (
        BatchTopK(3),
        lambda p, pre: _off(p, top(pre.flatten(), 3 * B).view_as(pre)).mean(),
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
        f = pre_activations(p, x).relu()
        lengths = p["decoder"][:, :3].norm(dim=1) + p["decoder"][:, 3:].norm(dim=1)
        return squares(p, f, x).sum(1).mean() + 0.3 * (f * lengths).sum(1).mean()

    compare(Relu(0.3, "weighted", parts=(3, 4)), plain)


Encode = Callable[[Params, Tensor], Tensor]
Rest = Callable[[Params, Tensor, Tensor], Tensor]


def _gate_alone(p: Params, pre: Tensor) -> Tensor:
    """What a gate pays, and its squared error as in a plain fit."""
    gate = (pre + p["b_gate"]).relu()
    frozen = {"decoder": p["decoder"].detach(), "goal": p["goal"].detach()}
    return 0.2 * gate.sum(1).mean() + _off(frozen, gate).mean()


def _prefixes_alone(p: Params, f: Tensor) -> Tensor:
    """The squared errors of inner prefixes, each a third as in a plain fit."""
    return sum(_off({**p, "decoder": p["decoder"][:n]}, f[:, :n]).mean() for n in (5, 10)) / 3


THROUGH: dict[str, tuple[Architecture, Encode, Rest]] = {
    "relu": (
        Relu(0.03, "unit"),
        lambda p, pre: pre.relu(),
        lambda p, f, pre: 0.03 * f.sum(1).mean(),
    ),
    "weighted": (
        Relu(0.3, "weighted"),
        lambda p, pre: pre.relu(),
        lambda p, f, pre: 0.3 * (f * p["decoder"].norm(dim=1)).sum(1).mean(),
    ),
    "topk": (TopK(3, alpha=0.0), lambda p, pre: top(pre, 3), lambda p, f, pre: f.sum() * 0),
    "batch_topk": (
        BatchTopK(3, alpha=0.0),
        lambda p, pre: top(pre.flatten(), 3 * B).view_as(pre),
        lambda p, f, pre: f.sum() * 0,
    ),
    "matryoshka": (
        Matryoshka(3, alpha=0.0, prefixes=(0.25, 0.5, 1.0)),
        lambda p, pre: top(pre.flatten(), 3 * B).view_as(pre),
        lambda p, f, pre: _prefixes_alone(p, f),
    ),
    "gated": (
        Gated(0.2),
        lambda p, pre: (pre + p["b_gate"] > 0) * (pre * p["r_mag"].exp() + p["b_mag"]).relu(),
        lambda p, f, pre: _gate_alone(p, pre),
    ),
}


@pytest.mark.parametrize("name", THROUGH)
@pytest.mark.parametrize("transcodes", [False, True], ids=["itself", "onto"])
def test_an_objective_of_what_is_rebuilt(name: str, transcodes: bool) -> None:
    """Any function of the rebuilt activations, here one far from a squared error."""
    architecture, encode, rest = THROUGH[name]
    d_out = OUT if transcodes else D
    params, x, mixed = started(architecture, d_out), inputs(), drawn(5, d_out, 9)
    y = drawn(3, B, d_out) if transcodes else x
    if transcodes:
        params["W_skip"] = drawn(4, OUT, D)

    def plain(made: Tensor) -> Tensor:
        return (made @ mixed).logsumexp(1).square().mean()

    def objective(made: Tensor) -> tuple[Tensor, Tensor]:
        made = made.clone().requires_grad_()
        value = plain(made)
        return value.detach(), torch.autograd.grad(value, made)[0]

    def whole(p: Params) -> Tensor:
        seen = x - (CENTRE["centre"] if transcodes else p["b_dec"])
        beside = p["b_dec"] + (seen @ p["W_skip"].T if transcodes else 0)
        pre = seen @ p["encoder"].T + p.get("b_enc", 0)
        f = encode(p, pre)
        return plain(f @ p["decoder"] + beside) + rest({**p, "goal": y - beside}, f, pre)

    ends = Onto(True) if transcodes else Itself()
    fixed = CENTRE if transcodes else {}
    found = loss_through(ends, architecture, params, fixed, (x, y), Now(), objective)
    compared(found, params, whole)
    assert "mse" not in found.terms
    plainly = loss_between(ends, architecture, params, fixed, (x, y), Now())
    torch.testing.assert_close(found.error, plainly.error)
    others = plainly.terms.keys() - {"mse"}
    assert all(found.terms[name] == plainly.terms[name] for name in others)
