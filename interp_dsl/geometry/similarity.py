"""How features of one layer go together with those of a later one (Balcells et al. 2024, "Evolution
of SAE features across layers in LLMs", arXiv 2410.08869).

With activations a_i, a_j of two features on n tokens and b = [a > threshold]:

    pearson             cov(a_i, a_j) / (sd_i sd_j)
    cosine              sum a_i a_j / (|a_i| |a_j|)
    jaccard             n_ij / (n_i + n_j - n_ij)
    sufficiency         n_ij / n_i = P(j on | i on)
    necessity           n_ij / n_j = P(i on | j on)
    mutual_information  of b_i and b_j, in nats, 0 log 0 = 0
    lift                n_ij n / (n_i n_j) = P(j on | i on) / P(j on)

All come from sums that a stream of tokens adds up to: two matrix products a block of tokens. Where
the sums of all pairs do not fit, the stream is read once for each block of lower features. A
feature that is never on has NaN with every other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

import torch
from torch import Tensor

Stream = Callable[[], Iterable[tuple[Tensor, Tensor]]]
"""A fresh pass over blocks of tokens: activations [t, d1] of the lower and [t, d2] of the upper
layer."""


@dataclass(frozen=True)
class Side:
    """Sums over tokens of one layer's features [d]: activations, their squares, tokens that they
    are on."""

    total: Tensor
    square: Tensor
    on: Tensor

    def at(self, which: Tensor) -> Side:
        """The sums of features by number, in the shape of the numbers."""
        return Side(self.total[which], self.square[which], self.on[which])


@dataclass(frozen=True)
class Joint:
    """Sums over n tokens of pairs: products of activations, tokens that both are on; with the
    sides in a shape that goes with them."""

    n: int
    product: Tensor
    both: Tensor
    below: Side
    above: Side


def pearson(s: Joint) -> Tensor:
    spread = [(side.square - side.total.square() / s.n).clamp(min=0) for side in (s.below, s.above)]
    return (s.product - s.below.total * s.above.total / s.n) / (spread[0] * spread[1]).sqrt()


def cosine(s: Joint) -> Tensor:
    return s.product / (s.below.square * s.above.square).sqrt()


def jaccard(s: Joint) -> Tensor:
    return s.both / (s.below.on + s.above.on - s.both)


def sufficiency(s: Joint) -> Tensor:
    return s.both / s.below.on


def necessity(s: Joint) -> Tensor:
    return s.both / s.above.on


def lift(s: Joint) -> Tensor:
    return s.both * s.n / (s.below.on * s.above.on)


def mutual_information(s: Joint) -> Tensor:
    """Of each alone less that of both together: H(i) + H(j) - H(i, j)."""
    p, q, both = s.below.on / s.n, s.above.on / s.n, s.both / s.n
    found = -_plogp(p) - _plogp(1 - p) - _plogp(q) - _plogp(1 - q)
    found += _plogp(both)
    found += _plogp(p - both)
    found += _plogp(q - both)
    return found.add_(_plogp(1 - p - q + both))


def _plogp(p: Tensor) -> Tensor:
    p = p.clamp(min=0)
    return torch.xlogy(p, p)


def lift_low(s: Joint, z: float) -> Tensor:
    """The lower bound of the lift, z standard errors of its logarithm below it (delta method)."""
    product = s.below.on * s.above.on
    variance = 1 / s.both - 1 / s.below.on - 1 / s.above.on + 2 * s.both / product - 1 / s.n
    return lift(s) * (-z * variance.clamp(min=0).sqrt()).exp()


MEASURES: Mapping[str, Callable[[Joint], Tensor]] = {
    f.__name__: f for f in (pearson, cosine, jaccard, sufficiency, necessity, mutual_information)
}


def measured(name: str, s: Joint) -> Tensor:
    """A measure of pairs; NaN where one of the two is never on."""
    return torch.where((s.below.on > 0) & (s.above.on > 0), MEASURES[name](s), torch.nan)


MADE_OF = 8
"""Tensors of all pairs of a block that the largest measure holds at once, with those of the
mask."""


@dataclass(frozen=True)
class Keep:
    """Which pairs are kept: those that reach `least` in one of the measures named, but of each
    lower feature the `top` greatest at most; and those that reach `always`; with `support` tokens
    that both are on."""

    least: Mapping[str, float] = field(default_factory=lambda: {"pearson": 0.1})
    top: int | None = 16
    support: int = 20
    always: Mapping[str, float] = field(default_factory=dict)

    def reached(self, name: str, values: Tensor) -> Tensor:
        """The pairs that a measure's values [d1, d2] are enough for."""
        found = values >= self.always.get(name, torch.inf)
        if name in self.least:
            is_enough = values >= self.least[name]
            if self.top is not None and self.top < values.shape[1]:
                filled = values.nan_to_num(nan=-torch.inf)
                is_enough &= filled >= filled.topk(self.top, dim=1).values[:, -1:]
            found |= is_enough
        return found


@dataclass(frozen=True)
class Best:
    """The greatest value of a measure for each feature [d], over those of the other layer; NaN for
    one that is never on."""

    forward: Tensor
    backward: Tensor


@dataclass(frozen=True)
class Related:
    """Pairs that were kept: `below` and `above` [m], their measures, the tokens that both are on,
    the lift and its lower bound (95 %, for all pairs at once). `best` by measure; `on` [d1], [d2]
    tokens that each feature is on; `n` tokens."""

    below: Tensor
    above: Tensor
    values: Mapping[str, Tensor]
    support: Tensor
    lift: Tensor
    lift_low: Tensor
    best: Mapping[str, Best]
    on: tuple[Tensor, Tensor]
    n: int


def sums_bytes(rows: int, above: int, itemsize: int = 8) -> int:
    """Memory that `rows` lower features take with all upper ones: both sums, and a measure with
    what it is made of."""
    return rows * above * itemsize * (2 + MADE_OF)


def relate(
    stream: Stream,
    sizes: tuple[int, int],
    thresholds: tuple[Tensor | float, Tensor | float] = (0.0, 0.0),
    keep: Keep | None = None,
    rows: int | None = None,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> Related:
    """The features of two layers of `sizes` d1, d2 related. `rows` lower features a pass; all in
    one where it is None. `dtype` of the sums: counts in float32 are exact to 16 million tokens;
    `device` where they are made."""
    keep = keep or Keep()
    d1, d2 = sizes
    size = rows or d1
    z = NormalDist().inv_cdf(1 - 0.025 / (d1 * d2))
    best = {name: _Best(d1, d2) for name in MEASURES}
    zero = torch.zeros((), dtype=dtype, device=device)
    parts: list[list[Tensor]] = []
    for first in range(0, d1, size):
        block = slice(first, min(first + size, d1))
        joint, sides = _summed(stream, block, sizes, thresholds, zero)
        parts.append(_kept(joint, sides, block, keep, best, z))
        n = joint.n
        del joint  # before the next block's is made
    i, j, both, lifts, low, *columns = (torch.cat(column) for column in zip(*parts, strict=True))
    return Related(
        i,
        j,
        dict(zip(MEASURES, columns, strict=True)),
        both,
        lifts,
        low,
        {name: held.found() for name, held in best.items()},
        (sides[0].on, sides[1].on),
        n,
    )


def _kept(
    joint: Joint,
    sides: tuple[Side, Side],
    block: slice,
    keep: Keep,
    best: Mapping[str, _Best],
    z: float,
) -> list[Tensor]:
    """Of the pairs that are kept their numbers, the tokens that both are on, the lift and its lower
    bound, and the measures; `best` sees those of all."""
    mask = torch.zeros_like(joint.both, dtype=torch.bool)
    for name, held in best.items():
        values = measured(name, joint)
        held.see(block, values)
        mask |= keep.reached(name, values)
        del values  # before the next are made
    i, j = (mask & (joint.both >= keep.support)).nonzero(as_tuple=True)
    below, above = sides[0].at(block.start + i), sides[1].at(j)
    pairs = Joint(joint.n, joint.product[i, j], joint.both[i, j], below, above)
    found = [measured(name, pairs) for name in MEASURES]
    return [block.start + i, j, pairs.both, lift(pairs), lift_low(pairs, z), *found]


class _Best:
    """Greatest values over blocks; NaN where there is none."""

    def __init__(self, d1: int, d2: int) -> None:
        self._forward, self._backward = (
            torch.full((d,), torch.nan, dtype=torch.float64) for d in (d1, d2)
        )

    def see(self, block: slice, values: Tensor) -> None:
        filled = values.nan_to_num(nan=-torch.inf)
        for held, new in ((self._forward[block], filled.amax(1)), (self._backward, filled.amax(0))):
            new = new.to(held)
            held.copy_(torch.where(new.isinf(), held, torch.fmax(held, new)))

    def found(self) -> Best:
        return Best(self._forward, self._backward)


def _summed(
    stream: Stream,
    block: slice,
    sizes: tuple[int, int],
    thresholds: tuple[Tensor | float, Tensor | float],
    zero: Tensor,
) -> tuple[Joint, tuple[Side, Side]]:
    """The sums of a block of lower features with all upper ones, in one pass; `zero` has their
    dtype and device."""
    rows, d2 = block.stop - block.start, sizes[1]
    product, both = (zero.new_zeros(rows, d2) for _ in range(2))
    sides = [zero.new_zeros(3, d, dtype=torch.float64) for d in sizes]
    n = 0
    for a, b in stream():
        n += len(a)
        held = []
        a, b = a.to(zero.device), b.to(zero.device)
        for x, threshold, sums in zip((a, b), thresholds, sides, strict=True):
            on = (x > threshold).to(x.dtype)
            squares = torch.linalg.vector_norm(x, dim=0).double().square()
            sums += torch.stack([x.sum(0).double(), squares, on.sum(0).double()])
            held.append(on)
        product += a[:, block].T @ b
        both += held[0][:, block].T @ held[1]
    below, above = (Side(*sums) for sums in sides)
    i = torch.arange(block.start, block.stop, device=zero.device)[:, None]
    j = torch.arange(d2, device=zero.device)[None]
    return Joint(n, product, both, below.at(i), above.at(j)), (below, above)


# ---- what becomes of features


@dataclass(frozen=True)
class Passage:
    """Features that pass from one layer to the next: shares of those that are ever on. `appearing`
    is of the upper layer's."""

    passed: float
    disappearing: float
    appearing: float


def passage(related: Related, least: float = 0.95, measure: str = "pearson") -> Passage:
    """A feature is passed on where one of the next layer reaches `least` with it, and has appeared
    where none of the layer before does."""
    best = related.best[measure]
    forward, backward = best.forward, best.backward
    passed = _share(forward >= least, ~forward.isnan())
    return Passage(passed, 1 - passed, 1 - _share(backward >= least, ~backward.isnan()))


def _share(which: Tensor, of: Tensor) -> float:
    return float((which & of).sum() / of.sum()) if bool(of.any()) else math.nan


def specialising(related: Related, high: float = 0.95, low: float = 0.5) -> tuple[Tensor, Tensor]:
    """Which pairs [m] are a feature and a special case of it above (the upper is on only where the
    lower is, and not always then); and which the reverse."""
    needed, enough = related.values["necessity"], related.values["sufficiency"]
    return (needed >= high) & (enough <= low), (enough >= high) & (needed <= low)


def spread(values: Tensor, count: int) -> Tensor:
    """At most `count` of the values [m], by number: those nearest to even steps over their range,
    rising."""
    steps = torch.linspace(float(values.min()), float(values.max()), count, dtype=torch.float64)
    nearest = (values.double().cpu() - steps[:, None]).abs().argmin(1)
    found: Tensor = torch.unique_consecutive(nearest)
    return found


def decoder_cosine(below: Tensor, above: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """Of the decoders' directions [d1, d], [d2, d] of single pairs [m]; no data is needed."""
    unit: Sequence[Tensor] = [x / x.norm(dim=1, keepdim=True) for x in (below, above)]
    return (unit[0][i] * unit[1][j]).sum(1)
