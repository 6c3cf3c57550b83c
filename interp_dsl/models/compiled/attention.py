"""Rotary positions, what may be attended to, and attention itself."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from interp_dsl.models.compiled.weights import Frequencies


class Rotary:
    """cos and sin of all positions seen so far, grown when longer prompts come."""

    def __init__(self, frequencies: Frequencies, adjacent: bool, dtype: torch.dtype) -> None:
        self._frequencies = frequencies
        self._adjacent = adjacent
        self._dtype = dtype
        self._tables = self._computed(0)

    def turn(self, x: Tensor, positions: Tensor) -> Tensor:
        """x [B, t, head, d_head] turned to positions [t] or [B, t], which are below `reach`."""
        cos, sin = (table[positions].unsqueeze(-2) for table in self._tables)
        width = cos.shape[-1]
        turned, rest = x[..., :width], x[..., width:]
        turned = turned * cos + self._quarter_turn(turned) * sin
        return torch.cat([turned, rest], -1) if rest.shape[-1] else turned

    def reach(self, length: int) -> None:
        """Make sure that positions below `length` have their tables."""
        if len(self._tables[0]) < length:
            self._tables = self._computed(length)

    def _computed(self, length: int) -> tuple[Tensor, Tensor]:
        angles = self._frequencies.angles
        positions = torch.arange(length, device=angles.device).float()
        turns = torch.outer(positions, angles)
        turns = turns.repeat_interleave(2, -1) if self._adjacent else torch.cat([turns, turns], -1)
        scaling = self._frequencies.scaling
        return (turns.cos() * scaling).to(self._dtype), (turns.sin() * scaling).to(self._dtype)

    def _quarter_turn(self, x: Tensor) -> Tensor:
        if self._adjacent:
            return torch.stack([-x[..., 1::2], x[..., 0::2]], -1).flatten(-2)
        first, second = x.chunk(2, -1)
        return torch.cat([-second, first], -1)


def visible(
    queries: Tensor, length: int, causal: bool, window: int | None, mask: Tensor | None
) -> Tensor | None:
    """Which keys a query sees, [1 or B, 1, t, length]; None when each sees all. `queries` [t] or
    [B, t] are positions, `mask` [B, length] the tokens that may be seen."""
    if not causal and window is None and mask is None:
        return None
    keys = torch.arange(length, device=queries.device)
    distance = queries.reshape(-1, queries.shape[-1], 1) - keys
    seen = distance >= 0 if causal else torch.ones_like(distance, dtype=torch.bool)
    if window is not None:
        seen = seen & (distance < window)
    if mask is not None:
        seen = seen & mask[:, None, :]
    return seen[:, None]


def fused(
    q: Tensor, k: Tensor, v: Tensor, scale: float, added: Tensor | None, causal: bool
) -> Tensor:
    """z [B, t, head, d_head] from q [B, t, head, d_head] and k, v [B, T, kv head, d_head].
    `added` to the scores is what `bias` makes of what may be seen. `causal`: queries and keys are
    the same positions, and each sees the earlier ones."""
    z = functional.scaled_dot_product_attention(
        q.transpose(1, 2),
        k.transpose(1, 2),
        v.transpose(1, 2),
        attn_mask=None if causal else added,
        is_causal=causal,
        scale=scale,
        enable_gqa=q.shape[2] != k.shape[2],
    )
    return z.transpose(1, 2)


def eager(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float,
    seen: Tensor | None,
    cap: float | None,
    softmax_dtype: torch.dtype | None,
    change: Callable[[Tensor], Tensor],
) -> Tensor:
    """The same with the pattern [B, head, t, T] in between, which `change` sees and may replace."""
    values = v.repeat_interleave(q.shape[2] // v.shape[2], 2).transpose(1, 2)
    scores = scored(q, k, scale, seen, cap)
    pattern = functional.softmax(scores, dim=-1, dtype=softmax_dtype).to(q.dtype)
    return (change(pattern) @ values).transpose(1, 2)


def scored(q: Tensor, k: Tensor, scale: float, seen: Tensor | None, cap: float | None) -> Tensor:
    """Attention scores [B, head, t, T] of q [B, t, head, d_head] and k [B, T, kv head, d_head], as
    the softmax takes them."""
    keys = k.repeat_interleave(q.shape[2] // k.shape[2], 2).transpose(1, 2)
    return finished(q.transpose(1, 2) @ keys.transpose(-1, -2) * scale, seen, cap)


def finished(scores: Tensor, seen: Tensor | None, cap: float | None) -> Tensor:
    """Scaled scores [..., t, T] as the softmax takes them."""
    if cap is not None:
        scores = cap * torch.tanh(scores / cap)
    return scores if seen is None else scores + bias(seen, scores.dtype)


def bias(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """Added to scores. Finite, not -inf: a query that sees no key attends to all alike, and nothing
    is NaN. Half the least number: kernels that take powers of 2 multiply it by log₂ e."""
    zero = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
    return zero.masked_fill(~seen, torch.finfo(dtype).min / 2)
