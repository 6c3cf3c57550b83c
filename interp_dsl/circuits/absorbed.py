"""Attention of heads that are needed at few positions, without keys and values of their own: what
multiplies the keys is multiplied into the queries, and values are made of what is attended to.

    q · (W_K h_t + b_K) = (W_Kᵀ q) · h_t + q · b_K
    Σ_t a_t (W_V h_t + b_V) = W_V Σ_t a_t h_t + b_V

For one query and one head that costs d_model a key instead of d_model × d_head (the absorption of
DeepSeek-V2, arXiv 2405.04434, section 2.1.2). A softmax over the keys does not see q · b_K; a cap
on scores does.

Shapes: n rows, each of a head; K candidates; then B, r positions of queries or T of keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from interp_dsl.circuits.layer import Layer, by_head
from interp_dsl.circuits.prompts import Prompts
from interp_dsl.circuits.rows import picked
from interp_dsl.models.compiled import attention
from interp_dsl.models.graph import Ints


class Source(NamedTuple):
    """What the keys or values of some `rows` [m] are: themselves `x` [m, K, B, T, d_head], or the
    normed inputs [m, K, B, T, D] that they are made of (`is_input`). The first two axes of x have
    size 1 where it is the same for all."""

    rows: Ints
    x: Tensor
    is_input: bool

    @property
    def joined(self) -> tuple[str, Tensor]:
        """x without the axes along which it is the same, and what is left of "nkbt"."""
        sizes = [size for size in self.x.shape[:2] if size > 1]
        axes = "".join(a for a, size in zip("nk", self.x.shape, strict=False) if size > 1)
        return f"{axes}bt", self.x.reshape(*sizes, *self.x.shape[2:])


def pays(n_queries: int, n_keys: int, d_head: int) -> bool:
    """Does it cost at most half of what keys and values cost?"""
    return 4 * n_queries <= min(n_keys, d_head)


def absorbs_keys(layer: Layer) -> bool:
    """Are keys a linear map of their inputs, the same at all positions?"""
    return not layer.model.rotary and layer.block.k_norm is None


def attended(
    layer: Layer,
    prompts: Prompts,
    heads: Ints,
    q: Tensor,
    keys: Sequence[Source],
    values: Sequence[Source],
) -> Tensor:
    """z [n, K, B, r, d_head] of queries q [n, K, B, r, d_head] at the reads, of some heads [n].
    Keys and values of every row are told by one source each."""
    n = len(heads)

    def scores(of: Source) -> Tensor:
        mine, (axes, x) = _some(q, of.rows), of.joined
        if not of.is_input:
            return torch.einsum(f"nkbrd,{axes}d->nkbrt", mine, x)
        weight, bias, at = layer.map_of("k", heads[of.rows])
        mine = by_head(mine, weight, at)
        found = torch.einsum(f"nkbrd,{axes}d->nkbrt", mine, x)
        if bias is not None and layer.model.description.score_cap is not None:
            found = found + by_head(_some(q, of.rows), bias.transpose(1, 2), at)
        return found

    def mixed(of: Source) -> Tensor:
        mine, (axes, x) = _some(pattern, of.rows), of.joined
        found = torch.einsum(f"nkbrt,{axes}d->nkbrd", mine, x)
        if not of.is_input:
            return found
        weight, bias, at = layer.map_of("v", heads[of.rows])
        found = by_head(found, weight.transpose(1, 2), at)
        return found if bias is None else found + picked(bias, at)[:, None, None]

    seen = prompts.seen(layer.kind.window, narrow=True)
    pattern = _pattern(layer, _by_row(scores, keys, n), seen)
    z = _by_row(mixed, values, n)
    if layer.model.description.blank_rows and prompts.mask is not None and seen is not None:
        z = z * seen[:, 0].any(-1, keepdim=True).to(z.dtype)
    return z


def _pattern(layer: Layer, scores: Tensor, seen: Tensor | None) -> Tensor:
    """[n, K, B, r, T]."""
    description = layer.model.description
    seen = None if seen is None else seen[:, 0]
    scores = attention.finished(scores * layer.kind.scale, seen, description.score_cap)
    dtype = torch.float32 if description.single_softmax else None
    return functional.softmax(scores, dim=-1, dtype=dtype).to(scores.dtype)


def _some(x: Tensor, rows: Ints) -> Tensor:
    return x if len(rows) == len(x) else picked(x, rows)


def _by_row(make: Callable[[Source], Tensor], sources: Sequence[Source], n: int) -> Tensor:
    """What is made of each source, rows in order."""
    if len(sources) == 1:
        return make(sources[0])
    order = np.argsort(np.concatenate([of.rows for of in sources]))
    found = torch.cat([make(of) for of in sources])
    return found[torch.from_numpy(order).to(found.device)]
