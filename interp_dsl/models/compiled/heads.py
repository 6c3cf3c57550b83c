"""Edits of single heads' outputs, without the outputs of all heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

import torch
from torch import Tensor

from interp_dsl.models.edits import Edit, apply, flat, moved


def all_outputs(z: Tensor, w_o: Tensor) -> Tensor:
    """Each head's output to the residual stream, [B, t, head, d_model], from z [B, t, head, d_head]
    and W_O [head, d_head, d_model]."""
    return torch.einsum("bthe,hed->bthd", z, w_o)


def changes(z: Tensor, w_o: Tensor, edits: Sequence[Edit]) -> tuple[Tensor, Tensor]:
    """What edits of heads add to the attention's output: the places [n] (row × t + position) and
    what is added there [n, d_model]. Only the entries that are addressed are computed head by head,
    each once however many edits address it."""
    entries = [flat(edit) for edit in edits]
    rows = torch.cat([edit.rows for edit in entries])
    at = torch.cat([edit.positions[:, 0] for edit in entries])
    head = torch.cat([edit.index for edit in entries])
    length, n_heads = z.shape[1], z.shape[2]
    key, number = _unique((rows * length + at) * n_heads + head)
    place, head = key // n_heads, key % n_heads
    old = _outputs(z.flatten(0, 1)[moved(place, z.device), moved(head, z.device)], head, w_o)
    zeros = torch.zeros_like(number)
    ends = list(accumulate(len(edit.rows) for edit in entries))[:-1]
    numbered = [
        replace(edit, rows=part, index=zeros[: len(part)], positions=zeros[: len(part), None])
        for edit, part in zip(entries, number.tensor_split(ends), strict=True)
    ]
    new = apply(old[:, None, None, :], numbered)[:, 0, 0]
    return moved(place, z.device), new - old


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
    return (padded @ w_o[moved(used, z.device)])[where]


def _unique(numbers: Tensor) -> tuple[Tensor, Tensor]:
    """The numbers that occur, ascending, and which of them each is."""
    found: tuple[Tensor, Tensor] = torch.unique(numbers, return_inverse=True)
    return found
