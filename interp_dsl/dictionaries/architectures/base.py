"""What all architectures share.

Parameters by name: encoder and decoder [m, d], feature after feature; b_enc [m], b_dec [d]; more
as an architecture says. The pre-activations are (x - b_dec) encoderᵀ + b_enc, the reconstruction
f decoder + b_dec. No product is spent on b_dec: its gradient through the encoder is a
matrix-vector product of the summed gradient."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

Params = dict[str, Tensor]


@dataclass(frozen=True)
class Now:
    """Where training stands: `warmth` 0 to 1 scales sparsity coefficients; dead [m] tells the
    features that count as dead, None where none does; `held` is what the architecture keeps from
    batch to batch without learning it by gradient."""

    warmth: float = 1.0
    dead: Tensor | None = None
    held: Params = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """What a batch x [B, d] says: the terms of the loss, which is their sum; a gradient for each
    parameter; the error (reconstruction - x) [B, d]; how many of the batch each feature fired on
    [m]; what is held for the next batch."""

    terms: dict[str, Tensor]
    gradients: Params
    error: Tensor
    fired: Tensor
    held: Params = field(default_factory=dict)


class Architecture(Protocol):
    """`has_unit_norm`: the decoder's rows are kept at length 1. `convention`: what of an input's
    squared errors counts, their "mean" or their "sum"; coefficients are relative to it."""

    @property
    def name(self) -> str: ...

    @property
    def has_unit_norm(self) -> bool: ...

    @property
    def convention(self) -> str: ...

    def initial(self, d: int, width: int, generator: torch.Generator) -> Params:
        """Parameters to begin with."""
        ...

    def loss(self, params: Params, x: Tensor, now: Now) -> Found:
        """The loss of a batch and its gradients."""
        ...

    def thresholds(self, params: Params, held: Params) -> Tensor | None:
        """Above what each feature [m] is on once fitted; None where something else decides."""
        ...


def directions(d: int, width: int, generator: torch.Generator) -> Tensor:
    """Random directions [width, d] of length 1."""
    return unit(torch.randn(width, d, generator=generator))


def tied(d: int, width: int, generator: torch.Generator, length: float = 1.0) -> Params:
    """An encoder that begins as the decoder's transpose, decoder rows of one length, no biases."""
    decoder = directions(d, width, generator) * length
    return {
        "encoder": decoder.clone(),
        "decoder": decoder,
        "b_enc": torch.zeros(width),
        "b_dec": torch.zeros(d),
    }


def unit(rows: Tensor) -> Tensor:
    """Rows of length 1."""
    lengths: Tensor = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    return rows / lengths


def affine(params: Params, seen: Tensor) -> Tensor:
    """Pre-activations [B, m] of what is seen [B, d], b_dec taken off."""
    return torch.addmm(params["b_enc"], seen, params["encoder"].T)


def squared(error: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """share × the summed squared error, and its gradient [B, d]."""
    return share * error.square().sum(), (2 * share) * error


def share(x: Tensor, convention: str = "mean") -> float:
    """What a squared error counts in a batch x [B, d]: a mean over inputs, and a mean or a sum over
    an input's elements."""
    return 1 / (x.numel() if convention == "mean" else len(x))


CACHED = 1 << 20
"""Features that are worked on at once on a processor: they stay in its caches, so that elementwise
work costs little beside the products."""


def chunks(x: Tensor, width: int) -> tuple[Tensor, ...]:
    """The inputs x [B, d] in parts for features [rows, width]; whole where there is no cache to
    care for."""
    rows = max(64, CACHED // width) if x.device.type == "cpu" else len(x)
    return torch.split(x, rows)


def blank(params: Params) -> Params:
    """Gradients of 0, to add to."""
    return {name: torch.zeros_like(value) for name, value in params.items()}


def count_on(f: Tensor) -> Tensor:
    """How many of the features f [rows, m], none below 0, are on: [m]; f is lost."""
    return f.sign_().sum(0)


def where_on(values: Tensor, f: Tensor) -> Tensor:
    """The values where f is above 0, else 0."""
    found: Tensor = torch.ops.aten.threshold_backward(values, f, 0)
    return found


def where_near(values: Tensor, u: Tensor, most: float) -> Tensor:
    """The values where |u| is below `most`, else 0."""
    found: Tensor = torch.ops.aten.hardtanh_backward(values, u, -most, most)
    return found
