"""Head importance scores for pruning (Michel et al. 2019, arXiv 1905.10650), as Conmy et al. 2023
(arXiv 2304.14997, appendix) compare ACDC with them."""

from __future__ import annotations

import torch
from torch import Tensor


def hisp(effects: Tensor, layers: Tensor) -> Tensor:
    """| E_x (C(x) - C(x'))ᵀ ∂F/∂C(x) | of each node [n], divided by the ℓ2 norm of these over the
    nodes of its layer; 0 where all of a layer's are. `effects` [n, B] are what attribution patching
    gives for what the nodes write, summed over positions; `layers` [n] says which are normalised
    together."""
    scores = effects.mean(1).abs()
    _, group = torch.unique(layers, return_inverse=True)
    squares = torch.zeros(len(scores), dtype=scores.dtype, device=scores.device)
    norms = squares.index_add_(0, group, scores.square()).sqrt()[group]
    return torch.where(norms > 0, scores / norms, scores)
