"""Interventions as tensors, and their whole mathematics.

Every site is seen in its canonical form X [batch, position, index, width]. An edit addresses
entries (row, position, index) of X and computes new from old:

    set    new = value
    add    new = old + value
    block  new = old without the entries in `keys`, renormalised to sum 1: what taking them out
           before the softmax gives
    map    new = map(old), or map(old, value) where there is a value, of a width of its own

`basis` B [width, m], orthonormal columns, keeps the change inside its span:
new <- old + B Bᵀ (new − old). `keys` limits the change to some coordinates of the width (the keys
of a pattern's row). `toward` u [width], of length 1, turns the change: new <- old + |new − old| u,
another direction and the same length. Entries that are not `valid` (padding, ragged labels) keep
their old value.

Addresses (rows, index, positions, valid) live in the processor's memory, values on the model's
device: what is changed where is known without waiting for a device."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from interp_dsl.plan.places import Site


@dataclass(frozen=True)
class Edit:
    """rows, index: [R]; positions, valid: [R, k]; value: [R, k, width] or broadcastable to it;
    keys: [R, width]; basis: [width, m]; toward: [width]; map takes [R, k, width], whatever R and
    k. R rows may repeat and come in any order. Equal entries of one edit have equal values."""

    site: Site
    rows: Tensor
    index: Tensor
    positions: Tensor
    valid: Tensor
    value: Tensor | None = None
    op: Literal["set", "add", "block", "map"] = "set"
    basis: Tensor | None = None
    keys: Tensor | None = None
    map: Callable[..., Tensor] | None = None
    toward: Tensor | None = None

    def to(self, device: torch.device) -> Edit:
        """The same edit with its values on a device; the addresses stay where they are."""
        return replace(
            self,
            value=None if self.value is None else self.value.to(device),
            basis=None if self.basis is None else self.basis.to(device),
            keys=None if self.keys is None else self.keys.to(device),
            toward=None if self.toward is None else self.toward.to(device),
        )


def apply(x: Tensor, edits: Iterable[Edit], in_place: bool = False) -> Tensor:
    """X [batch, position, index, width] with the edits made one after another. `in_place` lets X be
    overwritten, as no gradient and no other reader of X allows."""
    for edit in edits:
        if not bool(edit.valid.all()):
            edit = flat(edit)
        if not len(edit.rows):
            continue
        block = _block(edit, x)
        if block is not None:
            new = changed(x[block], edit)
            is_whole = new[:, :, None].shape == x.shape and not torch.is_grad_enabled()
            if is_whole and edit.op == "add":  # a sum, which nobody else holds
                x = new[:, :, None]
                continue
            if not in_place:
                x = torch.empty_like(x) if is_whole else x.clone()
            x[block] = new  # never the edit's own value, which others hold
            continue
        addresses = (edit.rows[:, None], edit.positions, edit.index[:, None])
        where = tuple(moved(a, x.device) for a in addresses)
        put = x.index_put_ if in_place else x.index_put
        x = put(where, changed(x[where], edit))
    return x


def _block(edit: Edit, x: Tensor) -> tuple[slice, slice, int] | None:
    """The part of X [batch, position, index, width] that an edit changes where it is one index of
    all rows at the same neighbouring positions: to cut out, instead of to look up."""
    (count, k), at = edit.positions.shape, edit.positions[0]
    if count != len(x) or not edit.rows.equal(torch.arange(count)):
        return None
    first, index = int(at[0]), int(edit.index[0])
    if not at.equal(torch.arange(first, first + k)) or bool((edit.positions != at).any()):
        return None
    is_one = not bool((edit.index != index).any())
    return (slice(None), slice(first, first + k), index) if is_one else None


def moved(address: Tensor, device: torch.device) -> Tensor:
    """An address where a device can index by it; nothing waits for the device."""
    return address.to(device, non_blocking=True)


def entries(x: Tensor, *addresses: Tensor) -> Tensor:
    """x at addresses that live in the processor's memory."""
    places = tuple(moved(a, x.device) for a in addresses)
    if len(places) == 1 and places[0].ndim == 1 and places[0].dtype == torch.long:
        return x.index_select(0, places[0])  # a third of the time
    return x[places]


def flat(edit: Edit) -> Edit:
    """The same edit with one row an entry, without the entries that are not valid."""
    rows, columns = edit.valid.nonzero(as_tuple=True)
    value = edit.value
    if value is not None:
        value = value.expand(*edit.positions.shape, value.shape[-1] if value.ndim else 1)
        value = entries(value, rows, columns)[:, None]
    return replace(
        edit,
        rows=edit.rows[rows],
        index=edit.index[rows],
        positions=edit.positions[rows, columns][:, None],
        valid=torch.ones_like(rows, dtype=torch.bool)[:, None],
        value=value,
        keys=None if edit.keys is None else entries(edit.keys, rows),
    )


def changed(old: Tensor, edit: Edit) -> Tensor:
    """The new value of the addressed entries, old [R, k, width] given."""
    if edit.op == "block":
        assert edit.keys is not None
        kept = old.masked_fill(edit.keys[:, None, :], 0.0)
        return kept / kept.sum(-1, keepdim=True)
    new = _made(old, edit)
    if edit.basis is not None:
        basis = edit.basis.to(old.dtype)
        new = old + (new - old) @ basis @ basis.T
    if edit.keys is not None:
        new = torch.where(edit.keys[:, None, :], new, old)
    if edit.toward is not None:
        new = old + (new - old).norm(dim=-1, keepdim=True) * edit.toward.to(old.dtype)
    return new


def _made(old: Tensor, edit: Edit) -> Tensor:
    if edit.op == "map":
        assert edit.map is not None
        return edit.map(old) if edit.value is None else edit.map(old, edit.value)
    assert edit.value is not None
    value = edit.value.to(old.dtype)
    return old + value if edit.op == "add" else value.expand_as(old)
