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

import torch
from torch import Tensor
from torch.nn import functional

from interp_dsl.circuits.layer import Layer, by_head
from interp_dsl.circuits.prompts import Prompts
from interp_dsl.circuits.rows import index, picked
from interp_dsl.models.compiled import attention
from interp_dsl.models.graph import Ints


class Source(NamedTuple):
    """What the queries, keys or values of some `rows` [m] are in `some` candidates [c]: themselves
    `x` [m, c, B, T, d_head], or the normed inputs [m, c, B, T, D] that they are made of
    (`is_input`). The first two axes of x have size 1 where it is the same for all."""

    rows: Ints
    some: Ints
    x: Tensor
    is_input: bool

    @property
    def joined(self) -> tuple[str, Tensor]:
        """x without the axes along which it is the same, and what is left of "nkbt"."""
        sizes = [size for size in self.x.shape[:2] if size > 1]
        axes = "".join(a for a, size in zip("nk", self.x.shape, strict=False) if size > 1)
        return f"{axes}bt", self.x.reshape(*sizes, *self.x.shape[2:])

    def of(self, x: Tensor) -> Tensor:
        """x [n, K, ...] of these rows and candidates, [m, c, ...]."""
        return picked(picked(x, self.rows).transpose(0, 1), self.some).transpose(0, 1)

    def write(self, into: Tensor, x: Tensor) -> None:
        """Let these rows and candidates of a tensor [n, K, ...] be x [m or 1, c or 1, ...]."""
        rows, some = (index(of, x.device) for of in (self.rows, self.some))
        if isinstance(rows, Tensor) and isinstance(some, Tensor):
            rows = rows[:, None]
        into[rows, some] = x


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
    Of keys and values of a row and a candidate the last source counts."""

    def scores(of: Source) -> Tensor:
        mine, (axes, x) = of.of(q), of.joined
        if not of.is_input:
            return torch.einsum(f"nkbrd,{axes}d->nkbrt", mine, x)
        weight, bias, at = layer.map_of("k", heads[of.rows])
        mine = by_head(mine, weight, at)
        found = torch.einsum(f"nkbrd,{axes}d->nkbrt", mine, x)
        if bias is not None and layer.model.description.score_cap is not None:
            found = found + by_head(of.of(q), bias.transpose(1, 2), at)
        return found

    def mixed(of: Source) -> Tensor:
        mine, (axes, x) = of.of(pattern), of.joined
        found = torch.einsum(f"nkbrt,{axes}d->nkbrd", mine, x)
        if not of.is_input:
            return found
        weight, bias, at = layer.map_of("v", heads[of.rows])
        found = by_head(found, weight.transpose(1, 2), at)
        return found if bias is None else found + picked(bias, at)[:, None, None]

    seen = prompts.seen(layer.kind.window, narrow=True)
    pattern = _pattern(layer, _each(scores, keys, q.shape[:2]), seen)
    z = _each(mixed, values, q.shape[:2])
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


def joined(sources: Sequence[Source], shape: Sequence[int]) -> Tensor:
    """Sources that are queries, keys or values themselves, as one tensor [n, K, B, t, d_head]."""
    if len(sources) == 1:
        return sources[0].x.expand(*shape, -1, -1, -1)
    return _each(lambda of: of.x, sources, shape)


def _each(
    make: Callable[[Source], Tensor], sources: Sequence[Source], shape: Sequence[int]
) -> Tensor:
    """What is made of each source, [n, K, ...]; later ones stand over earlier ones."""
    if len(sources) == 1:
        return make(sources[0])
    found: Tensor | None = None
    for source in sources:
        x = make(source)
        found = x.new_empty(*shape, *x.shape[2:]) if found is None else found
        source.write(found, x)
    assert found is not None
    return found
