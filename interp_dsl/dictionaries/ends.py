"""The two ends of a dictionary: what its encoder sees of activations, and what its features are to
rebuild; with the parameters that are no architecture's own, and their gradients.

    Itself   seen = wanted = x - b_dec: an autoencoder; where x is the activations of several places
             side by side, a crosscoder (Lindsey et al. 2024), whose encoder is then a sum over
             places and whose decoder has rows at each
    Onto     seen = x - centre, wanted = y - b_dec - seen W_skipᵀ: a transcoder of x [B, d_in] onto
             y [B, d_out] (Dunefsky et al. 2024, arXiv 2406.11944), W_skip 0 but where it has a skip
             connection (Paulo et al. 2025, arXiv 2501.18823); centre is the mean of first inputs
             and stays

No product is spent on an autoencoder's b_dec: its gradient through the encoder is a matrix-vector
product of the summed gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from torch import Tensor

from interp_dsl.dictionaries.architectures.base import (
    Architecture,
    Found,
    Now,
    Params,
    column_sums,
)
from interp_dsl.dictionaries.products import Products
from interp_dsl.dictionaries.starting import begin_at

OBJECTIVE = "objective"
"""The term of the loss that stands in the squared error's place."""
Objective = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Of rebuilt activations [B, d_out] a number, and its slope [B, d_out]."""


class Ends(Protocol):
    @property
    def is_tied(self) -> bool:
        """Whether encoder and decoder are directions of one space."""
        ...

    def initial(self, x: Tensor, y: Tensor, bias: str) -> tuple[Params, Params]:
        """Parameters to begin with, by first activations; and what stays."""
        ...

    def ends(
        self, params: Params, fixed: Params, x: Tensor, y: Tensor, by: Products
    ) -> tuple[Tensor, Tensor]:
        """What is seen [B, d_in] and what is wanted [B, d_out] of a batch."""
        ...

    def gradients(self, params: Params, seen: Tensor, found: Found, by: Products) -> Params:
        """Those of the parameters that are here."""
        ...


@dataclass(frozen=True)
class Itself:
    is_tied = True

    def initial(self, x: Tensor, y: Tensor, bias: str) -> tuple[Params, Params]:
        return {"b_dec": begin_at(x, bias)}, {}

    def ends(
        self, params: Params, fixed: Params, x: Tensor, y: Tensor, by: Products
    ) -> tuple[Tensor, Tensor]:
        seen = x - params["b_dec"]
        return seen, seen

    def gradients(self, params: Params, seen: Tensor, found: Found, by: Products) -> Params:
        return {"b_dec": _total(found) - found.pull @ params["encoder"]}


@dataclass(frozen=True)
class Onto:
    has_skip: bool = False
    is_tied = False

    def initial(self, x: Tensor, y: Tensor, bias: str) -> tuple[Params, Params]:
        params = {"b_dec": begin_at(y, bias)}
        if self.has_skip:
            params["W_skip"] = x.new_zeros(y.shape[1], x.shape[1])
        return params, {"centre": x.mean(0)}

    def ends(
        self, params: Params, fixed: Params, x: Tensor, y: Tensor, by: Products
    ) -> tuple[Tensor, Tensor]:
        seen, wanted = x - fixed["centre"], y - params["b_dec"]
        if self.has_skip:
            by.add_to(wanted, seen, params["W_skip"].T, -1)
        return seen, wanted

    def gradients(self, params: Params, seen: Tensor, found: Found, by: Products) -> Params:
        gradients = {"b_dec": _total(found)}
        if self.has_skip:
            gradients["W_skip"] = by.mm(found.slope.T, seen).mul_(found.steepness)
        return gradients


def _total(found: Found) -> Tensor:
    """The loss's slope along what is rebuilt, summed over the batch [d_out]."""
    return column_sums(found.slope).mul_(found.steepness)


def loss_between(
    ends: Ends,
    architecture: Architecture,
    params: Params,
    fixed: Params,
    batch: tuple[Tensor, Tensor],
    now: Now,
) -> Found:
    """The loss of a batch x, y and the gradients of all parameters."""
    by = now.products
    seen, wanted = ends.ends(params, fixed, *batch, by)
    found = architecture.loss(params, seen, wanted, now)
    return replace(found, gradients=found.gradients | ends.gradients(params, seen, found, by))


def loss_through(
    ends: Ends,
    architecture: Architecture,
    params: Params,
    fixed: Params,
    batch: tuple[Tensor, Tensor],
    now: Now,
    objective: Objective,
) -> Found:
    """The loss with an objective of the rebuilt activations in their squared error's place, and its
    gradients. To first order any objective is a squared error: that from the activations which lie
    off the rebuilt ones, x̂, by its slope g, so that s (x̂ - wanted) = g with s the steepness of an
    error; so architectures need not know of it. What parts of a dictionary rebuild alone, a gate or
    the inner prefixes, counts as it does beside the squared error. Without AuxK, which would
    rebuild what x̂ is aimed at."""
    by = now.products
    seen, wanted = ends.ends(params, fixed, *batch, by)
    plain = architecture.loss(params, seen, wanted, now)
    error = plain.error
    value, slope = objective(batch[1] + error)
    aimed = wanted + error - slope / plain.steepness
    found = architecture.loss(params, seen, aimed, replace(now, alone=wanted))
    terms = {OBJECTIVE: value, **{n: v for n, v in found.terms.items() if n != "mse"}}
    gradients = found.gradients | ends.gradients(params, seen, found, by)
    return replace(found, terms=terms, gradients=gradients, error=error)
