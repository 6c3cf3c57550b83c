"""Other activations in the place of a dictionary's own."""

from __future__ import annotations

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
    site, index = target.site, torch.full_like(rows, target.index or 0)
    if site.kind == "neuron":  # the hook's own tensor has all neurons of a position in one row
        site = Site("hook", hook=point("neuron", site.layer).hook)
    return [Edit(site, rows, index, positions[:, None], valid, values[:, None])]
