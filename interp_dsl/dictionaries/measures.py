"""How well a dictionary rebuilds activations, by SAEBench's names; every measure is a ratio of sums
over examples, so that its uncertainty can be had by drawing examples anew.

    l0, l1               features on, and their sum, for an activation
    mse                  the mean over elements of (x̂ - x)²
    fvu                  Σ ‖x̂ - x‖² / Σ ‖x - mean‖²;  explained_variance is 1 - fvu
    cosine               the mean of cos(x̂, x)
    l2_ratio             the mean of ‖x̂‖ / ‖x‖
    ce_loss_score        (CE_ablation - CE_sae) / (CE_ablation - CE_clean)
    kl_div_score         (KL_ablation - KL_sae) / KL_ablation
With the dictionary's reconstruction in the place of the activation, "ablation" with zero or the
mean there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Ratio:
    """Σ over / Σ under, of sums [n] over each example."""

    over: Tensor
    under: Tensor

    @property
    def value(self) -> float:
        return float(self.over.sum() / self.under.sum())


class Spread:
    """What examples' activations sum to: their mean and their variance about it."""

    def __init__(self, n: int, d: int) -> None:
        self.count = torch.zeros(n, dtype=torch.float64)
        self.total = torch.zeros(n, d, dtype=torch.float64)
        self.squares = torch.zeros(n, dtype=torch.float64)

    def add(self, example: Tensor, x: Tensor) -> None:
        """x [R, d], each of the example [R] that it is of."""
        x = x.cpu().double()
        self.count.index_add_(0, example, torch.ones(len(x), dtype=torch.float64))
        self.total.index_add_(0, example, x)
        self.squares.index_add_(0, example, x.square().sum(1))

    @property
    def width(self) -> int:
        """Elements of an activation."""
        return self.total.shape[1]

    @property
    def mean(self) -> Tensor:
        """Over all [d]."""
        return self.total.sum(0) / self.count.sum()

    @property
    def variance(self) -> Tensor:
        """Σ ‖x - mean‖² of each example [n]."""
        mean = self.mean
        across = self.total @ mean
        return self.squares - 2 * across + self.count * mean.square().sum()


_SUMS = ("l0", "l1", "error", "cosine", "l2_ratio")


@dataclass(frozen=True)
class Rebuilt:
    """What a dictionary makes of activations [R]: the terms of each sum [R], and how often each
    feature [d_sae] fires; in the processor's memory."""

    terms: dict[str, Tensor]
    fired: Tensor

    @classmethod
    def of(cls, f: Tensor, made: Tensor, y: Tensor) -> Rebuilt:
        """Of features f [R, d_sae], from which activations y [R, d] have been made anew."""
        on = f > 0
        lengths = [torch.linalg.vector_norm(v, dim=1) for v in (made, y)]
        small = torch.finfo(y.dtype).tiny
        terms = {
            "l0": on.sum(1),
            "l1": f.sum(1),
            "error": (made - y).square().sum(1),
            "cosine": (made * y).sum(1) / (lengths[0] * lengths[1]).clamp_min(small),
            "l2_ratio": lengths[0] / lengths[1].clamp_min(small),
        }
        return cls({name: v.cpu().double() for name, v in terms.items()}, on.sum(0).cpu())


class Reconstruction:
    """What a dictionary makes of examples' activations."""

    def __init__(self, d_sae: int, n: int) -> None:
        self.sums = {name: torch.zeros(n, dtype=torch.float64) for name in _SUMS}
        self.fired = torch.zeros(d_sae, dtype=torch.int64)
        self.count = 0

    def add(self, example: Tensor, rebuilt: Rebuilt) -> None:
        """Activations, each of the example [R] that it is of."""
        for name, values in rebuilt.terms.items():
            self.sums[name].index_add_(0, example, values)
        self.fired += rebuilt.fired
        self.count += len(example)

    @property
    def density(self) -> Tensor:
        """The share of activations that each feature [d_sae] fires on."""
        return self.fired / self.count

    def ratios(self, spread: Spread) -> dict[str, Ratio]:
        """Each measure of examples whose activations are spread so."""
        sums, count, variance = self.sums, spread.count, spread.variance
        by_count = {name: Ratio(sums[name], count) for name in ("l0", "l1", "cosine", "l2_ratio")}
        return {
            **by_count,
            "mse": Ratio(sums["error"], count * spread.width),
            "fvu": Ratio(sums["error"], variance),
            "explained_variance": Ratio(variance - sums["error"], variance),
        }


def score(ablated: Tensor, with_sae: Tensor, clean: Tensor) -> Ratio:
    """The part of what ablation loses that the dictionary keeps: 1 as clean, 0 as ablated; of each
    example's losses [n]."""
    return Ratio(ablated - with_sae, ablated - clean)


def losses(log: Tensor, targets: Tensor) -> Tensor:
    """The cross-entropy [B, T] of targets [B, T] under log probabilities [B, T, V]."""
    found: Tensor = -log.gather(-1, targets[..., None])[..., 0]
    return found


def divergences(clean: Tensor, log: Tensor) -> Tensor:
    """KL(clean ‖ other) [B, T] of log probabilities [B, T, V]."""
    found: Tensor = torch.einsum("btv,btv->bt", clean.exp(), clean - log)
    return found
