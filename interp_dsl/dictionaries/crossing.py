"""How much features write at each of several places, or in each of several models (Lindsey et al.
2024): the relative norm of a decoder, ‖d_B‖ ÷ (‖d_A‖ + ‖d_B‖), is about 0.5 of a feature that both
share and about 0 or 1 of one that is one's alone, where both are in units that compare."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity


def lengths(decoders: Sequence[Tensor]) -> Tensor:
    """The norms [d_sae, places] of decoders [d_sae, d], one a place."""
    return torch.stack([torch.linalg.vector_norm(d, dim=1) for d in decoders], 1)


def relative(norms: Tensor) -> Tensor:
    """Their shares of each feature's sum [d_sae, places]; equal ones of a feature that writes
    nothing anywhere."""
    total = norms.sum(1, keepdim=True)
    return torch.where(total > 0, norms / total, 1 / norms.shape[1])


def cosines(decoders: Sequence[Tensor]) -> list[Tensor | None]:
    """Of each place the cosines [d_sae] with the decoder of the first; None where it is of another
    width."""
    first = decoders[0]
    return [cosine_similarity(first, d) if d.shape == first.shape else None for d in decoders]
