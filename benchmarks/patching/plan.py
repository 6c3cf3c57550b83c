"""The least that a sweep multiplies: what is left of a forward once it starts at the patched layer
and position, and which matrix products that is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from job import Cell, Job

TOKENS = 16_384
"""Rows × positions of a batch."""


@dataclass(frozen=True)
class Group:
    """Cells, by number, that start at the same layer and position. `is_wide`: they patch every
    position, not only the first."""

    layer: int
    position: int
    is_wide: bool
    cells: tuple[int, ...]
    length: int
    """Positions left."""


@dataclass(frozen=True)
class Product:
    """[rows, inner] @ [inner, outer]."""

    name: str
    rows: int
    inner: int
    outer: int

    @property
    def flops(self) -> int:
        return 2 * self.rows * self.inner * self.outer


def groups(cells: Sequence[Cell], job: Job) -> list[Group]:
    """The cells that can change the last position's logits."""
    shape = job.shape

    def key(number: int) -> tuple[int, int]:
        cell = cells[number]
        return cell.layer, -1 if cell.position is None else cell.position

    living = [i for i, cell in enumerate(cells) if not _is_lost(cell, job)]
    return [
        Group(layer, max(at, 0), at < 0, tuple(members), shape.context - max(at, 0))
        for (layer, at), members in groupby(sorted(living, key=key), key)
    ]


def _is_lost(cell: Cell, job: Job) -> bool:
    """A head of the last layer reaches the logits of its own position only."""
    is_last = cell.layer == job.shape.layers - 1
    return is_last and job.kind == "z" and cell.position not in (None, job.shape.context - 1)


def products(job: Job) -> Iterator[Product]:
    """Every product of weights that the sweep needs when batches start at a group's layer and
    position: the patched layer from z on where z is patched, whole layers, the last layer's keys
    and values, and the rest of it for the position that is read. In order, batch by batch."""
    for group in groups(job.cells, job):
        total = len(group.cells) * job.shape.batch
        size = max(1, TOKENS // group.length)
        for start in range(0, total, size):
            yield from _late_pass(group, min(size, total - start), job)


def _late_pass(group: Group, examples: int, job: Job) -> Iterator[Product]:
    d, last = job.shape.width, job.shape.layers - 1
    rows = examples * group.length
    for layer in range(group.layer, last + 1):
        starts_at_z = layer == group.layer and job.kind == "z"
        ending = examples if layer == last else rows
        if not starts_at_z and layer == last:
            yield Product("kv", rows, d, 2 * d)
            yield Product("q", examples, d, d)
        elif not starts_at_z:
            yield Product("qkv", rows, d, 3 * d)
        yield Product("out", ending, d, d)
        yield Product("mlp in", ending, d, 4 * d)
        yield Product("mlp out", ending, 4 * d, d)
    yield Product("unembed", examples, d, job.shape.vocab)


def least_flops(job: Job) -> int:
    """What the mathematics alone needs: products of rows that a patch changes, for the two logits
    that are compared."""
    return sum(_least_of(cell, job) for cell in job.cells if not _is_lost(cell, job))


def _least_of(cell: Cell, job: Job) -> int:
    """Twelve d² multiplications a row and layer: q, k, v, out 1 each, the MLP 8."""
    s = job.shape
    d, last = s.width, s.layers - 1
    after = s.context - (cell.position or 0)
    at_last = cell.position in (None, s.context - 1)
    changed = after if cell.position is None else 1
    units = 0.0
    layer = cell.layer
    if job.kind == "z":
        ending = 1 if layer == last else changed
        units += ending * (1 / s.heads + 8)
        layer += 1
    for number in range(layer, last + 1):
        if number == last:
            units += 2 * changed + (1 if at_last or changed > 1 else 0) + 9
        else:
            units += 3 * changed + 9 * after
        changed = after
    return int(2 * s.batch * (units * d * d + 2 * d))
