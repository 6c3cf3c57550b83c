"""How many directions and edges of a basis a model needs (Bushnaq et al. 2024, arXiv 2405.10928).

What is ablated stands at its mean. A score is a number of the chain's outputs, higher is better."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from interp_dsl.geometry.interaction_basis import Basis, Stage

Score = Callable[[Tensor], float]


def counts(r: int, base: float = 1.05) -> list[int]:
    """How many directions are kept: each number to 10, then each `base` times the one before,
    up to r."""
    found, at = [*range(1, min(r, 10) + 1)], 10.0
    while found[-1] < r:
        at *= base
        if int(at) > found[-1]:
            found.append(min(int(at), r))
    return found


def ablate_nodes(
    rest: Stage, f: Tensor, basis: Basis, keep: list[int], score: Score
) -> Iterator[float]:
    """The score with the first k directions of a layer kept, for each k. `rest`: from this layer to
    the output."""
    coordinates = basis.coordinates(f)
    for k in keep:
        kept = basis.mean + coordinates[..., :k] @ basis.back[:k]
        yield score(rest(kept, slice(0, len(f))))


def masked(stage: Stage, f: Tensor, below: Basis, above: Basis, kept: Tensor) -> Tensor:
    """The next layer's activations when each of its directions sees those of this layer alone that
    it has an edge from; kept: [above, below] bool. Directions of equal edges share a pass."""
    coordinates, rows = below.coordinates(f), slice(0, len(f))
    patterns, which = torch.unique(kept, dim=0, return_inverse=True)
    parts: list[Tensor] = []
    for number, pattern in enumerate(patterns):
        out = stage(below.activations(coordinates * pattern), rows)
        columns = (which == number).nonzero()[:, 0]
        parts.append((out - above.mean) @ above.to[:, columns] @ above.back[columns])
    return above.mean + torch.stack(parts).sum(0)


def edges_required(
    stage: Stage,
    rest: Stage,
    f: Tensor,
    pair: tuple[Basis, Basis],
    edges: Tensor,
    score: Score,
    target: float,
) -> int | None:
    """The least number of the greatest edges [above, below] of one layer with which the score
    reaches the target, by bisection: it takes the score to rise with their number. None where all
    together do not reach it. `rest`: from the next layer to the output."""
    order = edges.flatten().argsort(descending=True, stable=True)

    def reaches(k: int) -> bool:
        kept = torch.zeros(edges.numel(), dtype=torch.bool, device=edges.device)
        kept[order[:k]] = True
        out = masked(stage, f, *pair, kept.view_as(edges))
        return score(rest(out, slice(0, len(f)))) >= target

    low, high = -1, edges.numel()
    if not reaches(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return high
