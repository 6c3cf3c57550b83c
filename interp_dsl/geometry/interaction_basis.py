"""The interaction basis of a chain of layers (Bushnaq et al. 2024, "The Local Interaction Basis",
arXiv 2405.10928), beside principal components and neurons.

1. Gram matrix of layer l's activations f, centred: G = E[(f - mean)(f - mean)'] = U D U'; what
   does not vary is dropped. R = U D^(-1/2) whitens.
2. J = d(C_(l+1)' f^(l+1)) / d f^l, of the directions C_(l+1) of the next layer (local) or those of
   the output (global). M' = E[sum over outputs of J' J] = what later layers read of f.
3. M = R+ M' R+' = V L V'; what is not read is dropped.
4. C_l = R V L^(1/2), C_l+ = L^(-1/2) V' R+.

In these coordinates the covariance of the activations is L, and the Gram matrix of the Jacobians is
the identity: a direction is as large as its effect. The last layer has principal components.

Shapes: activations [n, p, d] float64 of n examples at p positions; means are over both. Stages do
not mix examples. All is float64: in float32 M is lost in rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from interp_dsl.geometry import draws

Stage = Callable[[Tensor, slice], Tensor]
"""A layer's activations [n, p, d] of the examples in the slice -> the next layer's [n, p', d'].
What else the examples hold is the stage's own."""

NUMBERS = 2**24
"""Entries of the Jacobians that are held at once."""
TIED = 1e-6
"""Neighbours in a spectrum closer than this share of the larger have no directions of their own."""


@dataclass(frozen=True)
class Basis:
    """Directions of a layer, the greatest value first: coordinates = (f - mean) to, and f = mean +
    coordinates back, up to what was dropped. mean [d], to [d, r], back [r, d], values [r] (L of the
    interaction basis, else variances), dropped [d - r] the values of what was left out, where they
    are known."""

    mean: Tensor
    to: Tensor
    back: Tensor
    values: Tensor
    dropped: Tensor

    def coordinates(self, f: Tensor) -> Tensor:
        return (f - self.mean) @ self.to

    def activations(self, coordinates: Tensor) -> Tensor:
        return self.mean + coordinates @ self.back

    @property
    def tied(self) -> Tensor:
        """[r]: whether a value is that of a neighbour, so that its direction is any of a plane."""
        close = self.values.diff().abs() < TIED * self.values[:-1]
        none = close.new_zeros(1)
        return torch.cat([close, none]) | torch.cat([none, close])


def moments(f: Tensor, center: bool = True) -> tuple[Tensor, Tensor]:
    """The mean [d] and covariance [d, d]; 0 and the Gram matrix without centring."""
    rows = f.flatten(0, -2).double()
    mean = rows.mean(0) if center else rows.new_zeros(rows.shape[-1])
    rows = rows - mean
    return mean, rows.T @ rows / len(rows)


def neurons(mean: Tensor, gram: Tensor) -> Basis:
    """The layer's own coordinates, the one that varies most first."""
    values, order = gram.diagonal().sort(descending=True, stable=True)
    eye = torch.eye(len(mean), dtype=gram.dtype, device=gram.device)
    return Basis(mean, eye[:, order], eye[order], values, values[:0])


def principal(mean: Tensor, gram: Tensor, drop: float = 1e-9) -> Basis:
    """Principal components down to the share `drop` of the greatest variance."""
    values, vectors, dropped = _spectrum(gram, drop)
    return Basis(mean, vectors, vectors.T, values, dropped)


def interaction(components: Basis, read: Tensor, drop: float = 1e-9) -> Basis:
    """Steps 3 and 4, of the layer's principal components and M' [d, d]."""
    deviation = components.values.sqrt()
    whiten, back = components.to / deviation, deviation[:, None] * components.back
    values, vectors, dropped = _spectrum(back @ read @ back.T, drop)
    scale = values.sqrt()
    to, back = whiten @ vectors * scale, (vectors / scale).T @ back
    sign = _sign(to)
    return Basis(components.mean, to * sign, sign[:, None] * back, values, dropped)


def bases(
    stages: Sequence[Stage],
    layers: Sequence[Tensor],
    mode: str = "local",
    center: bool = True,
    drop: float = 1e-9,
    sources: int = 0,
    seed: int = 0,
) -> Iterator[dict[str, Basis]]:
    """`neuron`, `pca` and `interaction` of each layer, the last layer first. `layers` are the
    activations of the chain, one more than there are stages. `sources` as of `sourced`."""
    assert mode in ("local", "global") and len(layers) == len(stages) + 1
    output: Basis | None = None
    above: Basis | None = None
    for at in reversed(range(len(layers))):
        mean, gram = moments(layers[at], center)
        components = principal(mean, gram, drop)
        if output is None or above is None:
            output = above = components
        else:
            stage, target = stages[at], above
            if mode == "global":
                stage, target = composed(stages[at:]), output
            stage = sourced(stage, sources, seed)
            above = interaction(components, what_is_read(stage, layers[at], target.to), drop)
        yield {"interaction": above, "pca": components, "neuron": neurons(mean, gram)}


def composed(stages: Sequence[Stage]) -> Stage:
    """Stages one after another."""

    def run(f: Tensor, rows: slice) -> Tensor:
        for stage in stages:
            f = stage(f, rows)
        return f

    return run


def sourced(stage: Stage, sources: int, seed: int) -> Stage:
    """The stage with its output positions summed up under random signs, `sources` times over, in
    place of each alone; itself for 0. Products of slopes of two positions cancel on average, so
    that squares of its slopes are, in expectation, those of all positions summed: of long prompts,
    whose positions are many, an estimate by few slopes."""
    if not sources:
        return stage

    def run(f: Tensor, rows: slice) -> Tensor:
        y = stage(f, rows)
        counters = (
            torch.arange(rows.start, rows.stop, device=y.device)[:, None, None],
            torch.arange(sources, device=y.device)[:, None],
            torch.arange(y.shape[1], device=y.device),
        )
        signs = 2 * draws.below(draws.hashed(seed, "sources", *counters), 2) - 1
        found: Tensor = signs.to(y.dtype) @ y / sources**0.5
        return found

    return run


def what_is_read(stage: Stage, f: Tensor, to: Tensor | None = None) -> Tensor:
    """M' [d, d]: the mean over examples and positions of J' J, summed over directions `to` [d', r]
    of the stage's outputs (None: over its outputs) at all of their positions."""
    total = f.new_zeros(f.shape[-1], f.shape[-1])
    for _, jacobian in jacobians(stage, f, to):
        flat = jacobian.flatten(0, -2)
        total += flat.T @ flat
    return total / f[..., 0].numel()


def edges(
    stage: Stage, f: Tensor, pairs: Sequence[tuple[Basis, Basis]], steps: int = 0
) -> list[Tensor]:
    """For each pair of a lower and an upper basis, the squared interactions [upper, lower]:

        E_ij = E[sum_t' (integral_0^1 sum_t dg_it' / dh_jt (a h) da · h_jt)^2]

    with h and g the coordinates below and above, t and t' their positions; all lower bases have one
    mean, at which a is 0. The integral is taken at `steps` points (Gauss and Legendre); without
    any, derivatives are those at the activations themselves, a = 1."""
    totals = [f.new_zeros(above.to.shape[1], below.to.shape[1]) for below, above in pairs]
    mean, points = pairs[0][0].mean, _points(steps)
    for rows, at in _blocks(stage, f):
        apart = f[rows] - mean
        parts = (w * _jacobian(stage, mean + a * apart, rows, at) for a, w in points)
        jacobian = sum(parts, f.new_zeros(()))
        for total, (below, above) in zip(totals, pairs, strict=True):
            along = (jacobian @ below.back.T) * below.coordinates(f[rows])[:, None, None]
            total += (above.to.T @ along.sum(3)).square().sum((0, 1))
    return [total / len(f) for total in totals]


def _points(steps: int) -> list[tuple[float, float]]:
    """Where an integral from 0 to 1 is looked at, and the weights."""
    if not steps:
        return [(1.0, 1.0)]
    at, weights = np.polynomial.legendre.leggauss(steps)
    return [((1 + a) / 2, w / 2) for a, w in zip(at.tolist(), weights.tolist(), strict=True)]


def jacobians(stage: Stage, f: Tensor, to: Tensor | None = None) -> Iterator[tuple[slice, Tensor]]:
    """Blocks of examples, and d stage / d f of each [n, p', d', p, d]; d' directions `to` of the
    stage's outputs where they are given. Where one example has too many for a block, there are
    several of it, each of some p'."""
    for rows, at in _blocks(stage, f, to):
        yield rows, _jacobian(stage, f[rows], rows, at, to)


def _blocks(stage: Stage, f: Tensor, to: Tensor | None = None) -> Iterator[tuple[slice, slice]]:
    """Examples, and positions of their outputs, whose Jacobians are held at once."""
    with torch.enable_grad():  # a stage may be made of slopes itself
        probe = stage(f[:1], slice(0, 1))
    positions, width = probe.shape[1], probe.shape[2] if to is None else to.shape[1]
    held = max(1, NUMBERS // (width * f[0].numel()))
    size, some = max(1, held // positions), min(held, positions)
    for first in range(0, len(f), size):
        rows = slice(first, min(first + size, len(f)))
        for at in range(0, positions, some):
            yield rows, slice(at, at + some)


def _jacobian(stage: Stage, x: Tensor, rows: slice, at: slice, to: Tensor | None = None) -> Tensor:
    """d stage / d f at x, the activations of some examples, of the outputs at some positions."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        y = stage(x, rows)[:, at]
        y = (y if to is None else y @ to).sum(0)
        unit = torch.eye(y.numel(), dtype=y.dtype, device=y.device).view(-1, *y.shape)
        [found] = torch.autograd.grad(y, x, unit, is_grads_batched=True)
    return found.transpose(0, 1).reshape(len(x), *y.shape, *x.shape[1:])


def effective(edges: Tensor) -> float:
    """How many edges of equal size would be as concentrated: (sum E)^2 / sum E^2, 0 of none."""
    total = edges.sum()
    return float(total.square() / edges.square().sum()) if total else 0.0


def _spectrum(symmetric: Tensor, drop: float) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenvalues over the share `drop` of the greatest, falling, their vectors in columns, and the
    other eigenvalues."""
    values, vectors = torch.linalg.eigh((symmetric + symmetric.T) / 2)
    values, vectors = values.flip(0), vectors.flip(1)
    kept = int((values > drop * values[0].clamp(min=0)).sum())
    vectors = vectors[:, :kept]
    return values[:kept], vectors * _sign(vectors), values[kept:]


def _sign(columns: Tensor) -> Tensor:
    """What makes the largest entry of each column positive."""
    largest = columns.gather(0, columns.abs().argmax(0, keepdim=True))[0]
    return torch.where(largest < 0, -1.0, 1.0).to(columns.dtype)
