"""What all passes over the same prompts share: positions, who may attend to whom, and what holds
throughout."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from interp_dsl.models.compiled import attention
from interp_dsl.models.compiled.forward import Compiled
from interp_dsl.models.edits import Edit, apply
from interp_dsl.plan.places import Site


class Prompts:
    """Prompts of one length. `mask` [B, T] holds the tokens that may be attended to, None for all;
    `reads` [B, r] are the positions whose logits are wanted, None for all. `edits` change what
    heads (z, head) and MLPs (mlp_out) make of whatever they read.

    A tensor is wide when it has all T positions, narrow when it has those of `reads` alone."""

    def __init__(
        self,
        model: Compiled,
        length: int,
        mask: Tensor | None = None,
        reads: Tensor | None = None,
        edits: Sequence[Edit] = (),
    ) -> None:
        self.length = length
        self._edits = edits
        self.mask = None if mask is None else mask.bool()
        self.reads = reads
        self._causal = model.description.shape.causal
        self._all = torch.arange(length, device=model.device)
        self._seen: dict[tuple[int | None, bool], Tensor | None] = {}
        for rotary in model.rotary:
            rotary.reach(length)

    def edited(self, kind: str, layer: int, x: Tensor) -> Tensor:
        """What heads or an MLP make, x [m, B, T, width], with the edits of that site."""
        mine = [edit for edit in self._edits if edit.site == Site(kind, layer)]
        return apply(x.permute(1, 2, 0, 3), mine).permute(2, 0, 1, 3) if mine else x

    def positions(self, narrow: bool) -> Tensor:
        """[T], or [B, r]."""
        return self.reads if narrow and self.reads is not None else self._all

    def narrowed(self, x: Tensor) -> Tensor:
        """x [..., B, T, D] at the reads, [..., B, r, D]."""
        if self.reads is None:
            return x
        rows = torch.arange(len(self.reads), device=self.reads.device)[:, None]
        return x[..., rows, self.reads, :]

    def seen(self, window: int | None, narrow: bool) -> Tensor | None:
        """The keys that queries see, [1 or B, 1, t, T]; None when each sees all."""
        window = None if window is None or window >= self.length else window
        key = window, narrow and self.reads is not None
        if key not in self._seen:
            seen = attention.visible(
                self.positions(narrow), self.length, self._causal, window, self.mask
            )
            self._seen[key] = None if seen is None or bool(seen.all()) else seen
        return self._seen[key]

    def is_triangle(self, window: int | None, narrow: bool) -> bool:
        """Does each query of all positions see just itself and what comes before?"""
        covers = window is None or window >= self.length
        wide = not narrow or self.reads is None
        return self._causal and covers and wide and self.mask is None
