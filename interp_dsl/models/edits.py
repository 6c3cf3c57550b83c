"""Interventions as tensors, and their whole mathematics.

Every site is seen in its canonical form X [batch, position, index, width]. An edit addresses
entries (row, position, index) of X, computes new from old and writes back out of place:

    set    new = value
    add    new = old + value
    block  new = old without the entries in `keys`, renormalised to sum 1: what taking them out
           before the softmax gives

`basis` B [width, m], orthonormal columns, keeps the change inside its span:
new <- old + B Bᵀ (new − old). `keys` limits the change to some coordinates of the width (the keys
of a pattern's row). Entries that are not `valid` (padding, ragged labels) keep their old value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from interp_dsl.plan.places import Site


@dataclass(frozen=True)
class Edit:
    """rows, index: [R]; positions, valid: [R, k]; value: [R, k, width] or broadcastable to it;
    keys: [R, width]; basis: [width, m]. R rows may repeat and come in any order."""

    site: Site
    rows: Tensor
    index: Tensor
    positions: Tensor
    valid: Tensor
    value: Tensor | None = None
    op: Literal["set", "add", "block"] = "set"
    basis: Tensor | None = None
    keys: Tensor | None = None

    def to(self, device: torch.device) -> Edit:
        """The same edit with all its tensors on a device."""
        if self.rows.device == device:
            return self
        fields: dict[str, Any] = vars(self)
        moved = {name: x.to(device) for name, x in fields.items() if isinstance(x, Tensor)}
        return Edit(**(fields | moved))


def apply(x: Tensor, edits: Iterable[Edit]) -> Tensor:
    """X [batch, position, index, width] with the edits made one after another, out of place."""
    for edit in edits:
        where = (edit.rows[:, None], edit.positions, edit.index[:, None])
        old = x[where]
        new = changed(old, edit)
        x = x.clone()
        x[where] = torch.where(edit.valid[..., None], new, old)
    return x


def changed(old: Tensor, edit: Edit) -> Tensor:
    """The new value of the addressed entries, old [R, k, width] given."""
    if edit.op == "block":
        assert edit.keys is not None
        kept = old.masked_fill(edit.keys[:, None, :], 0.0)
        return kept / kept.sum(-1, keepdim=True)
    assert edit.value is not None
    value = edit.value.to(old.dtype)
    new = old + value if edit.op == "add" else value.expand_as(old)
    if edit.basis is not None:
        basis = edit.basis.to(old.dtype)
        new = old + (new - old) @ basis @ basis.T
    if edit.keys is not None:
        new = torch.where(edit.keys[:, None, :], new, old)
    return new
