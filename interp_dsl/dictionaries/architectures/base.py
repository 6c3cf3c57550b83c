"""What all architectures share.

Parameters by name: encoder [m, d_in] and decoder [m, d_out], feature after feature; b_enc [m]; more
as an architecture says. The pre-activations are seen encoderᵀ + b_enc, and f decoder is to be what
is wanted: what is seen of activations, and what is wanted of features, is settled by the ends of a
dictionary (ends.py), which have the other parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from interp_dsl.dictionaries import processor
from interp_dsl.dictionaries.crew import ALONE, Crew
from interp_dsl.dictionaries.products import PLAIN, Products

Params = dict[str, Tensor]


class Room:
    """Tensors that are written anew in every step. They are kept in between: what is given back to
    the system comes back page by page, which takes longer than filling it."""

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}

    def __call__(self, name: str, like: Tensor, *shape: int) -> Tensor:
        """A tensor of this shape and of another's kind, with anything in it."""
        held = self._held.get(name)
        if held is None or held.shape != shape or held.dtype != like.dtype:
            held = self._held[name] = like.new_empty(shape)
        return held


@dataclass(frozen=True)
class Now:
    """Where training stands: `warmth` 0 to 1 scales sparsity coefficients; dead [m] tells the
    features that count as dead, None where none does; there are `most` at most, or as many as there
    are seen to be; `held` is what the architecture keeps from
    batch to batch without learning it by gradient; `crew` has the other parts of the batch; `room`
    is what is worked in; `products` makes the dense products. `alone` [B, d_out] is what a part of
    a dictionary, a gate or some of the features, is to rebuild by itself, where that is not what
    the whole is to."""

    warmth: float = 1.0
    dead: Tensor | None = None
    held: Params = field(default_factory=dict)
    crew: Crew = ALONE
    room: Room = field(default_factory=Room)
    products: Products = PLAIN
    alone: Tensor | None = None
    most: int | None = None


@dataclass(frozen=True)
class Found:
    """What a batch says: the terms of the loss, which is their sum; a gradient for each parameter
    of the architecture; the error (rebuilt - wanted) [B, d_out]; `slope` [B, d_out], which times
    `steepness` is the loss's slope along it; the loss's slope along the pre-activations without
    biases, summed over the batch [m]; how many of the batch each feature fired on [m]; what is held
    for the next batch."""

    terms: dict[str, Tensor]
    gradients: Params
    error: Tensor
    slope: Tensor
    steepness: float
    pull: Tensor
    fired: Tensor
    held: Params = field(default_factory=dict)


class Sizes(NamedTuple):
    """Of a dictionary's activations and features; `is_tied`: its encoder begins as the decoder's
    transpose."""

    d_in: int
    d_out: int
    width: int
    is_tied: bool = True


class Architecture(Protocol):
    """`has_unit_norm`: the decoder's rows are kept at length 1. `convention`: what of an input's
    squared errors counts, their "mean" or their "sum"; coefficients are relative to it."""

    @property
    def name(self) -> str: ...

    @property
    def has_unit_norm(self) -> bool: ...

    @property
    def convention(self) -> str: ...

    def initial(self, sizes: Sizes, generator: torch.Generator) -> Params:
        """Parameters to begin with."""
        ...

    def loss(self, params: Params, seen: Tensor, wanted: Tensor, now: Now) -> Found:
        """The loss of a batch, seen [B, d_in] and wanted [B, d_out], and its gradients."""
        ...

    def thresholds(self, params: Params, held: Params) -> Tensor | None:
        """Above what each feature [m] is on once fitted; None where something else decides."""
        ...


def directions(d: int, width: int, generator: torch.Generator) -> Tensor:
    """Random directions [width, d] of length 1."""
    return unit(torch.randn(width, d, generator=generator))


def start(sizes: Sizes, generator: torch.Generator, length: float = 1.0) -> Params:
    """An encoder that begins as the decoder's transpose, or with directions of its own; decoder
    rows of one length, no bias."""
    decoder = directions(sizes.d_out, sizes.width, generator) * length
    encoder = decoder if sizes.is_tied else directions(sizes.d_in, sizes.width, generator) * length
    return {"encoder": encoder.clone(), "decoder": decoder, "b_enc": torch.zeros(sizes.width)}


def unit(rows: Tensor) -> Tensor:
    """Rows of length 1."""
    lengths: Tensor = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    return rows / lengths


def affine(params: Params, seen: Tensor, out: Tensor, by: Products = PLAIN) -> Tensor:
    """Pre-activations [B, m] of what is seen [B, d_in]."""
    return by.mm(seen, params["encoder"].T, out).add_(params["b_enc"])


def sum_of_squares(x: Tensor) -> Tensor:
    """Σ x², without a tensor of squares."""
    flat = x.flatten()
    return flat.dot(flat)


def share(wanted: Tensor, convention: str = "mean") -> float:
    """What a squared error counts in a batch [B, d_out]: a mean over inputs, and a mean or a sum
    over an input's elements."""
    return 1 / (wanted.numel() if convention == "mean" else len(wanted))


ELSEWHERE = ("b_dec", "W_skip")
"""Parameters of a dictionary's ends, which are no architecture's."""
CACHED = 1 << 22
"""Features that are worked on at once on a processor: few enough for its largest cache, so that
elementwise work costs little beside the products; enough that adding up gradients does."""


def chunks(x: Tensor, width: int, *wanted: str, room: Room) -> Iterator[tuple[Any, ...]]:
    """Parts of the inputs x [B, d], each with tensors for their features [rows, width] of these
    names; all at once where there is no cache to care for."""
    rows = min(len(x), max(64, CACHED // width) if processor.has(x) else len(x))
    held = [room(name, x, rows, width) for name in wanted]
    for first in range(0, len(x), rows):
        part = slice(first, min(first + rows, len(x)))
        yield part, *(tensor[: part.stop - first] for tensor in held)


STRIP = 1 << 17
"""Numbers of a tensor that are worked on at once where several passes over them follow each other:
few enough for a processor's nearer cache."""


def strips(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Tensors [rows, m] a few rows at a time."""
    count, width = tensors[0].shape
    rows = max(1, STRIP // width) if processor.has(tensors[0]) else count
    return zip(*(torch.split(tensor, rows) for tensor in tensors), strict=True)


def column_sums(x: Tensor) -> Tensor:
    """The sums [m] of x [rows, m] over its rows, as a product."""
    return x.new_ones(len(x)) @ x


def add_column_sums(total: Tensor, x: Tensor) -> None:
    """The sums of x [rows, m] over its rows, added to a total [m]."""
    total.addmv_(x.T, x.new_ones(len(x)))


def blank(params: Params, room: Room) -> Params:
    """Gradients of 0, to add to; they hold until the next step."""
    own = {name: value for name, value in params.items() if name not in ELSEWHERE}
    return {name: room(f"d.{name}", v, *v.shape).zero_() for name, v in own.items()}


def count_on(f: Tensor) -> Tensor:
    """How many of the features f [rows, m], none below 0, are on: [m]; f is lost."""
    return column_sums(f.sign_())


def where_on(values: Tensor, f: Tensor) -> Tensor:
    """The values where f is above 0, else 0; in their place."""
    kept: Tensor = torch.ops.aten.threshold_backward.grad_input(values, f, 0, grad_input=values)
    return kept


def where_near(values: Tensor, u: Tensor, most: float, out: Tensor) -> Tensor:
    """The values where |u| is below `most`, else 0."""
    near = torch.ops.aten.hardtanh_backward.grad_input
    found: Tensor = near(values, u, -most, most, grad_input=out)
    return found
