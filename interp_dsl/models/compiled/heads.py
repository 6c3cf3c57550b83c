"""Edits of single heads' outputs or z, without the outputs of all heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate

import torch
from torch import Tensor

from interp_dsl.models.edits import Edit, apply, changed, entries, flat, moved

Held = Callable[[Tensor, Tensor, Tensor], Tensor]
"""z [..., d_head] as it was, at rows, positions and heads [...] of a batch."""


def all_outputs(z: Tensor, w_o: Tensor) -> Tensor:
    """Each head's output to the residual stream, [B, t, head, d_model], from z [B, t, head, d_head]
    and W_O [head, d_head, d_model]."""
    return torch.einsum("bthe,hed->bthd", z, w_o)


def changes(z: Tensor, w_o: Tensor, edits: Sequence[Edit]) -> tuple[Tensor, Tensor]:
    """What edits of heads add to the attention's output: the places [n] (row × t + position) and
    what is added there [n, d_model]. Only the entries that are addressed are computed head by head,
    each once however many edits address it."""
    place, head, numbered = _addressed(edits, z.shape[1], len(w_o))
    old = _outputs(entries(z.flatten(0, 1), place, head), head, w_o)
    new = apply(old[:, None, None, :], numbered)[:, 0, 0]
    return moved(place, z.device), new - old


def with_changed_z(
    x: Tensor, held: Held, w_o: Tensor, edits: Sequence[Edit], in_place: bool
) -> Tensor:
    """x [B, t, d_model] with what edits of z change of z W_O, which x has been written with."""
    if len(edits) == 1 and in_place and _covers(edits[0], x):
        return _with_changed_rows(x, held, w_o, edits[0])
    place, head, numbered = _addressed(edits, x.shape[1], len(w_o))
    old = held(place // x.shape[1], place % x.shape[1], head)
    delta = apply(old[:, None, None, :], numbered)[:, 0, 0] - old
    where, written = moved(place, x.device), _outputs(delta, head, w_o)
    rows = x.flatten(0, 1)
    add = rows.index_add_ if in_place else rows.index_add
    return add(0, where, written).view_as(x)


def _with_changed_rows(x: Tensor, held: Held, w_o: Tensor, edit: Edit) -> Tensor:
    """The same in place, for an edit that covers x: a product for the rows of each head."""
    old = held(edit.rows[:, None], edit.positions, edit.index[:, None])
    delta = changed(old, edit) - old
    heads, counts = torch.unique_consecutive(edit.index, return_counts=True)
    first = 0
    for head, count in zip(heads.tolist(), counts.tolist(), strict=True):
        rows = slice(first, first := first + count)
        x[rows].flatten(0, 1).addmm_(delta[rows].flatten(0, 1), w_o[head])
    return x


def _covers(edit: Edit, x: Tensor) -> bool:
    """Whether an edit is of one head of each row, at all positions of x [B, t, d_model]."""
    n, t = x.shape[:2]
    if edit.positions.shape != (n, t) or not edit.rows.equal(torch.arange(n)):
        return False
    return edit.positions.equal(torch.arange(t).expand(n, t)) and bool(edit.valid.all())


def _addressed(
    edits: Sequence[Edit], length: int, n_heads: int
) -> tuple[Tensor, Tensor, list[Edit]]:
    """The entries that edits address, each once: their places [n] (row × length + position) and
    heads, and the edits as ones of a tensor [n, 1, 1, width] of these."""
    single = [flat(edit) for edit in edits]
    rows = torch.cat([edit.rows for edit in single])
    at = torch.cat([edit.positions[:, 0] for edit in single])
    head = torch.cat([edit.index for edit in single])
    key, number = _unique((rows * length + at) * n_heads + head)
    zeros = torch.zeros_like(number)
    ends = list(accumulate(len(edit.rows) for edit in single))[:-1]
    numbered = [
        replace(edit, rows=part, index=zeros[: len(part)], positions=zeros[: len(part), None])
        for edit, part in zip(single, number.tensor_split(ends), strict=True)
    ]
    return key // n_heads, key % n_heads, numbered


def _outputs(z: Tensor, head: Tensor, w_o: Tensor) -> Tensor:
    """z [n, d_head] of heads [n] -> [n, d_model], in one batched product padded to the head that
    has the most entries."""
    used, group = _unique(head)
    counts = torch.bincount(group, minlength=len(used))
    order = group.argsort(stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order))
    slot = rank - (counts.cumsum(0) - counts)[group]
    size = int(counts.max()) if len(counts) else 0
    where = (moved(group, z.device), moved(slot, z.device))
    padded = z.new_zeros(len(used), size, z.shape[-1]).index_put(where, z)
    return (padded @ entries(w_o, used))[where]


def _unique(numbers: Tensor) -> tuple[Tensor, Tensor]:
    """The numbers that occur, ascending, and which of them each is."""
    found: tuple[Tensor, Tensor] = torch.unique(numbers, return_inverse=True)
    return found
