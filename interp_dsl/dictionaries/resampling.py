"""Resampling of dead features, as published (Bricken et al. 2023, appendix "Neuron resampling")."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from interp_dsl.dictionaries.architectures.base import Params, unit

LENGTH = 0.2
"""Of the alive features' mean encoder length, what a new feature's encoder has."""


def drawn(batches: Iterable[tuple[Tensor, Tensor]], n: int, generator: torch.Generator) -> Tensor:
    """n of the inputs that come in batches of (inputs [B, d], losses [B]), drawn without
    replacement with probabilities proportional to the squared loss; fewer where there are fewer.
    Of keys log(u) / loss² the n largest are kept (Efraimidis and Spirakis 2006), so no more than n
    inputs are held."""
    kept, keys = None, None
    for x, losses in batches:
        uniform = torch.rand(len(x), generator=generator).to(x.device)
        key = uniform.log() / losses.square().clamp_min(torch.finfo(losses.dtype).tiny)
        kept = x if kept is None else torch.cat([kept, x])
        keys = key if keys is None else torch.cat([keys, key])
        best = keys.topk(min(n, len(keys))).indices
        kept, keys = kept[best], keys[best]
    if kept is None:
        raise ValueError("there are no inputs to draw from")
    return kept


def resample(params: Params, moments: Iterable[Params], dead: Tensor, inputs: Tensor) -> Tensor:
    """Give the dead features [m] new directions, in place: those of the inputs [n, d], the first
    for the first. Decoder row: the input at length 1. Encoder row: the same direction at 0.2 of
    the mean encoder length of alive features; b_enc 0; the optimiser's moments of just these are
    0. Returns the features changed, as many as there are inputs at most."""
    chosen = dead.nonzero()[:, 0][: len(inputs)]
    alive = params["encoder"][~dead].norm(dim=1)
    length = alive.mean() if len(alive) else params["encoder"].norm(dim=1).mean()
    new = unit(inputs[: len(chosen)])
    params["decoder"][chosen] = new
    params["encoder"][chosen] = new * (LENGTH * length)
    params["b_enc"][chosen] = 0.0
    for held in moments:
        for name in ("decoder", "encoder", "b_enc"):
            held[name][chosen] = 0.0
    return chosen
