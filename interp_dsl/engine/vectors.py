"""Vectors of a site's width, and the spans that they make."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from interp_dsl.engine.feature_values import dictionary_of
from interp_dsl.engine.state import State
from interp_dsl.geometry.directions import SAME
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.models.edits import entries
from interp_dsl.plan.algebra import FeatureVector, FileVector, LinearVector, MeanVector, Run, Vector
from interp_dsl.plan.places import Target

_RANK = 1e-4


def vector(wanted: Vector, state: State) -> Tensor:
    """A vector [width], float32; zero where its terms cancel but for rounding."""
    match wanted:
        case MeanVector(run=run, target=target):
            return activations(run, target, state).mean(0)
        case FileVector(path=path, name=name):
            return _of_file(path, name)
        case FeatureVector(target=target):
            device = state.models[str(target.model)].device
            decoder = dictionary_of(target.site, device, state).tensors["W_dec"]
            return decoder[target.index or 0].float()
        case LinearVector(terms=terms):
            parts = torch.stack([c * vector(v, state) for c, v in terms])
            total = parts.sum(0)
            # What rounding leaves of terms that cancel is no direction.
            cancels = float(total.norm()) <= SAME * float(parts.norm(dim=1).sum())
            return torch.zeros_like(total) if cancels else total


def _of_file(path: str, name: str) -> Tensor:
    from safetensors.torch import load_file

    return load_file(path)[name].float()


def activations(run: Run, target: Target, state: State) -> Tensor:
    """The activations [m, width], float32, of a place at its positions in all examples."""
    captured = state.captured(run, target.site)
    at = state.slots(run, target.positions)
    examples = torch.arange(len(captured))[:, None].expand_as(at.index)
    # A prompt with fewer tokens than others repeats its first: take each token once.
    once = torch.unique(torch.stack([examples[at.some], at.index[at.some]]).flatten(1), dim=1)
    return entries(captured, once[0], once[1])[:, target.index or 0].float()


def basis(vectors: Sequence[Vector], state: State) -> Tensor | None:
    """Orthonormal columns [width, m] that span the vectors; None for no vectors. Raises
    InterpError E633 where they are not independent."""
    if not vectors:
        return None
    columns = torch.stack([vector(v, state) for v in vectors], dim=1)
    lengths = columns.norm(dim=0)
    q, r = torch.linalg.qr(columns / lengths.clamp(min=1e-30))
    if bool((lengths == 0).any()) or bool((r.diagonal().abs() < _RANK).any()):
        raise InterpError(
            Diagnostic(
                "E633",
                f"the {len(vectors)} directions of `along` span fewer dimensions",
                notes=("one is zero, or a sum of the others",),
                help="leave out the direction that the others span",
            )
        )
    spanned: Tensor = q
    return spanned
