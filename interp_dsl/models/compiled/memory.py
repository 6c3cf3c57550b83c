"""What a pass leaves behind, for later passes that start in the middle."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from interp_dsl.models.compiled.prefix import Groups
from interp_dsl.models.edits import entries, moved
from interp_dsl.models.shape import Shape


@dataclass(frozen=True)
class Memory:
    """Of n examples of T tokens, after all edits that the pass was under (of resid_mid, before its
    own): resid_pre and resid_mid [layer, n, T, d_model]; queries [layer, n, T, head, d_head], keys
    and values [layer, n, T, kv head, d_head] as attention takes them (normed, turned); z [layer, n,
    T, head, d_head]. A part that was not asked for is None. `mask` [n, T] is the one that they ran
    under."""

    n: int
    length: int
    mask: Tensor | None
    resid_pre: Tensor | None
    resid_mid: Tensor | None
    queries: Tensor | None
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

        kv, heads = (shape.n_kv_heads, shape.d_head), (shape.n_heads, shape.d_head)
        return cls(
            n,
            length,
            mask,
            room("resid_pre", shape.d_model),
            room("resid_mid", shape.d_model),
            room("queries", *heads),
            room("keys", *kv),
            room("keys", *kv),
            room("z", *heads),
        )

    def keep(self, layer: int, part: str, x: Tensor, rows: slice = slice(None)) -> None:
        """Write one layer of a part, where there is room for it, of some of the examples."""
        room: Tensor | None = getattr(self, part)
        if room is not None:
            room[layer, rows] = x


@dataclass(frozen=True)
class Growth:
    """Where texts go on: `positions` [R, t] (in the processor's memory) of all rows of a memory,
    whose keys and values stand there for every position before them."""

    memory: Memory
    positions: Tensor

    def joined(self, k: Tensor, v: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values [R, T, …] of a layer, with k and v [R, t, …] at the positions."""
        assert self.memory.keys is not None and self.memory.values is not None
        held = self.memory.keys[layer], self.memory.values[layer]
        rows = moved(torch.arange(len(k))[:, None], k.device)
        at = moved(self.positions, k.device)
        for room, new in zip(held, (k, v), strict=True):
            room[rows, at] = new
        return held


@dataclass(frozen=True)
class Start:
    """Where a late pass starts: `rows` [R] of a memory, from `position` on in `layer`.
    `from_z`: that layer's attention is taken from the memory up to z; `from_mid`: so is what it
    writes, before heads are changed. `changed` [R, c]: no other
    position differs from the memory until later layers attend to them; None where that is not so.
    `is_local`: neither does one differ within the layer, nor do its keys and values.
    `rows` and `changed` are in the processor's memory."""

    memory: Memory
    rows: Tensor
    layer: int
    position: int
    from_z: bool
    from_mid: bool = False
    changed: Tensor | None = None
    is_local: bool = False

    @cached_property
    def groups(self) -> Groups:
        """The rows by example."""
        return Groups.of(self.rows)

    def earlier(self, part: str, layer: int) -> Tensor:
        """A part of a layer of all examples at the positions that are not computed again,
        [n, position, …]."""
        return self._kept(part)[layer][:, : self.position]

    def of(self, rows: slice) -> Start:
        """The same of some of the rows."""
        changed = None if self.changed is None else self.changed[rows]
        return replace(self, rows=self.rows[rows], changed=changed)

    def all(
        self, part: str, layer: int, nothing: Tensor | None = None, room: Tensor | None = None
    ) -> Tensor:
        """A part of a layer at all positions, [R, T, …], with `nothing` new, in `room` where it is
        given."""
        return self._rows(self._kept(part)[layer], room)

    def whole(self, part: str, layer: int, new: Tensor, room: Tensor | None = None) -> Tensor:
        """The same, with `new` [R, c, …] at the changed positions."""
        return self.merged(part, layer, new, 0, room)

    def continued(self, part: str, layer: int, new: Tensor, room: Tensor | None = None) -> Tensor:
        """The same, `new` [R, T - position, …] at the positions that are computed again."""
        before = self._kept(part)[layer][:, : self.position]
        if room is None:
            return torch.cat([self._rows(before), new], 1)
        self._rows(before, room[:, : self.position])
        room[:, self.position :] = new
        return room

    def after(self, part: str, layer: int) -> Tensor:
        """The same at the other positions, [R, T - position, …]."""
        return self._rows(self._kept(part)[layer][:, self.position :])

    def at(self, part: str, layer: int, positions: Tensor) -> Tensor:
        """The same at positions [R, r], [R, r, …]."""
        return entries(self._kept(part)[layer], self.rows[:, None], positions)

    def single(self, part: str, layer: int, rows: Tensor, at: Tensor, index: Tensor) -> Tensor:
        """A part of a layer at single rows, positions and heads [...] alike, [..., width]."""
        return entries(self._kept(part)[layer], self.rows[rows], at, index)

    def merged(
        self, part: str, layer: int, new: Tensor, first: int, room: Tensor | None = None
    ) -> Tensor:
        """The same from position `first` on, with `new` [R, c, …] at the changed positions; in
        `room` [R, T - first, …] where it is given."""
        assert self.changed is not None
        kept = self._rows(self._kept(part)[layer][:, first:], room)
        rows = torch.arange(len(kept))[:, None]
        return kept.index_put_(
            (moved(rows, kept.device), moved(self.changed - first, kept.device)), new
        )

    def merged_at(self, part: str, layer: int, new: Tensor, positions: Tensor) -> Tensor:
        """The same at positions [R, r] alone."""
        assert self.changed is not None
        kept = self.at(part, layer, positions)
        meets = positions[:, :, None] == self.changed[:, None, :]
        found = entries(new, torch.arange(len(kept))[:, None], meets.int().argmax(-1))
        hit = moved(meets.any(-1), kept.device).reshape(*positions.shape, *[1] * (kept.ndim - 2))
        return torch.where(hit, found, kept)

    def _kept(self, part: str) -> Tensor:
        kept: Tensor | None = getattr(self.memory, part)
        assert kept is not None
        return kept

    def _rows(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        return torch.index_select(x, 0, moved(self.rows, x.device), out=out)
