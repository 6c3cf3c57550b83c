"""Sweeps: one unit changed at a time, many of them packed into one batch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from interp_dsl.engine.batches import default_rows, in_batches
from interp_dsl.engine.edits import Editor
from interp_dsl.engine.forwards import Bench
from interp_dsl.engine.idle import Idle
from interp_dsl.engine.late import entries
from interp_dsl.engine.packed import Packed
from interp_dsl.engine.paths import Paths
from interp_dsl.engine.scores import Scored, check_finite, column_kinds, score_units
from interp_dsl.engine.state import State
from interp_dsl.models.edits import moved
from interp_dsl.plan.algebra import Metric, Run
from interp_dsl.plan.places import Unit
from interp_dsl.plan.starts import (
    BEGINNING,
    WHOLE,
    Late,
    Start,
    common,
    edge_layer,
    fitting,
    ordered,
    together,
)
from interp_dsl.plan.tasks import Sweep, Variant


@dataclass(frozen=True)
class Shard:
    """Some units of one variant: what is done at once and kept as one part. `places` are their
    places in the variant's list of units."""

    number: int
    variant: Variant
    places: tuple[int, ...]
    units: tuple[Unit, ...]


def shards(task: Sweep, state: State) -> list[Shard]:
    """The shards of a sweep: of each variant the units that start together, in turn."""
    found: list[Shard] = []
    for variant in task.variants:
        change, run = task.intervention, variant.into
        units = state.units(change.units, run)
        order = list(range(len(units)))
        if task.late and task.edges is not None:
            n_layers = state.executor(run).facts.shape.n_layers
            order.sort(key=[edge_layer(unit, n_layers) for unit in units].__getitem__)
        elif task.late:
            order = ordered(entries(units, change, run, state))
        size = task.packing.shard if task.packing else max(1, len(units))
        for start in range(0, len(units), size):
            places = tuple(order[start : start + size])
            found.append(Shard(len(found), variant, places, tuple(units[i] for i in places)))
    return found


def table_order(found: Sequence[Shard], metrics: int) -> list[int]:
    """The rows of all shards, a row a unit and metric, in the order of the table: variant after
    variant, unit after unit."""
    first, offsets = 0, {}
    for variant in dict.fromkeys(shard.variant for shard in found):
        offsets[variant] = first
        first += sum(len(s.units) for s in found if s.variant == variant)
    places = [offsets[s.variant] + place for s in found for place in s.places]
    rows = sorted(range(len(places)), key=places.__getitem__)
    return [row * metrics + m for row in rows for m in range(metrics)]


class Sweeper:
    """Runs the shards of one sweep; what a variant needs is made ready once."""

    def __init__(self, task: Sweep, state: State, note: Callable[[str], None]) -> None:
        self.task, self.state, self.note = task, state, note
        self.kinds = column_kinds(task.variants)
        self.packing = task.packing
        self._ready: dict[Run, tuple[Bench, Editor]] = {}
        self._idle: dict[Run, set[Unit]] = defaultdict(set)

    def prepare(self, found: Sequence[Shard]) -> None:
        """Make ready what the shards need, and raise what is wrong with their positions."""
        for shard in found:
            bench, editor = self.bench(shard.variant)
            editor.check(shard.units)
            if self.task.skips:
                idle = Idle(self.task.intervention, bench.run, bench.reads, self.state)
                without = list(filter(idle, shard.units))
                editor.check_means(without)
                self._idle[bench.run].update(without)
        if skipped := sum(map(len, self._idle.values())):
            total = sum(len(shard.units) for shard in found)
            self.note(
                f"{self.task.step}: {skipped:,} of {total:,} units cannot have an effect: "
                "reported as 0, not run"
            )

    def run(self, shard: Shard) -> Scored:
        """The scores of a shard's units."""
        bench, editor = self.bench(shard.variant)
        values = self._values(bench, editor, shard.units)
        metrics, variant = self.task.metrics, shard.variant
        check_finite(values, metrics, shard.units, f"step {self.task.step}", self.task.place)
        base = plain_values(variant.into, metrics, self.state)
        other = None if variant.other is None else plain_values(variant.other, metrics, self.state)
        skipped = self._idle[variant.into]
        return score_units(
            shard.units, metrics, values, base, other, variant, self.kinds, self.state.seed, skipped
        )

    def check(self, variant: Variant, units: Sequence[Unit]) -> None:
        """Raise InterpError for units that cannot be changed in a variant (see Editor.check)."""
        self.bench(variant)[1].check(units)

    def values(self, variant: Variant, units: Sequence[Unit]) -> Tensor:
        """The metrics [metrics, units, n] under each unit's change, checked beforehand."""
        bench, editor = self.bench(variant)
        return self._values(bench, editor, units)

    def measured(
        self, variant: Variant, points: Sequence[Unit], shares: Mapping[Unit, Tensor]
    ) -> Tensor:
        """The metrics [metrics, points, n] at points of each example's own: `shares` [n] of the
        way."""
        bench, editor = self.bench(variant)
        paths = self.paths_of(variant)
        paths.shares = dict(shares)
        values = self._values(bench, editor, points)
        paths.shares = {}
        check_finite(values, self.task.metrics, points, f"step {self.task.step}", self.task.place)
        return values

    def paths_of(self, variant: Variant) -> Paths:
        """The paths that a variant's points lie on."""
        _, editor = self.bench(variant)
        assert isinstance(editor.values, Paths)
        return editor.values

    def bench(self, variant: Variant) -> tuple[Bench, Editor]:
        """What runs a variant, and what changes it."""
        run = variant.into
        if run not in self._ready:
            reference = self.state.kept(self.task.reference_of(run)).logits
            self._ready[run] = (
                Bench(
                    run,
                    self.task.metrics,
                    reference,
                    self.state,
                    reads_few=self.task.reads_few,
                    reads_answers=self.task.reads_answers,
                ),
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
            members = torch.tensor([i for i, _ in group])
            chosen = [units[i] for i, _ in group]
            found = self._group(bench, editor, chosen, [start for _, start in group], n)
            values[:, moved(members, bench.device)] = found
        return values

    def _groups(self, bench: Bench, units: Sequence[Unit]) -> list[list[tuple[int, Start]]]:
        """The units that may have an effect, by number, with where each begins: those that are run
        together. All at once where passes start at the beginning."""
        change, state = self.task.intervention, self.state
        idle = self._idle[bench.run]
        acting = [i for i, unit in enumerate(units) if unit not in idle]
        if not (self.task.late and bench.can_resume):
            return [[(i, BEGINNING) for i in acting]] if acting else []
        starts = entries([units[i] for i in acting], change, bench.run, state)
        n, least = state.data[bench.run.data].n, (self.packing or WHOLE).least
        return [
            [(acting[i], starts[i]) for i in members]
            for members in together(starts, n, bench.width, least)
        ]

    def _group(
        self,
        bench: Bench,
        editor: Editor,
        units: Sequence[Unit],
        starts: Sequence[Start],
        n: int,
    ) -> Tensor:
        """The metrics [metrics, units, n] of one group. Rows run over the units and, for each, over
        the examples; a batch is any stretch of them."""
        values = torch.empty(len(self.task.metrics), len(units) * n, device=bench.device)
        late = Late(self.task.trims, self.task.narrow, self.task.adds)

        def taken_up(members: Sequence[Start], first_read: int | None) -> Start | None:
            if not (self.task.late and bench.can_resume):
                return None
            return common(members, late, bench.width, first_read)

        def work(start: int, stop: int) -> None:
            batch = Packed.stretch(units, n, start, stop)
            members = starts[start // n : (stop - 1) // n + 1]
            values[:, start:stop] = bench.measure(
                batch.examples, editor, batch, lambda first: taken_up(members, first)
            )

        first = taken_up(starts, bench.first_read("plain"))
        position = first.position if first else 0
        size = self._rows(bench.width, position)
        done = in_batches(values.shape[1], size, work, self.note)
        if done < size and self.packing:
            tokens = done * (bench.width - position)
            self.packing = replace(self.packing, rows=done, tokens=tokens)
        return values.view(len(values), len(units), n)

    def _rows(self, width: int, position: int) -> int:
        if self.packing is None:
            return default_rows(width)
        return fitting(self.packing.tokens, self.packing.rows, width, position)


def plain_values(run: Run, metrics: Sequence[Metric], state: State) -> Tensor:
    """The metrics [metrics, n] of a run as an earlier forward measured it."""
    held = state.kept(run).values
    missing = [m.name for m in metrics if m.term not in held]
    assert not missing, f"the plan has no forward that measures {missing} of {run.side}"
    return torch.stack([held[m.term] for m in metrics])
