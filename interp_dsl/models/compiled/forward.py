"""The arithmetic of the compiled forward: an architecture with its weights."""

from __future__ import annotations

import math
from collections import Counter

import torch
from torch import Tensor
from torch.nn import functional

from interp_dsl.models.compiled.activations import activated
from interp_dsl.models.compiled.attention import Rotary
from interp_dsl.models.compiled.description import Description
from interp_dsl.models.compiled.masks import Triangle
from interp_dsl.models.compiled.weights import Block, Norm, Weights

WIDEST = "widest"
"""The room of what a layer makes of the stream: queries, keys and values, then the MLP's inputs."""


class Rooms:
    """Memory that is written over and over: fresh memory costs a processor about a tenth of a
    product."""

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}

    def of(self, name: str, like: Tensor, *shape: int) -> Tensor:
        """Room of a shape, which the next room of this name overwrites."""
        size = math.prod(shape)
        room = self._held.get(name)
        if room is None or room.numel() < size:
            room = self._held[name] = like.new_empty(size)
        return room[:size].view(shape)


class Compiled:
    """`work` counts rows × positions through the matrices of a layer: q, kv, out (W_O), mlp;
    `unembed` are logits, `pairs` rows × queries × keys."""

    def __init__(self, description: Description, weights: Weights) -> None:
        self.description = description
        self.weights = weights
        self.dtype = weights.embed.dtype
        self.device = weights.embed.device
        self.work: Counter[str] = Counter()
        self.rotary = tuple(
            Rotary(table, description.adjacent, self.dtype) for table in weights.rotary
        )
        self.fuses = description.fuses_attention(self.dtype)
        self.rooms = Rooms()
        self.triangle = Triangle()

    def normed(self, x: Tensor, norm: Norm, kind: str | None) -> Tensor:
        """x [..., width] normalised over its last axis."""
        eps = self.description.eps
        if kind is None:
            return x
        if kind == "LN":
            return functional.layer_norm(x, x.shape[-1:], norm.weight, norm.bias, eps)
        is_low = x.dtype in (torch.bfloat16, torch.float16)
        is_single = self.description.single_norm and norm.weight is not None
        wide = x.float() if is_low or is_single else x
        wide = wide * self.inverse_scale(wide, norm)
        if norm.weight is None:
            return wide.to(x.dtype)
        if self.description.norm_offset:
            return (wide * (1 + norm.weight.float())).to(x.dtype)
        return norm.weight * wide.to(x.dtype)

    def inverse_scale(self, x: Tensor, norm: Norm) -> Tensor:
        """What `norm` multiplies x [..., width] by before its weight, [..., 1]."""
        return torch.rsqrt(x.square().mean(-1, keepdim=True) + self.description.eps)

    def product(
        self, name: str, x: Tensor, weight: Tensor, bias: Tensor | None, rooms: Rooms | None
    ) -> Tensor:
        """x weightᵀ + bias, x [..., inner], weight [outer, inner]. In one of `rooms` the result
        stands until the next product of this name, in whichever layer."""
        if rooms is None or x.device.type != "cpu":
            return functional.linear(x, weight, bias)
        out = rooms.of(name, x, *x.shape[:-1], weight.shape[0])
        rows = out.view(-1, out.shape[-1])
        torch.mm(x.reshape(-1, x.shape[-1]), weight.T, out=rows)
        return out if bias is None else out.add_(bias)

    def hidden(self, x: Tensor, block: Block, rooms: Rooms | None = None) -> Tensor:
        """An MLP's activations [..., d_mlp] of the stream x [..., d_model]; `rooms` as in
        `product`."""
        description = self.description
        assert block.ln2 is not None and block.w_in is not None
        h = self.normed(x, block.ln2, description.norm)
        bias = block.b_in
        joins = x.device.type != "cpu" and bias is not None and bias.dim() == 1
        h = self.product(WIDEST, h, block.w_in, bias if joins else None, rooms)
        bias = None if joins else bias  # the activation adds it, in the processor's cache
        if description.shape.gated:
            gate, linear = (h if bias is None else h + bias).chunk(2, -1)
            h = activated(gate, description.activation, None) * linear
        else:
            h = activated(h, description.activation, bias)
        return h if block.mid_norm is None else self.normed(h, block.mid_norm, "LN")

    def logits(
        self, x: Tensor, outputs: Tensor | None = None, rooms: Rooms | None = None
    ) -> Tensor:
        """The stream after the last block [B, r, d_model] -> logits [B, r, d_vocab_out], or those
        of the tokens `outputs` [u] alone; `rooms` as in `product`."""
        x = self.normed(x, self.weights.final, self.description.final_norm)
        weight, bias = self.weights.unembed, self.weights.unembed_bias
        if outputs is not None:
            weight, bias = weight[outputs], None if bias is None else bias[outputs]
        self.work["unembed"] += math.prod(x.shape[:-1]) * len(weight)
        logits = self.product("logits", x, weight, bias, rooms)
        cap = self.description.logit_cap
        return logits if cap is None else cap * torch.tanh(logits / cap)


def added(x: Tensor, h: Tensor, weight: Tensor, bias: Tensor | None, in_place: bool) -> Tensor:
    """x + h weightᵀ + bias: what a layer's part writes to the stream x [B, t, d_model], h [B, t,
    inner], weight [d_model, inner]. In place the sum costs no pass over memory of its own."""
    if not in_place:
        return x + functional.linear(h, weight, bias)
    if bias is not None:
        x.add_(bias)
    x.view(-1, x.shape[-1]).addmm_(h.reshape(-1, h.shape[-1]), weight.T)
    return x
