"""Training with products of bfloat16, against autograd on the published formulas in float64 whose
products round their factors at the same places.

Sizes are such that 2 / (B · D) is a power of 2: rounding a slope or so many times it is the same.
What is left is float32 for float64, 2^-24 of a sum, and where that moves a number across a boundary
of rounding, 2^-7 of one among the hundreds that a gradient is made of. Rounding itself is 2^-8 of
each at most, and some 2^-9 of a gradient's length."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from interp_dsl.dictionaries import products
from interp_dsl.dictionaries.architectures import (
    Architecture,
    BatchTopK,
    Gated,
    JumpRelu,
    Matryoshka,
    Now,
    Params,
    Relu,
    Sizes,
    TopK,
    base,
    screening,
)
from interp_dsl.dictionaries.ends import Itself, Onto, loss_between
from interp_dsl.dictionaries.products import BY_NAME, PLAIN
from interp_dsl.dictionaries.schedules import Schedule
from interp_dsl.dictionaries.training import Settings, Trainer
from tests.devices import device
from tests.dictionaries.formulas import Jump, Step, top

__all__ = ["device"]

D, M, B, OUT = 8, 20, 16, 4
HALVES = BY_NAME["bfloat16"]
DEAD = torch.tensor([1, 4, 9, 15])


def _rounded(x: Tensor) -> Tensor:
    """To bfloat16 and back, by the bits: the nearest, of two equally near the even one."""
    bits = x.float().contiguous().view(torch.int32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & -0x10000).view(torch.float32).double()


class Plain:
    """The products of a formula, of factors as they are."""

    def encode(self, seen: Tensor, encoder: Tensor) -> Tensor:
        return seen @ encoder.T

    skip = encode

    def decode(self, f: Tensor, decoder: Tensor) -> Tensor:
        return f @ decoder


@dataclass(frozen=True)
class Rounded(Plain):
    """Those of rounded factors. `rounds_results`: a product too is rounded. `is_sparse`: few
    features are on, and only encoding multiplies densely."""

    rounds_results: bool
    is_sparse: bool = False

    def product(self, a: Tensor, b: Tensor) -> Tensor:
        made = _rounded(a) @ _rounded(b)
        return _rounded(made) if self.rounds_results else made

    def encode(self, seen: Tensor, encoder: Tensor) -> Tensor:
        learn = torch.mm if self.is_sparse else self.product
        return _Encode.apply(seen, encoder, self.product, learn)

    def skip(self, seen: Tensor, weight: Tensor) -> Tensor:
        return _Encode.apply(seen, weight, self.product, self.product)

    def decode(self, f: Tensor, decoder: Tensor) -> Tensor:
        return f @ decoder if self.is_sparse else _Decode.apply(f, decoder, self.product)


class _Encode(torch.autograd.Function):
    """seen weightᵀ. What is seen has its slope from the batch's sum, which is no dense product."""

    @staticmethod
    def forward(ctx, seen, weight, product, learn):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(seen, weight)
        ctx.learn = learn
        return product(seen, weight.T)

    @staticmethod
    def backward(ctx, g):  # type: ignore[no-untyped-def]
        seen, weight = ctx.saved_tensors
        return g @ weight, ctx.learn(g.T, seen), None, None


class _Decode(torch.autograd.Function):
    """f decoder."""

    @staticmethod
    def forward(ctx, f, decoder, product):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(f, decoder)
        ctx.product = product
        return product(f, decoder)

    @staticmethod
    def backward(ctx, g):  # type: ignore[no-untyped-def]
        f, decoder = ctx.saved_tensors
        return ctx.product(g, decoder.T), ctx.product(f.T, g), None


Formula = Callable[[Params, Tensor, Tensor, Plain], Tensor]
"""The loss by parameters, what is seen, what is wanted, and products."""


def _pre(p: Params, seen: Tensor, by: Plain) -> Tensor:
    return by.encode(seen, p["encoder"]) + p["b_enc"]


def _unit(p: Params, seen: Tensor, wanted: Tensor, by: Plain) -> Tensor:
    f = _pre(p, seen, by).relu()
    return (by.decode(f, p["decoder"]) - wanted).square().mean() + 0.03 * f.sum(1).mean()


def _weighted(p: Params, seen: Tensor, wanted: Tensor, by: Plain) -> Tensor:
    f, first = _pre(p, seen, by).relu(), p["decoder"].shape[1] // 2
    lengths = p["decoder"][:, :first].norm(dim=1) + p["decoder"][:, first:].norm(dim=1)
    paid = 0.3 * (f * lengths).sum(1).mean()
    return (by.decode(f, p["decoder"]) - wanted).square().sum(1).mean() + paid


def _topk(p: Params, seen: Tensor, wanted: Tensor, by: Plain) -> Tensor:
    return (by.decode(top(_pre(p, seen, by), 3), p["decoder"]) - wanted).square().mean()


def _auxk(p: Params, seen: Tensor, wanted: Tensor, by: Plain) -> Tensor:
    off = by.decode(top(_pre(p, seen, by), 3), p["decoder"]) - wanted
    few = top(by.encode(seen, p["encoder"][DEAD]) + p["b_enc"][DEAD], 2)
    revived = (by.decode(few, p["decoder"][DEAD]) + off.detach()).square().mean()
    return off.square().mean() + revived / 32


def _batch(p: Params, seen: Tensor, by: Plain) -> Tensor:
    pre = _pre(p, seen, by)
    return top(pre.flatten(), 3 * B).view_as(pre)


def _batch_topk(p: Params, seen: Tensor, wanted: Tensor, by: Plain) -> Tensor:
    return (by.decode(_batch(p, seen, by), p["decoder"]) - wanted).square().mean()


def _matryoshka(p: Params, seen: Tensor, wanted: Tensor, by: Plain) -> Tensor:
    f, off, total = _batch(p, seen, by), -wanted, 0.0
    for level in (slice(0, 5), slice(5, 20)):
        off = off + by.decode(f[:, level], p["decoder"][level])
        total = total + off.square().mean() / 2
    return total


def _gated(p: Params, seen: Tensor, wanted: Tensor, by: Plain) -> Tensor:
    shared = by.encode(seen, p["encoder"])
    gate = (shared + p["b_gate"]).relu()
    f = (gate > 0) * (shared * p["r_mag"].exp() + p["b_mag"]).relu()
    alone = by.decode(gate, p["decoder"].detach()) - wanted.detach()
    paid = 0.2 * gate.sum(1).mean() + alone.square().mean()
    return (by.decode(f, p["decoder"]) - wanted).square().mean() + paid


def _jumprelu(p: Params, seen: Tensor, wanted: Tensor, by: Plain) -> Tensor:
    t = p["threshold"]
    a, threshold = _pre(p, seen, by), 2.0 * (t + (t.clamp_min(0) - t).detach())
    off = by.decode(Jump.apply(a, threshold, 0.4), p["decoder"]) - wanted
    return off.square().mean() + 0.1 * Step.apply(a, threshold, 0.4).sum(1).mean()


CASES: dict[str, tuple[Architecture, Formula]] = {
    "relu": (Relu(0.03, "unit"), _unit),
    "crosscoder": (Relu(0.3, "weighted", parts=(4, 4)), _weighted),
    "topk": (TopK(3, k_aux=2, sparse=False), _auxk),
    "sparse topk": (TopK(3, alpha=0.0, sparse=True), _topk),
    "batch_topk": (BatchTopK(3, alpha=0.0, sparse=False), _batch_topk),
    "sparse batch_topk": (BatchTopK(3, alpha=0.0, sparse=True), _batch_topk),
    "matryoshka": (Matryoshka(3, 0.0, sparse=False, prefixes=(0.25, 1.0)), _matryoshka),
    "jumprelu": (JumpRelu(0.1, bandwidth=0.2, threshold=0.3, length=2.0), _jumprelu),
    "gated": (Gated(0.2), _gated),
}


def _drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _started(architecture: Architecture, d_out: int) -> Params:
    generator = torch.Generator().manual_seed(1)
    start = architecture.initial(Sizes(D, d_out, M, d_out == D), generator)
    start["b_dec"] = torch.zeros(d_out)
    return {k: v + 0.3 * torch.randn(v.shape, generator=generator) for k, v in start.items()}


def _by_formula(name: str, params: Params, x: Tensor, y: Tensor | None, by: Plain) -> Params:
    """The gradients of the formula, by autograd in float64."""
    p = {k: v.double().requires_grad_() for k, v in params.items()}
    x = x.double()
    seen = x - (p["b_dec"] if y is None else 0.25)
    wanted = seen if y is None else y.double() - p["b_dec"] - by.skip(seen, p["W_skip"])
    loss = CASES[name][1](p, seen, wanted, by)
    return dict(zip(p, torch.autograd.grad(loss, list(p.values())), strict=True))


def _off(found: Params, wanted: Params, name: str) -> float:
    """How far off a gradient is, in lengths of the one that is wanted."""
    return float((found[name].cpu().double() - wanted[name]).norm() / wanted[name].norm())


CLOSE = 2.0**-12
"""Of a gradient's length: less than rounding changes of it, more than a few other boundaries."""


@pytest.mark.parametrize(
    ("name", "transcodes"),
    [*((name, False) for name in CASES), *((name, True) for name in CASES if name != "crosscoder")],
)
def test_gradients_are_those_of_the_formula_with_rounded_factors(
    name: str, transcodes: bool, device: str
) -> None:
    architecture, _ = CASES[name]
    params, x = _started(architecture, OUT if transcodes else D), _drawn(2, B, D)
    y = _drawn(3, B, OUT) if transcodes else None
    ends, fixed = (Itself(), {}) if y is None else (Onto(True), {"centre": torch.full((D,), 0.25)})
    if transcodes:
        params["W_skip"] = _drawn(4, OUT, D)
    dead = torch.zeros(M, dtype=torch.bool)
    dead[DEAD] = True
    batch = x.to(device), (x if y is None else y).to(device)
    mine, fixed = ({k: v.to(device) for k, v in held.items()} for held in (params, fixed))
    now = Now(dead=dead.to(device), products=HALVES)
    found = loss_between(ends, architecture, mine, fixed, batch, now).gradients
    is_sparse = bool(getattr(architecture, "sparse", False))
    by = Rounded(not products.keeps_sums(batch[0]), is_sparse)
    wanted = _by_formula(name, params, x, y, by)
    plain = _by_formula(name, params, x, y, Plain())
    assert found.keys() == wanted.keys()
    for one in wanted:
        assert _off(found, wanted, one) < CLOSE, one
        assert _off(found, plain, one) > 2 * CLOSE, f"nothing is rounded that {one} is made of"


class Kinds(TorchDispatchMode):
    """Of all products of matrices the kinds of their factors; of all roundings to bfloat16 the
    shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.factors: list[torch.dtype] = []
        self.roundings: list[tuple[int, ...]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        name = func.overloadpacket.__name__
        if name in ("mm", "addmm", "addmm_") and len(args[-2]) > 1:  # else of a vector
            self.factors += [x.dtype for x in args[-2:]]
        if name == "_to_copy" and kwargs["dtype"] == torch.bfloat16:
            self.roundings.append(tuple(args[0].shape))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", BY_NAME)
def test_all_dense_products_are_of_one_kind_and_a_weight_is_rounded_once_a_step(
    name: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a batch in several chunks, too."""
    monkeypatch.setattr(base, "CACHED", 64 * M)
    monkeypatch.setattr(screening, "is_quick", lambda: False)
    architecture, _ = CASES[name]
    x = _drawn(2, 256, D)
    settings = Settings(M, 1e-2, products=BY_NAME[dtype])
    trainer = Trainer(architecture, settings, Schedule(2), x)
    with Kinds() as kinds:
        trainer.step(x)
    is_sparse = bool(getattr(architecture, "sparse", False))
    if dtype == "float32":
        assert set(kinds.factors) == {torch.float32} and not kinds.roundings
    else:
        assert set(kinds.factors) == {torch.bfloat16}
        assert sum({*shape} == {M, D} for shape in kinds.roundings) == 2 - is_sparse
    assert {v.dtype for v in trainer.state().values()} <= {torch.float32, torch.int64}


def test_without_a_dtype_products_are_torch_s_own() -> None:
    a, b, onto = _drawn(5, 33, 65), _drawn(6, 65, 17), _drawn(7, 33, 17)
    out = torch.empty(33, 17)
    assert torch.equal(PLAIN.mm(a, b, out), a @ b) and torch.equal(out, a @ b)
    wanted = torch.addmm(onto, a, b, beta=-1, alpha=0.3)
    assert torch.equal(PLAIN.addmm(onto, a, b, beta=-1, alpha=0.3), wanted)
    more = onto.clone()
    PLAIN.add_to(more, a, b, 0.3)
    assert torch.equal(more, onto.clone().addmm_(a, b, alpha=0.3))


def test_products_of_bfloat16(device: str) -> None:
    a, b, onto = _drawn(5, 33, 65), _drawn(6, 65, 17), _drawn(7, 33, 17)
    x, y, z = (t.clone().to(device) for t in (a, b, onto))
    exact = _rounded(a) @ _rounded(b)
    made = exact if products.keeps_sums(x) else _rounded(exact)
    for found, wanted in (
        (HALVES.mm(x, y), made),
        (HALVES.mm(x, y, torch.empty_like(z)), made),
        (HALVES.addmm(z, x, y, beta=-1, alpha=0.3), 0.3 * made - onto),
        (HALVES.addmm(z[0], x, y), made + onto[0]),
    ):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.cpu().double(), wanted.double(), atol=1e-5, rtol=1e-5)
    HALVES.add_to(z, x, y, 0.3)
    torch.testing.assert_close(z.cpu().double(), 0.3 * made + onto, atol=1e-5, rtol=1e-5)
