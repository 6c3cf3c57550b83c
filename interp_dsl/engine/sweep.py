"""Sweeps: one unit changed at a time, many of them packed into one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from interp_dsl.engine.batches import default_rows, in_batches
from interp_dsl.engine.edits import Block, Editor
from interp_dsl.engine.forwards import Bench
from interp_dsl.engine.idle import Idle
from interp_dsl.engine.late import Entry, batches, earliest, entry
from interp_dsl.engine.scores import Scored, check_finite, column_kinds, score_units
from interp_dsl.engine.state import State
from interp_dsl.plan.algebra import Metric, Run
from interp_dsl.plan.places import Unit
from interp_dsl.plan.starts import LEAST_TOKENS
from interp_dsl.plan.tasks import Sweep, Variant


@dataclass(frozen=True)
class Shard:
    """Some units of one variant: what is done at once and kept as one part."""

    number: int
    variant: Variant
    units: tuple[Unit, ...]


def shards(task: Sweep, state: State) -> list[Shard]:
    """The shards of a sweep, in the order of its table."""
    found: list[Shard] = []
    for variant in task.variants:
        units = state.units(task.intervention.units, variant.into)
        size = task.shard or max(1, len(units))
        for start in range(0, len(units), size):
            found.append(Shard(len(found), variant, units[start : start + size]))
    return found


class Sweeper:
    """Runs the shards of one sweep; what a variant needs is made ready once."""

    def __init__(self, task: Sweep, state: State, note: Callable[[str], None]) -> None:
        self.task, self.state, self.note = task, state, note
        self.kinds = column_kinds(task.variants)
        self.rows = task.rows
        self._ready: dict[Run, tuple[Bench, Editor]] = {}
        self._idle: set[tuple[Run, Unit]] = set()

    def prepare(self, found: Sequence[Shard]) -> None:
        """Make ready what the shards need, and raise what is wrong with their positions."""
        for shard in found:
            bench, editor = self._bench(shard.variant)
            editor.check(shard.units)
            if self.task.skips:
                idle = Idle(self.task.intervention, bench.run, bench.reads, self.state)
                self._idle |= {(bench.run, u) for u in shard.units if idle(u)}
        if self._idle:
            total = sum(len(shard.units) for shard in found)
            self.note(
                f"{self.task.step}: {len(self._idle):,} of {total:,} units cannot have an effect: "
                "reported as 0, not run"
            )

    def run(self, shard: Shard) -> Scored:
        """The scores of a shard's units."""
        bench, editor = self._bench(shard.variant)
        values = self._values(bench, editor, shard.units)
        metrics, variant = self.task.metrics, shard.variant
        check_finite(values, metrics, shard.units, f"step {self.task.step}", self.task.place)
        base = plain_values(variant.into, metrics, self.state)
        other = None if variant.other is None else plain_values(variant.other, metrics, self.state)
        return score_units(
            shard.units, metrics, values, base, other, variant, self.kinds, self.state.seed
        )

    def _bench(self, variant: Variant) -> tuple[Bench, Editor]:
        run = variant.into
        if run not in self._ready:
            reference = self.state.kept(self.task.reference).logits
            self._ready[run] = (
                Bench(run, self.task.metrics, reference, self.state),
                Editor(self.task.intervention, run, self.state),
            )
        return self._ready[run]

    def _values(self, bench: Bench, editor: Editor, units: Sequence[Unit]) -> Tensor:
        """The metrics [metrics, units, n] under each unit's change, group by group. Units that
        cannot have an effect keep the base values."""
        n = self.state.data[bench.run.data].n
        base = plain_values(bench.run, self.task.metrics, self.state)
        values = base[:, None].repeat(1, len(units), 1)
        for group in self._groups(bench, units):
            members = torch.tensor([i for i, _ in group], device=bench.device)
            chosen = [units[i] for i, _ in group]
            starts = [e for _, e in group]
            values[:, members] = self._group(bench, editor, chosen, starts, n)
        return values

    def _groups(self, bench: Bench, units: Sequence[Unit]) -> list[list[tuple[int, Entry | None]]]:
        """The units that may have an effect, by number, with where each begins: those that are run
        together. All at once where passes start at the beginning."""
        change, state = self.task.intervention, self.state
        acting = [i for i, u in enumerate(units) if (bench.run, u) not in self._idle]
        if not (self.task.late and bench.can_resume):
            return [[(i, None) for i in acting]] if acting else []
        entries = [entry(units[i], change, bench.run, state) for i in acting]
        n, least = state.data[bench.run.data].n, LEAST_TOKENS[bench.device.type]
        return [
            [(acting[i], entries[i]) for i in members]
            for members in batches(entries, n, bench.width, least)
        ]

    def _group(
        self,
        bench: Bench,
        editor: Editor,
        units: Sequence[Unit],
        starts: Sequence[Entry | None],
        n: int,
    ) -> Tensor:
        """The metrics [metrics, units, n] of one group. Rows run over the units and, for each, over
        the examples; a batch is any stretch of them."""
        values = torch.empty(len(self.task.metrics), len(units) * n, device=bench.device)

        def work(start: int, stop: int) -> None:
            blocks = list(_blocks(units, n, start, stop, bench.device))
            examples = torch.cat([b.examples for b in blocks])
            first = earliest(starts[start // n : (stop - 1) // n + 1])
            values[:, start:stop] = bench.measure(examples, editor, blocks, first)

        size = self.rows or default_rows(bench.width)
        self.rows = in_batches(values.shape[1], size, work, self.note)
        return values.view(len(values), len(units), n)


def _blocks(
    units: Sequence[Unit], n: int, start: int, stop: int, device: torch.device
) -> Iterator[Block]:
    """The units whose rows lie in start to stop, each with its examples there."""
    for u in range(start // n, (stop - 1) // n + 1):
        first, last = max(start, u * n), min(stop, (u + 1) * n)
        yield Block(
            units[u], first - start, torch.arange(first - u * n, last - u * n, device=device)
        )


def plain_values(run: Run, metrics: Sequence[Metric], state: State) -> Tensor:
    """The metrics [metrics, n] of a run as an earlier forward measured it."""
    held = state.kept(run).values
    missing = [m.name for m in metrics if m.term not in held]
    assert not missing, f"the plan has no forward that measures {missing} of {run.side}"
    return torch.stack([held[m.term] for m in metrics])
