"""What a pass shows at one place and needs at a later one: features of a transcoder are read where
it reads, and write where it rebuilds."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from interp_dsl.engine.splice import row_of
from interp_dsl.models.edits import Edit
from interp_dsl.plan.places import Site

Change = Callable[[Tensor, Tensor, Tensor], Tensor]
"""What makes of activations [R, k, d_out] new ones, given what is read beside them [R, k, d_in] and
the values [R, k, m] that are meant there."""


class Carried:
    """Activations by the cells [R, k, 1] of an edit: a pass may look at some of them alone, as
    those that a text has grown by, and writes to none that it has not read."""

    def __init__(self, cells: int, device: torch.device) -> None:
        self._place = torch.full((cells,), -1, device=device)
        self._held = torch.empty(0)

    def keep(self, x: Tensor, cells: Tensor) -> Tensor:
        """x [R, k, d] as it is."""
        self._held = x.flatten(0, 1).clone()  # a pass may go on in x itself
        self._place = self._place.to(x.device).fill_(-1)
        self._place[cells.flatten()] = torch.arange(cells.numel(), device=x.device)
        return x

    def at(self, cells: Tensor) -> Tensor:
        """[R, k, d]"""
        return self._held[self._place[cells[..., 0]]]


def changing(
    site: Site, rows: Tensor, where: Tensor, values: Tensor, change: Change, device: torch.device
) -> list[Edit]:
    """The edits of a site of features or errors, in rows [R] at positions `where` [R, k], by the
    values [R, k, m]: at the place that its dictionary rebuilds, and before it, where that is
    another, at the one that it reads."""
    valid = torch.ones_like(where, dtype=torch.bool)

    def edit(at: Site, part: int | None, value: Tensor, made: Callable[..., Tensor]) -> Edit:
        own, index = row_of(at, part)
        numbers = torch.full_like(rows, index)
        return Edit(own, rows, numbers, where, valid, value, "map", map=made)

    if site.onto is None:
        return [edit(site.own, site.part, values, lambda x, v: change(x, x, v))]
    cells = torch.arange(where.numel(), device=device).view(*where.shape, 1)
    carried, each = Carried(where.numel(), device), values.expand(*where.shape, -1).flatten(0, 1)
    return [
        edit(site.own, site.part, cells, carried.keep),
        edit(
            site.written,
            site.rebuilt[0].part,
            cells,
            lambda y, c: change(y, carried.at(c), each[c[..., 0]]),
        ),
    ]
