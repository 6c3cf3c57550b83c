"""Which pre-activations can be among the largest, by a product of bfloat16; those that can are then
computed as they are.

Where a processor has units for products of bfloat16 (AMX), one takes a sixth of the time of
float32's. With s what is seen, w and b a feature's encoder and bias, ŝ, ŵ, b̂ what they are rounded
to (b̂ in two terms),

    |(s w + b) - (ŝ ŵ + b̂)| ≤ ‖s - ŝ‖ ‖w‖ + ‖ŝ‖ ‖w - ŵ‖ + |b - b̂|, and what float32 is off in sums,

is the slack of an input for all features: one whose rough pre-activation lies more than that below
a bound doesn't reach it. So what is found is exact; how far off the rounding is decides only how
many features are computed in vain."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from interp_dsl.dictionaries import processor
from interp_dsl.dictionaries.architectures.base import Now, Params, Room, affine, strips
from interp_dsl.dictionaries.gathering import dots
from interp_dsl.dictionaries.products import PLAIN
from interp_dsl.dictionaries.selection import Entries, Known, kth_at_least, of_each, where_at_least

ROUNDING = 2.0**-8
"""The largest relative error of one rounding to bfloat16."""
MANY = 1 / 16
"""Where a larger share of features may be on, all are computed."""


@cache
def is_quick() -> bool:
    """Whether this processor has units for products of bfloat16."""
    told: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # of newer torch
    return bool(told.get("amx_bf16")) and bool(torch.backends.mkldnn.enabled)


class Screen:
    """The encoder of one step, rounded."""

    def __init__(self, params: Params, room: Room) -> None:
        self.params, self._room = params, room
        encoder, bias = params["encoder"], params["b_enc"]
        first = bias.bfloat16()
        rough, off = self._rounded("rough.encoder", encoder)
        rough[:, -2], rough[:, -1] = first, bias - first
        self._encoder, self._off = rough, off.amax()
        self._longest = torch.linalg.vector_norm(encoder, dim=1).amax()
        self._bias = bias.abs().amax()

    def of(self, seen: Tensor) -> Rough:
        """The pre-activations of what is seen; they hold until the next."""
        rough, off = self._rounded("rough.seen", seen)
        rough[:, -2:] = 1
        pre = self._room("rough.pre", rough, len(seen), len(self._encoder))
        torch.mm(rough, self._encoder.T, out=pre)
        lengths = torch.linalg.vector_norm(seen, dim=1)
        slack = off * self._longest + (lengths + off) * self._off
        sums = 2 * rough.shape[1] * 2.0**-23  # in float32, of both products; more than what b̂ lacks
        slack += sums * (lengths * self._longest + self._bias)
        return Rough(seen, self.params, pre.view(torch.int16), slack)

    def _rounded(self, name: str, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Rows [n, d] rounded, with more columns, 0 and two for a bias at the end; and the length
        of what each has lost [n]."""
        d = rows.shape[1]
        kind = torch.empty(0, dtype=torch.bfloat16)
        rough = self._room(name, kind, len(rows), d + 2 + (-d - 2) % 32)
        rough[:, :d], rough[:, d:] = rows, 0
        lost = torch.cat(
            [
                torch.linalg.vector_norm(whole - part, dim=1)
                for whole, part in strips(rows, rough[:, :d])
            ]
        )
        return rough, lost


def screen_of(params: Params, now: Now) -> Screen | None:
    """None where this takes no less time, or products are rounded anyway."""
    encoder = params["encoder"]
    can = processor.has(encoder) and encoder.dtype == torch.float32
    return Screen(params, now.room) if can and now.products == PLAIN and is_quick() else None


@dataclass(frozen=True)
class Rough:
    """Pre-activations [B, m] to within a slack [B]. `bits` has them as the integers that their
    bits are, whose order is that of the numbers as far as these are above 0."""

    seen: Tensor
    params: Params
    bits: Tensor
    slack: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        return self.bits.shape[0], self.bits.shape[1]

    def sample(self, stride: int) -> Tensor:
        return self.bits.flatten()[::stride].view(torch.bfloat16).float()

    def largest(self, k: int) -> tuple[Tensor, Tensor]:
        """The k largest of each row, as far as they are above 0: values and features [B, k]."""
        reached = kth_at_least(self.bits, k).view(torch.bfloat16).float()
        least = (reached * (1 - 2 * ROUNDING) - self.slack).clamp_min(0)
        return of_each(self.reaching(least), len(self.seen), k)

    def reaching(self, least: Tensor) -> Entries:
        limit = (least - self.slack) * (1 - 2 * ROUNDING)
        is_any = limit <= 0
        most = MANY * self.bits.numel()
        if is_any.sum() * self.bits.shape[1] > most:
            return self._known().reaching(least)
        bits = (limit.view(torch.int32) >> 16).to(torch.int16)
        row, index, _ = where_at_least(self.bits, bits.masked_fill(is_any, -(1 << 15)))
        if len(row) > most:
            return self._known().reaching(least)
        values = dots(self.seen, self.params["encoder"], row, index)
        return values.add_(self.params["b_enc"][index]), row, index

    def _known(self) -> Known:
        out = self.seen.new_empty(self.shape)
        return Known(affine(self.params, self.seen, out))
