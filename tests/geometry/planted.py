"""Networks whose modules are known: two blocks that never meet, hidden by rotations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from interp_dsl.geometry.interaction_basis import Stage


def rotation(d: int, generator: torch.Generator) -> Tensor:
    return torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64))[0]


def two_blocks(
    act: Callable[[Tensor], Tensor], seed: int = 0, layers: int = 3, width: int = 4
) -> tuple[list[Stage], list[Tensor]]:
    """A chain x_(l+1) = Q_(l+1) act(W Q_l' x_l + b), W of two blocks of `width`, Q random
    rotations; and its activations on all pairs of 40 inputs of one block and 40 of the other, so
    that the blocks are exactly uncorrelated. Biases lift the neurons, so that no block is dead."""
    stages, held, _ = hidden_blocks([act] * layers, seed, width)
    return stages, held


def hidden_blocks(
    acts: Sequence[Callable[[Tensor], Tensor]], seed: int, width: int = 4, lift: float = 0.5
) -> tuple[list[Stage], list[Tensor], list[Tensor]]:
    """The chain of `two_blocks`, of any activations and a mean bias of `lift`; with its rotations,
    by which its neurons are found again."""
    layers, generator = len(acts), torch.Generator().manual_seed(seed)
    one, other = (
        torch.randn(40, width, generator=generator, dtype=torch.float64) for _ in range(2)
    )
    grid = torch.cat([one.repeat_interleave(40, 0), other.repeat(40, 1)], 1)
    turns = [rotation(2 * width, generator) for _ in range(layers + 1)]
    stages = [
        _stage(act, turns[at], turns[at + 1], generator, width, lift) for at, act in enumerate(acts)
    ]
    held = [(grid @ turns[0].T)[:, None]]
    for stage in stages:
        held.append(stage(held[-1], slice(0, len(grid))))
    return stages, held, turns


def _stage(
    act: Callable[[Tensor], Tensor],
    below: Tensor,
    above: Tensor,
    generator: torch.Generator,
    width: int,
    lift: float,
) -> Stage:
    parts = [torch.randn(width, width, generator=generator, dtype=torch.float64) for _ in "ab"]
    weight = torch.block_diag(*parts)
    bias = lift + 0.3 * torch.randn(2 * width, generator=generator, dtype=torch.float64)
    return lambda f, rows: act(f @ below @ weight.T + bias) @ above.T
