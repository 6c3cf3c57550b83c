"""The matrix products of a sweep: those of the program's own plan, batch by batch, and the least
that the mathematics needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from job import Cell, Job

import interp_dsl
from interp_dsl.plan.cost import late_stretches
from interp_dsl.plan.estimates import estimates
from interp_dsl.plan.sizes import sizes, units_of
from interp_dsl.plan.starts import start
from interp_dsl.plan.tasks import ModelSize, Plan, Sweep
from interp_dsl.plan.work import Work, layers, read_by


@dataclass(frozen=True)
class Product:
    """[rows, inner] @ [inner, outer], of so many matrices: one, a weight's, but in attention."""

    name: str
    rows: int
    inner: int
    outer: int
    matrices: int = 1

    @property
    def flops(self) -> int:
        return 2 * self.matrices * self.rows * self.inner * self.outer

    @property
    def largest(self) -> int:
        """Entries of its largest operand or result."""
        sides = self.rows * self.inner, self.inner * self.outer, self.rows * self.outer
        return self.matrices * max(sides)


@cache
def planned(folder: str) -> Plan:
    """The plan of the program in a job's folder."""
    return interp_dsl.plan(Path(folder) / "race.interp")


def planned_bytes(job: Job) -> int:
    """What the plan says is held at most, besides the weights."""
    total = estimates(planned(job.folder)).total
    return (total.bytes or 0) + (total.peak or 0)


def products(job: Job, narrow: bool = True) -> Iterator[Product]:
    """Every product that the plan's batches of the sweep make, without units that cannot
    have an effect, in order. Without `narrow`, of what is left after trimming: every position from
    the first changed one on, the first layer's W_O whole."""
    plan = planned(job.folder)
    task = next(t for t in plan.tasks if isinstance(t, Sweep))
    task = task if narrow else replace(task, narrow=False, adds=False)
    known = sizes(plan)
    found = known.of(task.variants[0].into)
    units = units_of(task, known)
    assert found is not None and units is not None
    model, data = found
    read = read_by(task, data)
    alive = [u for u, cell in zip(units, job.cells, strict=True) if not _is_lost(cell, job)]
    starts = [start(unit, task.intervention) for unit in alive]
    for stretch in late_stretches(task, starts, model, data, read):
        for work in layers(model, data.width, read, stretch.start, trims=True):
            yield from of_layer(work.times(stretch.rows), model)
            yield from of_attention(work, stretch.rows, model, data.width)
        assert read.count is not None
        outputs = read.logits(model, data.width) // read.count
        yield Product("unembed", stretch.rows * read.count, model.d_model, outputs)


def of_layer(work: Work, model: ModelSize) -> Iterator[Product]:
    d, heads, kv = model.d_model, model.n_heads * model.d_head, model.n_kv_heads * model.d_head
    if work.q == work.kv:
        parts = [Product("qkv", work.q, d, heads + 2 * kv)]
    else:
        parts = [Product("kv", work.kv, d, 2 * kv), Product("q", work.q, d, heads)]
    parts += [Product("out", work.out, heads, d)]
    parts += [
        Product("mlp in", work.mlp, d, model.d_mlp),
        Product("mlp out", work.mlp, model.d_mlp, d),
    ]
    yield from (part for part in parts if part.rows)


def of_attention(work: Work, rows: int, model: ModelSize, width: int) -> Iterator[Product]:
    """`rows` rows of `work`: each head's queries by `width` keys, and its pattern by the values."""
    if queries := work.pairs // width:
        heads = rows * model.n_heads
        yield Product("scores", queries, model.d_head, width, heads)
        yield Product("mixing", queries, width, model.d_head, heads)


def _is_lost(cell: Cell, job: Job) -> bool:
    """A head of the last layer reaches the logits of its own position only."""
    is_last = cell.layer == job.shape.layers - 1
    return is_last and job.kind == "z" and cell.position not in (None, job.shape.context - 1)


def whole_flops(job: Job) -> int:
    """The products of plain forwards with the logits of one position, one a cell."""
    s = job.shape
    layer = 12 * s.width**2 * s.context
    return 2 * len(job.cells) * s.batch * (s.layers * layer + s.width * s.vocab)
