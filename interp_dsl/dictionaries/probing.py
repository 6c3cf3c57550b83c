"""k-sparse probes as SAEBench has them (Gurnee et al. 2023; Karvonen et al. 2025): of examples'
mean activations, the k features whose means over the two classes differ most, and a logistic
regression on these. The regression minimises ½ ‖w‖² + Σ log(1 + exp(-y (w·x + b))), y = ±1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

STEPS = 500


@dataclass(frozen=True)
class Probe:
    """features [k] by the size of the difference [k] of their means; weight [k] and bias of the
    regression."""

    features: Tensor
    difference: Tensor
    weight: Tensor
    bias: float

    def is_right(self, x: Tensor, y: Tensor) -> Tensor:
        """Whether it says of examples x [n, m] whether they are of the class, y [n]."""
        found: Tensor = ((x[:, self.features].double() @ self.weight + self.bias) > 0) == y
        return found


def fitted(x: Tensor, y: Tensor, k: int | None) -> Probe:
    """The probe of examples x [n, m] that are of a class or not, y [n] bool; of all features where
    k is None."""
    x = x.double()
    difference = x[y].mean(0) - x[~y].mean(0)
    k = x.shape[1] if k is None else min(k, x.shape[1])
    features = difference.abs().topk(k).indices
    weight, bias = regression(x[:, features], y)
    return Probe(features, difference[features], weight, bias)


def regression(x: Tensor, y: Tensor) -> tuple[Tensor, float]:
    """The weights [k] and the bias of the regression of x [n, k], float64, on y [n] bool."""
    sign = torch.where(y, 1.0, -1.0).double()
    inputs = torch.cat([x, torch.ones_like(x[:, :1])], 1)
    theta = torch.zeros(inputs.shape[1], dtype=torch.float64, requires_grad=True)
    descent = torch.optim.LBFGS(
        [theta], max_iter=STEPS, tolerance_grad=1e-6, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        descent.zero_grad()
        found = theta[:-1].square().sum() / 2 + softplus(-sign * (inputs @ theta)).sum()
        found.backward()  # type: ignore[no-untyped-call]
        return found

    with torch.enable_grad():
        descent.step(loss)  # type: ignore[no-untyped-call]
    held = theta.detach()
    return held[:-1], float(held[-1])


@dataclass(frozen=True)
class Division:
    """The examples, by number, that a probe of a class learns from and those it is tried on, with
    whether they are of the class: as many are as are not."""

    learned: tuple[Tensor, Tensor]
    tried: tuple[Tensor, Tensor]


def divided(label: Tensor, classes: int, share: float, seed: int) -> list[Division]:
    """A division for each class of labels [n]: the `share` of each class that probes are tried on
    is drawn once, and the others of a division are drawn from all other classes alike."""
    generator = torch.Generator().manual_seed(seed)
    parts: list[tuple[Tensor, Tensor]] = []
    for c in range(classes):
        own = (label == c).nonzero()[:, 0]
        own = own[torch.randperm(len(own), generator=generator)]
        n = min(len(own) - 1, max(1, round(share * len(own))))
        parts.append((own[n:], own[:n]))
    return [
        Division(*(_balanced([part[i] for part in parts], c, generator) for i in (0, 1)))
        for c in range(classes)
    ]


def _balanced(held: Sequence[Tensor], c: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The examples of class c and as many others, fewer of both where there are not as many."""
    rest = [one for i, one in enumerate(held) if i != c]
    each = -(-len(held[c]) // len(rest))
    drawn = torch.cat([_some(one, each, generator) for one in rest])
    n = min(len(held[c]), len(drawn))
    examples = torch.cat([held[c][:n], _some(drawn, n, generator)])
    return examples, torch.arange(2 * n) < n


def _some(held: Tensor, n: int, generator: torch.Generator) -> Tensor:
    return held[torch.randperm(len(held), generator=generator)[:n]]
