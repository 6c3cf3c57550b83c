"""From the residual stream to queries, keys and values, through each head's own input where one is
touched."""

from __future__ import annotations

import torch
from torch import Tensor

from interp_dsl.models.compiled.forward import WIDEST, Compiled, Rooms
from interp_dsl.models.compiled.taps import Taps
from interp_dsl.models.compiled.weights import Block


class Projections:
    """`q_input`, `k_input` and `v_input` [B, t, head, d_model] are what a head reads: the stream
    before the norm, one copy a head (a key/value head for k and v)."""

    def __init__(self, model: Compiled, taps: Taps, rooms: Rooms | None) -> None:
        """`rooms` as in Compiled.product."""
        self.model = model
        self.taps = taps
        self.rooms = rooms
        shape = model.description.shape
        self.d_head = shape.d_head
        self._size = {"q": shape.n_heads, "k": shape.n_kv_heads, "v": shape.n_kv_heads}
        self._first = {"q": 0, "k": shape.n_heads, "v": shape.n_heads + shape.n_kv_heads}

    def __call__(self, parts: str, x: Tensor, layer: int) -> list[Tensor]:
        """`q`, `kv` or `qkv` of the stream x [B, t, d_model], each [B, t, head, d_head] before it
        is normed and turned, changed."""
        self._count(parts, x)
        if any(self.taps.touches(f"{part}_input", layer) for part in parts):
            found = [self._own(part, x, layer) for part in parts]
        else:
            h = self.model.normed(x, self._block(layer).ln1, self.model.description.norm)
            room = parts if parts == "q" else WIDEST
            joined = self.model.product(room, h, *self._weights(parts, layer), self.rooms)
            joined = joined.view(*x.shape[:-1], -1, self.d_head)
            found = list(torch.split(joined, [self._size[part] for part in parts], -2))
        return [self.taps.at(part, layer, y, "heads") for part, y in zip(parts, found, strict=True)]

    def _own(self, part: str, x: Tensor, layer: int) -> Tensor:
        """One part through each head's own input."""
        n_heads = self._size[part]
        own = x[:, :, None].expand(-1, -1, n_heads, -1)
        own = self.taps.at(f"{part}_input", layer, own, "heads")
        own = self.model.normed(own, self._block(layer).ln1, self.model.description.norm)
        weight, bias = self._weights(part, layer)
        found = torch.einsum("bthd,hed->bthe", own, weight.view(n_heads, self.d_head, -1))
        return found if bias is None else found + bias.view(n_heads, self.d_head)

    def _weights(self, parts: str, layer: int) -> tuple[Tensor, Tensor | None]:
        """The rows of consecutive parts in the layer's stacked matrix, and in its bias."""
        first = self._first[parts[0]] * self.d_head
        rows = slice(first, first + sum(self._size[part] for part in parts) * self.d_head)
        weight, bias = self._block(layer).qkv, self._block(layer).qkv_bias
        return weight[rows], None if bias is None else bias[rows]

    def _count(self, parts: str, x: Tensor) -> None:
        n = x.shape[0] * x.shape[1]
        self.model.work["q"] += n * ("q" in parts)
        self.model.work["kv"] += n * ("k" in parts)

    def _block(self, layer: int) -> Block:
        return self.model.weights.blocks[layer]
