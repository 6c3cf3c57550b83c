"""Directions in activation space (Lee & Heimersheim 2024, arXiv 2410.12555; Heimersheim & Mendel
2024): where an activation x is moved.

random          N(0, I)
covariance      s1 − s2 of N(mean, covariance) each: N(0, 2 covariance), the improved baseline
difference      x_i − x_j, two other activations
toward_random   s − x, s of N(mean, covariance); toward_real x_i − x. Both hold −x, and so shrink

A direction depends on the seed, its number, the example and the position, and on nothing else.
`counters` are number, example and position, int64 tensors that broadcast together to [*shape];
directions come as [*shape, width], not of unit length."""

from __future__ import annotations

import torch
from torch import Tensor

from interp_dsl.geometry.draws import below, hashed, normals

SAME = 1e-5
"""Activations that differ by no more of their norms are the same; in half precision by more."""
Counters = tuple[Tensor, Tensor, Tensor]


def isotropic(seed: int, counters: Counters, width: int) -> Tensor:
    """Standard normal in every coordinate."""
    return normals(seed, "random", counters, width)


def covariance_mixture(seed: int, counters: Counters, factor: Tensor) -> Tensor:
    """The difference of two samples whose covariance is F Fᵀ, F [width, r]."""
    z = normals(seed, "covariance", counters, factor.shape[1])
    return 2**0.5 * z @ factor.T.to(z.dtype)


def sampled(seed: int, counters: Counters, mean: Tensor, factor: Tensor) -> Tensor:
    """Samples of the normal distribution of this mean and factor, F as above."""
    z = normals(seed, "sampled", counters, factor.shape[1])
    return mean.to(z.dtype) + z @ factor.T.to(z.dtype)


def real_mixture(seed: int, counters: Counters, pool: Tensor, own: Tensor) -> Tensor:
    """x_i − x_j of a pool [m, width], i and j unlike each other and `own` [*shape], which says
    which of the pool the moved activation is, −1 for none."""
    first, second = drawn_others(seed, "difference", counters, len(pool), own, 2)
    return apart(pool[first], pool[second])


def another(seed: int, counters: Counters, pool: Tensor, own: Tensor) -> Tensor:
    """An activation of the pool that is not one's own."""
    (first,) = drawn_others(seed, "toward", counters, len(pool), own, 1)
    return pool[first]


def drawn_others(
    seed: int, label: str, counters: Counters, n: int, own: Tensor, count: int
) -> list[Tensor]:
    """`count` numbers from 0 to n − 1 [*shape] each, unlike each other and `own`. ValueError where
    there are too few."""
    if n < count + 1:
        raise ValueError(f"{count} others cannot be drawn of {n} activations")
    found: list[Tensor] = []
    for i in range(count):
        keys = hashed(seed, f"{label}:{i}", *counters)
        taken = torch.stack([own.expand(keys.shape), *found])
        here = (taken >= 0).sum(0)
        found.append(_beyond(below(keys, n - here), taken))
    return found


def _beyond(drawn: Tensor, taken: Tensor) -> Tensor:
    """Numbers counted among those that are not taken [k, *shape], as numbers counted among all."""
    for one in taken.sort(0).values:
        drawn = drawn + ((one >= 0) & (drawn >= one)).long()
    return drawn


def apart(end: Tensor, start: Tensor) -> Tensor:
    """end − start [*shape, width], float32 at least; nothing where the two are the same but for
    rounding, which has no direction."""
    same = max(SAME, 2 * torch.finfo(end.dtype).eps)
    end, start = (x if x.dtype == torch.float64 else x.float() for x in (end, start))
    v, sizes = end - start, end.norm(dim=-1, keepdim=True) + start.norm(dim=-1, keepdim=True)
    return torch.where(v.norm(dim=-1, keepdim=True) > same * sizes, v, 0.0)


def unit(v: Tensor) -> tuple[Tensor, Tensor]:
    """Unit vectors and lengths [*shape, 1] of v [*shape, width]; of a vector without length the
    vector itself."""
    length = v.norm(dim=-1, keepdim=True)
    return v / torch.where(length > 0, length, 1.0), length


def along_arc(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """The point that is `share` of the way from a to b [*shape, width] along the arc between their
    directions, its norm as far between theirs: what a straight path is compared with, whose points
    are shorter than its ends. Where a and b lie on one line through 0, the chord."""
    (u, from_a), (v, from_b) = unit(a), unit(b)
    angle = (u * v).sum(-1, keepdim=True).clamp(-1, 1).arccos()
    size, sine = from_a + share * (from_b - from_a), angle.sin()
    arc = (u * ((1 - share) * angle).sin() + v * (share * angle).sin()) / sine
    return torch.where((sine > 1e-6) & (from_a * from_b > 0), size * arc, a + share * (b - a))
