"""Tensors stacked row by row, and rows picked from them."""

from __future__ import annotations

import torch
from torch import Tensor

from interp_dsl.models.graph import Ints


class Rows:
    """Tensors stacked as they come, along their first axis of `size`: in one buffer made at once,
    but for gradients, which do not survive writing over what they need."""

    def __init__(self, size: int) -> None:
        self.size, self.count = size, 0
        self._parts: list[Tensor] = []
        self._buffer: Tensor | None = None

    def add(self, rows: Tensor) -> None:
        if torch.is_grad_enabled():
            self._parts.append(rows)
        else:
            if self._buffer is None:
                self._buffer = rows.new_empty(self.size, *rows.shape[1:])
            self._buffer[self.count : self.count + len(rows)] = rows
        self.count += len(rows)

    def first(self, n: int) -> Tensor:
        """The first n rows; more may have been added since."""
        stacked = torch.cat(self._parts) if self._buffer is None else self._buffer
        return stacked[:n]


def picked(x: Tensor, rows: Ints) -> Tensor:
    """x[rows], a view where all are the same row or each follows the one before."""
    numbers = rows.tolist()
    if len(numbers) > 1 and numbers.count(numbers[0]) == len(numbers):
        return x[numbers[0]].expand(len(numbers), *x.shape[1:])
    at = index(rows, x.device)
    return x[at] if isinstance(at, slice) else x.index_select(0, at)


def index(rows: Ints, device: torch.device) -> slice | Tensor:
    """Row numbers as what indexes a tensor: a slice where each follows the one before."""
    numbers = rows.tolist()
    if numbers and numbers == list(range(numbers[0], numbers[0] + len(numbers))):
        return slice(numbers[0], numbers[-1] + 1)
    return torch.from_numpy(rows).to(device)
