"""What a pass leaves behind, for later passes that start in the middle."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from interp_dsl.models.shape import Shape

PARTS = ("resid_pre", "keys", "z")


@dataclass(frozen=True)
class Memory:
    """Of n examples of T tokens: resid_pre [layer, n, T, d_model]; keys (after rotary) and values
    [layer, n, T, kv head, d_head]; z [layer, n, T, head, d_head]. A part that was not asked for is
    None. `mask` [n, T] is the one that they ran under."""

    n: int
    length: int
    mask: Tensor | None
    resid_pre: Tensor | None
    keys: Tensor | None
    values: Tensor | None
    z: Tensor | None

    @classmethod
    def blank(
        cls,
        shape: Shape,
        tokens: Tensor,
        mask: Tensor | None,
        parts: Collection[str],
        dtype: torch.dtype,
    ) -> Memory:
        """Room for the parts (of PARTS; `keys` are keys and values) of a pass over `tokens`."""
        n, length = tokens.shape

        def room(part: str, *width: int) -> Tensor | None:
            size = (shape.n_layers, n, length, *width)
            return torch.empty(size, dtype=dtype, device=tokens.device) if part in parts else None

        kv = (shape.n_kv_heads, shape.d_head)
        return cls(
            n,
            length,
            mask,
            room("resid_pre", shape.d_model),
            room("keys", *kv),
            room("keys", *kv),
            room("z", shape.n_heads, shape.d_head),
        )

    def keep(self, layer: int, part: str, x: Tensor) -> None:
        """Write one layer of a part, where there is room for it."""
        room: Tensor | None = getattr(self, part)
        if room is not None:
            room[layer] = x


@dataclass(frozen=True)
class Start:
    """Where a late pass starts: `rows` [R] of a memory, from `position` on in `layer`.
    `from_z`: that layer's attention is taken from the memory up to z."""

    memory: Memory
    rows: Tensor
    layer: int
    position: int
    from_z: bool

    def before(self, part: str, layer: int) -> Tensor:
        """A part of a layer at the positions that are not computed again, [R, position, …]."""
        return self._rows(self._kept(part)[layer][:, : self.position])

    def after(self, part: str, layer: int) -> Tensor:
        """The same at the other positions, [R, T - position, …]."""
        return self._rows(self._kept(part)[layer][:, self.position :])

    def _kept(self, part: str) -> Tensor:
        kept: Tensor | None = getattr(self.memory, part)
        assert kept is not None
        return kept

    def _rows(self, x: Tensor) -> Tensor:
        return x.index_select(0, self.rows)
