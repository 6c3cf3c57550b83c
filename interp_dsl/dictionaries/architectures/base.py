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

from interp_dsl.dictionaries.codes import Codes

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


def centred(params: Params, x: Tensor) -> Tensor:
    return x - params["b_dec"]


def affine(params: Params, seen: Tensor, bias: str = "b_enc") -> Tensor:
    """Pre-activations [B, m] of what is seen [B, d], the bias of the input taken off."""
    return torch.addmm(params[bias], seen, params["encoder"].T)


def encoder_gradients(params: Params, codes: Codes, d_pre: Tensor, seen: Tensor) -> Params:
    """Gradients of encoder, b_enc and b_dec by way of the pre-activations; d_pre shaped as the
    codes' values."""
    d_bias = codes.total(d_pre)
    return {
        "encoder": codes.outer(d_pre, seen),
        "b_enc": d_bias,
        "b_dec": -(d_bias @ params["encoder"]),
    }


def squared(error: Tensor, weight: float = 1.0, convention: str = "mean") -> tuple[Tensor, Tensor]:
    """weight × the squared error, a mean over the batch and the mean or sum over an input's
    elements; and its gradient [B, d]."""
    share = weight / (error.numel() if convention == "mean" else len(error))
    return share * error.square().sum(), (2 * share) * error
