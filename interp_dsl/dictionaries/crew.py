"""Several processes that train one dictionary, each on its part of every batch, as one would on the
whole: what is summed, compared or chosen over a batch is so over all parts."""

from __future__ import annotations

from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor


class Crew(Protocol):
    @property
    def size(self) -> int:
        """How many processes there are; their parts are of equal sizes."""
        ...

    def total(self, x: Tensor) -> Tensor:
        """The sum of x over all; x may be overwritten."""
        ...

    def least(self, x: Tensor) -> Tensor:
        """The smallest of each element; x may be overwritten."""
        ...

    def every(self, x: Tensor) -> Tensor:
        """The elements of all, of each x [n] with an n of its own."""
        ...


class Alone:
    """One process."""

    size = 1

    def total(self, x: Tensor) -> Tensor:
        return x

    def least(self, x: Tensor) -> Tensor:
        return x

    def every(self, x: Tensor) -> Tensor:
        return x


ALONE = Alone()


class Together:
    """The processes of torch.distributed's group."""

    @property
    def size(self) -> int:
        return dist.get_world_size()

    def total(self, x: Tensor) -> Tensor:
        dist.all_reduce(x)
        return x

    def least(self, x: Tensor) -> Tensor:
        dist.all_reduce(x, dist.ReduceOp.MIN)
        return x

    def every(self, x: Tensor) -> Tensor:
        lengths = [torch.zeros((), dtype=torch.int64, device=x.device) for _ in range(self.size)]
        dist.all_gather(lengths, torch.tensor(len(x), device=x.device))
        counts = [int(n) for n in lengths]
        padded = x.new_empty(max(counts))
        padded[: len(x)] = x
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded)
        return torch.cat([part[:n] for part, n in zip(parts, counts, strict=True)])
