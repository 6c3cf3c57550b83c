"""Other activations in the place of a dictionary's own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from interp_dsl.models.edits import Edit
from interp_dsl.models.points import point
from interp_dsl.plan.places import Site, Target


def splice(target: Target, kept: Tensor, values: Tensor) -> list[Edit]:
    """Edits that set a target's activations at the kept positions [B, T] to values [R, width], in
    the order of these positions."""
    rows, positions = kept.nonzero(as_tuple=True)
    valid = torch.ones(len(rows), 1, dtype=torch.bool)
    site, part = row_of(target.site, target.index)
    index = torch.full_like(rows, part)
    return [Edit(site, rows, index, positions[:, None], valid, values[:, None])]


def spliced(
    place: Sequence[Target], widths: Sequence[int], kept: Tensor, values: Tensor
) -> list[Edit]:
    """The same of several targets, whose values stand side by side, so wide each."""
    parts = torch.split(values, list(widths), 1)
    found = (splice(target, kept, part) for target, part in zip(place, parts, strict=True))
    return [edit for edits in found for edit in edits]


def row_of(site: Site, part: int | None) -> tuple[Site, int]:
    """The site and index at which a position's activation is one row: of neurons, which are an
    index each, the hook's own tensor."""
    if site.kind == "neuron":
        return Site("hook", hook=point("neuron", site.layer).hook), 0
    return site, part or 0
