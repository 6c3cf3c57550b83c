"""Other activations in the place of a dictionary's own."""

from __future__ import annotations

import torch
from torch import Tensor

from interp_dsl.models.edits import Edit
from interp_dsl.plan.places import Target


def splice(target: Target, kept: Tensor, values: Tensor) -> list[Edit]:
    """Edits that set a target's activations at the kept positions [B, T] to values [R, width], in
    the order of these positions."""
    rows, positions = kept.nonzero(as_tuple=True)
    if target.site.kind == "neuron":  # an index a neuron, each of width 1
        count = values.shape[1]
        return [
            Edit(
                target.site,
                rows.repeat_interleave(count),
                torch.arange(count).repeat(len(rows)),
                positions.repeat_interleave(count)[:, None],
                torch.ones(len(rows) * count, 1, dtype=torch.bool),
                values.reshape(-1, 1, 1),
            )
        ]
    index = torch.full_like(rows, target.index or 0)
    valid = torch.ones(len(rows), 1, dtype=torch.bool)
    return [Edit(target.site, rows, index, positions[:, None], valid, values[:, None])]
