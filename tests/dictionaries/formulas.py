"""Formulas as they are published, and what compares a loss and its gradients with them."""

from collections.abc import Callable

import torch
from torch import Tensor

from interp_dsl.dictionaries.architectures import (
    Architecture,
    Found,
    Now,
    Params,
    Sizes,
)
from interp_dsl.dictionaries.ends import Itself, loss_between

D, M, B, OUT = 7, 20, 12, 5
Plain = Callable[[Params, Tensor], Tensor]


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()


def started(architecture: Architecture, d_out: int = D) -> Params:
    """Parameters away from the beginning, where no bias is 0 and nothing is tied."""
    generator = torch.Generator().manual_seed(1)
    start = architecture.initial(Sizes(D, d_out, M, d_out == D), generator)
    start["b_dec"] = torch.zeros(d_out)
    return {
        k: v.double() + 0.3 * torch.randn(v.shape, generator=generator).double()
        for k, v in start.items()
    }


def inputs() -> Tensor:
    return drawn(2, B, D)


def loss_of(architecture: Architecture, params: Params, x: Tensor, now: Now | None = None) -> Found:
    return loss_between(Itself(), architecture, params, {}, (x, x), now or Now())


def compare(architecture: Architecture, plain: Plain, now: Now | None = None) -> Found:
    params, x = started(architecture), inputs()
    return compared(loss_of(architecture, params, x, now), params, lambda p: plain(p, x))


def compared(found: Found, params: Params, plain: Callable[[Params], Tensor]) -> Found:
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


def pre_activations(p: Params, x: Tensor) -> Tensor:
    return (x - p["b_dec"]) @ p["encoder"].T + p["b_enc"]


def squares(p: Params, f: Tensor, x: Tensor) -> Tensor:
    return (f @ p["decoder"] + p["b_dec"] - x).square()


def top(values: Tensor, k: int) -> Tensor:
    """The k largest along the last axis, none below 0; by sorting."""
    least = values.sort(dim=-1, descending=True).values[..., k - 1 : k]
    return values.relu() * (values >= least)


class Jump(torch.autograd.Function):
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


class Step(torch.autograd.Function):
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
