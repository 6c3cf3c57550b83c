"""Models built by hand whose circuits are known: no norms, all weights 0 but those set, float64."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from interp_dsl.circuits.forward import EdgeForward
from interp_dsl.models import native_config, weights
from interp_dsl.models.compiled.description import describe_native
from interp_dsl.models.compiled.forward import Compiled
from interp_dsl.models.compiled.weights import from_tensors
from interp_dsl.models.graph import Graph


def built(
    tensors: dict[str, Tensor],
    *,
    n_heads: int,
    d_vocab: int,
    d_model: int,
    d_vocab_out: int,
    n_layers: int = 1,
    d_head: int = 1,
    d_mlp: int = 0,
    n_ctx: int = 8,
    **options: bool,
) -> EdgeForward:
    """Tensors under TransformerLens's names."""
    raw = {
        "n_layers": n_layers,
        "n_heads": n_heads,
        "d_model": d_model,
        "d_head": d_head,
        "n_ctx": n_ctx,
        "d_vocab": d_vocab,
        "d_vocab_out": d_vocab_out,
        "normalization_type": None,
        "act_fn": "relu",
        "attn_scale": 1.0,
    }
    raw |= {"d_mlp": d_mlp} if d_mlp else {"attn_only": True}
    config = native_config.parse(raw, Path("config.json"))
    expected = weights.expected(config)
    assert tensors.keys() <= expected.keys()
    full = {name: torch.zeros(size) for name, size in expected.items()}
    for name, value in tensors.items():
        assert full[name].shape == value.shape, name
        full[name] = value
    read = from_tensors(config, full, torch.device("cpu"), torch.float64)
    return EdgeForward(Compiled(describe_native(config), read), Graph(config.shape, **options))


def entries(*size: int, **at: float) -> Tensor:
    """A tensor of zeros but for the entries named: `_0_2=5.0` sets [0, 2]."""
    x = torch.zeros(size)
    for place, value in at.items():
        x[tuple(int(number) for number in place[1:].split("_"))] = value
    return x


def gate(kind: str, **options: bool) -> EdgeForward:
    """Token 1 is true in both of two inputs, token 0 in none. Head 0 copies the first input, x,
    head 1 the second, y; the MLP computes or = 1 - relu(1 - x - y) or and = relu(x + y - 1); the
    logits read its output alone. Axes: inputs, copies x and y, output."""
    is_or = kind == "or"
    sign = -1.0 if is_or else 1.0
    return built(
        {
            "embed.W_E": entries(2, 5, _1_0=1, _1_1=1),
            "blocks.0.attn.W_V": entries(2, 5, 1, _0_0_0=1, _1_1_0=1),
            "blocks.0.attn.W_O": entries(2, 1, 5, _0_0_2=1, _1_0_3=1),
            "blocks.0.mlp.W_in": entries(5, 1, _2_0=sign, _3_0=sign),
            "blocks.0.mlp.b_in": entries(1, _0=-sign),
            "blocks.0.mlp.W_out": entries(1, 5, _0_4=sign),
            "blocks.0.mlp.b_out": entries(5, _4=float(is_or)),
            "unembed.W_U": entries(5, 1, _4_0=1),
        },
        n_heads=2,
        d_vocab=2,
        d_model=5,
        d_vocab_out=1,
        d_mlp=1,
        **options,
    )


def additive(sizes: list[float]) -> EdgeForward:
    """Head h copies its own input, times sizes[h], to its own output, which logit h reads."""
    n = len(sizes)
    copy = torch.zeros(n, 2 * n, 1)
    write = torch.zeros(n, 1, 2 * n)
    for head, size in enumerate(sizes):
        copy[head, head, 0], write[head, 0, n + head] = 1, size
    unembed = torch.zeros(2 * n, n)
    unembed[n:] = torch.eye(n)
    embed = torch.zeros(2, 2 * n)
    embed[1, :n] = 1
    return built(
        {
            "embed.W_E": embed,
            "blocks.0.attn.W_V": copy,
            "blocks.0.attn.W_O": write,
            "unembed.W_U": unembed,
        },
        n_heads=n,
        d_vocab=2,
        d_model=2 * n,
        d_vocab_out=n,
    )


def induction(n_tokens: int = 8, length: int = 8, **options: bool) -> EdgeForward:
    """Two layers of one head. The first attends to the position before and notes its token; the
    second attends to where the note is the token at hand and copies the token there, which the
    logits read. Axes: token, position, note, copy."""
    n, d = n_tokens, 3 * n_tokens + length
    token, position, note, copy = (
        torch.eye(d)[start : start + size]
        for start, size in ((0, n), (n, length), (n + length, n), (2 * n + length, n))
    )
    size = max(n, length)

    def pad(x: Tensor) -> Tensor:
        """[d, n] -> [1, d, size]."""
        return torch.nn.functional.pad(x, (0, size - x.shape[1]))[None]

    before = torch.roll(torch.eye(length), -1, 1)
    strong = 200.0
    return built(
        {
            "embed.W_E": token,
            "pos_embed.W_pos": position,
            "blocks.0.attn.W_Q": pad(strong * position.T @ before),
            "blocks.0.attn.W_K": pad(position.T),
            "blocks.0.attn.W_V": pad(token.T),
            "blocks.0.attn.W_O": pad(note.T).transpose(1, 2),
            "blocks.1.attn.W_Q": pad(strong * token.T),
            "blocks.1.attn.W_K": pad(note.T),
            "blocks.1.attn.W_V": pad(token.T),
            "blocks.1.attn.W_O": pad(copy.T).transpose(1, 2),
            "unembed.W_U": copy.T,
        },
        n_layers=2,
        n_heads=1,
        d_vocab=n,
        d_model=d,
        d_head=size,
        d_vocab_out=n,
        n_ctx=length,
        **options,
    )


def share() -> EdgeForward:
    """The share of tokens 2 and 3 so far, as a compiler would lay it out over two layers: the first
    MLP tells whether a token is one of them (relu(one2 + one3)), the second layer's head 1 averages
    that over all positions up to here, and the logit reads the average. The other heads and the
    other MLP write nothing. Axes: tokens, is it one, share."""
    return built(
        {
            "embed.W_E": torch.eye(5, 7),
            "blocks.0.mlp.W_in": entries(7, 2, _2_0=1, _3_1=1),
            "blocks.0.mlp.W_out": entries(2, 7, _0_5=1, _1_5=1),
            "blocks.1.attn.W_V": entries(2, 7, 1, _1_5_0=1),
            "blocks.1.attn.W_O": entries(2, 1, 7, _1_0_6=1),
            "unembed.W_U": entries(7, 1, _6_0=1),
        },
        n_layers=2,
        n_heads=2,
        d_vocab=5,
        d_model=7,
        d_vocab_out=1,
        d_mlp=2,
    )
