"""Mean, covariance and norms of a site's activations, gathered batch by batch.

Welford's update for batches (Chan, Golub & LeVeque 1983): counts, means and centred products of two
parts give those of both, without the cancellation of sums of squares. Float64 throughout, but for
the norms."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_RANK = 1e-10


@dataclass(frozen=True)
class Moments:
    """Of n activations: the mean [width], the sum of products of deviations from it [width, width],
    the norms [n]."""

    mean: Tensor
    products: Tensor
    norms: Tensor

    @classmethod
    def of(cls, x: Tensor) -> Moments:
        """Of activations x [n, width]."""
        x = x.double()
        mean = x.mean(0) if len(x) else x.new_zeros(x.shape[1])
        centred = x - mean
        return cls(mean, centred.T @ centred, x.norm(dim=1).float())

    @property
    def n(self) -> int:
        return len(self.norms)

    @property
    def covariance(self) -> Tensor:
        """[width, width], dividing by n."""
        return self.products / max(1, self.n)

    @property
    def norm(self) -> float:
        """The typical norm: the median."""
        return float(self.norms.median())

    def __add__(self, other: Moments) -> Moments:
        if not self.n or not other.n:
            return self if self.n else other
        n = self.n + other.n
        apart = other.mean - self.mean
        return Moments(
            self.mean + apart * (other.n / n),
            self.products + other.products + torch.outer(apart, apart) * (self.n * other.n / n),
            torch.cat([self.norms, other.norms]),
        )

    def components(self) -> tuple[Tensor, Tensor]:
        """Variances [r], the largest first, and unit eigenvectors [width, r] of the covariance, of
        its numerical rank. Each points where its coordinate of largest size is positive."""
        values, vectors = torch.linalg.eigh(self.covariance)
        values, vectors = values.flip(0), vectors.flip(1)
        rank = int((values > _RANK * values[0].clamp(min=0)).sum())
        values, vectors = values[:rank], vectors[:, :rank]
        if not rank:
            return values, vectors
        largest = vectors.abs().argmax(0, keepdim=True)
        return values, vectors * vectors.gather(0, largest).sign()
