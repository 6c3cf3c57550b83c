"""Features set while a pass goes: y becomes y + Σ (v - f(x)) d + (w - e), whatever an earlier
change has made of x and y. v is what a feature is set to, w what the error e = y - ŷ(x) is; where
they are none, f and e stay as they are. y is x itself, but of a transcoder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from interp_dsl.dictionaries.dictionary import Dictionary
from interp_dsl.engine.carried import Change, changing
from interp_dsl.engine.packed import Packed
from interp_dsl.engine.slots import Slots
from interp_dsl.models.edits import Edit, moved
from interp_dsl.plan.places import Positions, Site

Piece = tuple[Site, Positions]
Named = tuple[int, Sequence[int]]
"""A unit of a batch by number, and its features at a place."""
Then = Callable[[Site, Positions, Tensor, Tensor], Tensor]
"""What features [R] of examples [R] are set to, [R, k] or [R, 1]; errors [R, k, d_out]."""


def read_live(
    pieces: Mapping[Piece, Sequence[Named]],
    batch: Packed,
    dictionary_of: Callable[[Site], Dictionary],
    slots_of: Callable[[Positions], Slots],
    then: Then,
) -> list[Edit]:
    """The edits of each dictionary and its positions, of all features there and the error, so that
    they are read from the same x."""
    joined: dict[Piece, dict[str, Sequence[Named]]] = defaultdict(dict)
    for (site, at), members in pieces.items():
        joined[replace(site, kind="feature"), at][site.kind] = members
    return [
        edit
        for piece, members in joined.items()
        for edit in _edits(piece, members, batch, dictionary_of(piece[0]), slots_of(piece[1]), then)
    ]


def _edits(
    piece: Piece,
    members: Mapping[str, Sequence[Named]],
    batch: Packed,
    dictionary: Dictionary,
    slots: Slots,
    then: Then,
) -> list[Edit]:
    (site, at), features = piece, dict(members.get("feature", ()))
    errors = {number for number, _ in members.get("error", ())}
    numbers = sorted({n for held in features.values() for n in held})
    units = sorted({*features, *errors})
    rows, which = batch.rows(units)
    some = slots.some[batch.examples[rows]]
    rows, which = rows[some], which[some]
    where, device = slots.index[batch.examples[rows]], dictionary.tensors["W_dec"].device
    width = len(numbers) + (dictionary.d_out if errors else 0)
    value = torch.full((*where.shape, width), torch.nan, device=device)
    place = {n: i for i, n in enumerate(numbers)}
    for member, unit in enumerate(units):
        chosen = (which == member).nonzero()[:, 0]
        examples = batch.examples[rows[chosen]]
        held = torch.tensor([*features.get(unit, ())], dtype=torch.long)
        if len(held):
            cells = (held.repeat(len(chosen)), examples.repeat_interleave(len(held)))
            set_to = then(site, at, *cells).float().expand(len(cells[0]), where.shape[1])
            columns = torch.tensor([place[n] for n in held.tolist()])
            at_cells = tuple(moved(a, device) for a in (chosen[:, None], columns[None]))
            value.transpose(1, 2)[at_cells] = set_to.view(len(chosen), len(held), -1)
        if unit in errors:
            wanted = then(replace(site, kind="error"), at, torch.zeros_like(examples), examples)
            value[moved(chosen, device), :, len(numbers) :] = wanted.float()
    return changing(site, rows, where, value, _change(dictionary, numbers), device)


def _change(dictionary: Dictionary, numbers: Sequence[int]) -> Change:
    """What makes new activations by the values [R, k, features (+ d_out)] that features, and behind
    them the error, are set to; NaN where they stay."""
    decoder = dictionary.tensors["W_dec"][numbers]

    def changed(y: Tensor, x: Tensor, value: Tensor) -> Tensor:
        given, features = y.float(), dictionary.encode(x.float())
        set_to, error = value[..., : len(numbers)], value[..., len(numbers) :]
        change = _unless_kept(set_to, features[..., numbers]) @ decoder
        if error.shape[-1]:
            change = change + _unless_kept(error, given - dictionary.decode(features, x.float()))
        return (given + change).to(y.dtype)

    return changed


def _unless_kept(then: Tensor, now: Tensor) -> Tensor:
    return torch.where(then.isnan(), torch.zeros_like(now), then - now)
