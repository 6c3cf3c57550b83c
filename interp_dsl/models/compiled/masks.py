"""Which keys the queries of a pass see."""

from __future__ import annotations

import torch
from torch import Tensor

from interp_dsl.models.compiled import attention


class Triangle:
    """What is added to the scores of prompts of one length, in which a query sees all that is not
    behind it: made once for all passes."""

    def __init__(self) -> None:
        self._held = torch.zeros(0, 0)

    def of(self, positions: Tensor, length: int, dtype: torch.dtype) -> Tensor:
        """[1 or B, 1, t, length] of queries at `positions` [t] or [B, t]."""
        if len(self._held) != length:
            seen = attention.visible(
                torch.arange(length, device=positions.device), length, True, None, None
            )
            assert seen is not None
            self._held = attention.bias(seen[0, 0], dtype)
        return self._held[positions.reshape(-1, positions.shape[-1])][:, None]


class Masks:
    """Of a pass over prompts of `length` tokens, of which `mask` [B, length] may be seen; made once
    as long as its stream holds the same positions."""

    def __init__(
        self, triangle: Triangle, length: int, causal: bool, mask: Tensor | None, dtype: torch.dtype
    ) -> None:
        self.length, self.causal, self.mask, self.dtype = length, causal, mask, dtype
        self._triangle = triangle

    def hold(self, positions: Tensor) -> None:
        """The queries are those at `positions` [t] or [B, t] from here on."""
        self.positions = positions
        self._seen: dict[int | None, Tensor | None] = {}
        self._biases: dict[int | None, Tensor | None] = {}

    def covers(self, window: int | None) -> bool:
        """Does a window hide nothing of a prompt of this length?"""
        return window is None or window >= self.length

    def visible(self, window: int | None) -> Tensor | None:
        """Which keys a query sees [1 or B, 1, t, length]; None when each sees all."""
        window = None if self.covers(window) else window
        if window not in self._seen:
            self._seen[window] = attention.visible(
                self.positions, self.length, self.causal, window, self.mask
            )
        return self._seen[window]

    def bias(self, window: int | None) -> Tensor | None:
        """The same as what is added to scores."""
        window = None if self.covers(window) else window
        if window not in self._biases:
            self._biases[window] = self._bias(window)
        return self._biases[window]

    def _bias(self, window: int | None) -> Tensor | None:
        if self.causal and window is None and self.mask is None:
            return self._triangle.of(self.positions, self.length, self.dtype)
        seen = self.visible(window)
        return None if seen is None else attention.bias(seen, self.dtype)

    def sees_any(self, window: int | None, rows: slice) -> Tensor:
        """[r, t, 1, 1]: 1 for queries of `rows` that see a key."""
        seen = of_rows(self.visible(window), rows)
        assert seen is not None
        return seen.any(-1).transpose(1, 2)[..., None].to(self.dtype)


def of_rows(x: Tensor | None, rows: slice) -> Tensor | None:
    """Rows of x [B or 1, …], which may be the same for all."""
    return x if x is None or len(x) == 1 else x[rows]
