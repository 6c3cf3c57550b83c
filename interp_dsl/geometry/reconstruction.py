"""What a dictionary makes of an activation x, as directions that begin at x (Gurnee 2024, "SAE
reconstruction errors are (empirically) pathological"; Lee & Heimersheim 2024, arXiv 2410.12555).

error       y − x, y the reconstruction
error_kept  y at the length of x, less x: the error without its shrinkage
shrinkage   x at the length of y, less x: the shrinkage alone
rotated     z − x, z in a random direction with the cosine to x and the length that y has; it is as
            long as the error

Activations and directions are [*shape, width]; lengths in L2."""

from __future__ import annotations

import torch
from torch import Tensor

from interp_dsl.geometry.directions import unit

HOWS = ("error", "error_kept", "shrinkage", "rotated")


def substituted(how: str, x: Tensor, y: Tensor, random: Tensor | None = None) -> Tensor:
    """What stands in the place of x; `random` [*shape, width] is where `rotated` turns to."""
    (toward_x, from_x), (toward_y, from_y) = unit(x), unit(y)
    match how:
        case "error":
            return y
        case "error_kept":
            return toward_y * from_x
        case "shrinkage":
            return toward_x * from_y
    assert random is not None
    cosine = (toward_x * toward_y).sum(-1, keepdim=True).clamp(-1, 1)
    across, _ = unit(random - (random * toward_x).sum(-1, keepdim=True) * toward_x)
    return from_y * (cosine * toward_x + (1 - cosine.square()).sqrt() * across)


def chosen(allowed: Tensor, draws: Tensor) -> Tensor:
    """Of each row of `allowed` [rows, features] bool the features that draws from 0 to count − 1
    [rows, m] name among the allowed ones, int64 [rows, m]; −1 where a row allows none."""
    order = allowed.cumsum(1, dtype=torch.int32)
    found = torch.searchsorted(order, (draws + 1).to(torch.int32))
    return torch.where(order[:, -1:] > 0, found, -1)
