"""Sweeps over edges: one unit's edges out at a time, many units and examples in one pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from interp_dsl.circuits.forward import Change, EdgeForward
from interp_dsl.circuits.held import HeldNorms
from interp_dsl.circuits.travel import Traveller
from interp_dsl.data.positions import check_aligned
from interp_dsl.engine.batches import in_batches
from interp_dsl.engine.edge_places import where
from interp_dsl.engine.edges import EdgeBench
from interp_dsl.engine.scores import Scored, check_finite, column_kinds, score_units
from interp_dsl.engine.state import State, token_text
from interp_dsl.engine.sweep import Shard, plain_values
from interp_dsl.engine.vectors import basis
from interp_dsl.models.edits import moved
from interp_dsl.models.graph import Graph
from interp_dsl.models.precision import float32_products
from interp_dsl.models.routes import Route, Routes
from interp_dsl.plan.algebra import FromRun, Run, Travel
from interp_dsl.plan.places import ALL, Positions, Unit
from interp_dsl.plan.starts import edge_layer, fitting
from interp_dsl.plan.tasks import Sweep


class Changes:
    """What units change: of every unit the edges `last` [units, E] by which its effect enters the
    run, by the positions at which they do, and the `groups` of receivers that they lead to; the
    edges `along` [units, E] which it travels before, None where no unit's does, from `origins`
    [units, S]."""

    def __init__(self, routes: Sequence[Route], graph: Graph, device: torch.device) -> None:
        def marked(size: int, chosen: Sequence[Sequence[int]]) -> Tensor:
            found = torch.zeros(len(routes), size, dtype=torch.bool)
            for row, numbers in zip(found, chosen, strict=True):
                row[list(numbers)] = True
            return moved(found, device)

        every = dict.fromkeys(at for route in routes for at in route.last)
        self.last = {
            at: marked(graph.n_edges, [r.last.get(at, ()) for r in routes]) for at in every
        }
        entered = torch.stack([held.any(0) for held in self.last.values()]).any(0)
        self.groups = [group for group in graph.groups if bool(entered[group.edges].any())]
        travels = any(route.along for route in routes)
        self.along = marked(graph.n_edges, [r.along for r in routes]) if travels else None
        self.origins = marked(len(graph.senders), [r.origins for r in routes])


class EdgeSweeper:
    """Runs the shards of one sweep over edges. The rows of a batch are examples, and of each the
    units; every row has its own edges out."""

    def __init__(self, task: Sweep, state: State, note: Callable[[str], None]) -> None:
        assert task.edges is not None
        self.task, self.state, self.note = task, state, note
        self.kinds = column_kinds(task.variants)
        self._benches: dict[Run, EdgeBench] = {}
        bench = self._bench(task.variants[0].into)
        executor, self.graph, travel = bench.executor, bench.graph, task.travel or Travel()
        self.routes = Routes(self.graph, executor.facts.name, travel.through)
        self.norms = HeldNorms(executor.model) if "norms" in travel.freeze else None
        span = basis(task.intervention.along, state)
        self.basis = None if span is None else span.to(executor.device, executor.dtype)
        self.holds_patterns = "patterns" in travel.freeze

    def prepare(self, found: Sequence[Shard]) -> None:
        """Raise what is wrong with the edges and their positions: E201, E410 to E414, E657."""
        source = self.task.intervention.source
        units = [unit for shard in found for unit in shard.units]
        for unit in dict.fromkeys(units):
            self.routes.of(unit)
        for run in {shard.variant.into: None for shard in found}:
            side = self.state.side(run)
            other = self.state.side(source.run) if isinstance(source, FromRun) else side
            describe = token_text(self._bench(run).executor.facts)
            for positions in {t.positions: None for unit in units for t in unit.targets}:
                check_aligned(positions, other, side, describe)

    def run(self, shard: Shard) -> Scored:
        """The scores of a shard's units."""
        metrics, variant = self.task.metrics, shard.variant
        bench = self._bench(variant.into)
        with float32_products(bench.executor.tf32), torch.no_grad():
            values = self._values(bench, shard.units)
        check_finite(values, metrics, shard.units, f"step {self.task.step}", self.task.place)
        base = plain_values(variant.into, metrics, self.state)
        other = None if variant.other is None else plain_values(variant.other, metrics, self.state)
        return score_units(
            shard.units, metrics, values, base, other, variant, self.kinds, self.state.seed
        )

    def _bench(self, run: Run) -> EdgeBench:
        if run not in self._benches:
            source, edges, metrics = (
                self.task.intervention.source,
                self.task.edges,
                self.task.metrics,
            )
            assert edges is not None
            about = (run, source, edges, False, metrics, self.state, self.note)
            self._benches[run] = EdgeBench(*about, reads_answers=self.task.reads_answers)
        return self._benches[run]

    def _values(self, bench: EdgeBench, units: Sequence[Unit]) -> Tensor:
        """The metrics [metrics, units, n] with each unit's edges out."""
        device = bench.tokens.device
        values = torch.empty(len(self.task.metrics), len(units), bench.n, device=device)
        n_layers, late = self.graph.shape.n_layers, self.task.late
        layers = [edge_layer(unit, n_layers) if late else 0 for unit in units]
        for layer in sorted(set(layers)):
            members = [i for i, at in enumerate(layers) if at == layer]
            found = self._from(bench, layer, [units[i] for i in members])
            values[:, moved(torch.tensor(members), device)] = found
        return values

    def _from(self, bench: EdgeBench, layer: int, units: Sequence[Unit]) -> Tensor:
        """The metrics [metrics, units, n] of units whose edges enter no layer before this one, in
        passes that are taken up there."""
        count, device = len(units), bench.tokens.device
        changes = Changes([self.routes.of(unit) for unit in units], self.graph, device)
        values = torch.empty(len(self.task.metrics), bench.n * count, device=device)

        def work(start: int, stop: int) -> None:
            rows = torch.arange(start, stop, device=device)
            examples, chosen = rows // count, rows % count
            some = slice(start // count, (stop - 1) // count + 1)
            logits = self._logits(bench, layer, changes, chosen, examples, some)
            values[:, start:stop] = bench.values(logits, examples)

        in_batches(values.shape[1], self._rows(bench), work, self.note)
        return values.view(len(values), bench.n, count).transpose(1, 2)

    def _logits(
        self,
        bench: EdgeBench,
        layer: int,
        changes: Changes,
        chosen: Tensor,
        examples: Tensor,
        some: slice,
    ) -> Tensor:
        """The logits of rows, each of one of the units and one of the examples `some`."""
        forward, run, device = self._forward(bench), bench.run, bench.tokens.device
        numbers, within = torch.arange(some.start, some.stop, device=device), examples - some.start
        if self.norms:
            self.norms.watch()
        base = forward.run(
            forward.embedded(bench.tokens[some]),
            reads=_of(bench.reads, some),
            mask=_of(bench.mask, some),
            edits=bench.edits(run, numbers, bench.width),
        )
        if self.norms:
            self.norms.hold(within)
        assert base.outputs is not None
        mask, edits = _of(bench.mask, examples), bench.edits(run, examples, bench.width)
        ablated, origins = bench.ablated(numbers), changes.origins[chosen]
        written = ablated[:, within] if ablated.shape[1] > 1 else ablated
        if changes.along is not None:
            written = Traveller(
                forward,
                base,
                within,
                changes.along[chosen],
                origins,
                written,
                mask,
                self.holds_patterns,
                self.basis,
                edits,
            ).written()
        change = Change(
            self._kept(bench, changes.last, chosen, examples),
            written,
            changes.groups,
            [x[within] for x in base.streams] if self.holds_patterns else None,
            self.basis,
            origins,
        )
        before = base.outputs[: self.graph.heads(layer).start, within]
        x, reads = base.streams[layer][within], _of(bench.reads, examples)
        return forward.resumed(layer, x, before, change, reads, mask, edits)

    def _forward(self, bench: EdgeBench) -> EdgeForward:
        if self.norms is None:
            return bench.forward
        return EdgeForward(self.norms, self.graph, bench.executor.tf32, bench.forward.tokens)

    def _rows(self, bench: EdgeBench) -> int:
        packing = self.task.packing
        if packing is None:
            return bench.rows
        return fitting(packing.tokens, packing.rows, bench.width, 0)

    def _kept(
        self,
        bench: EdgeBench,
        out: Mapping[Positions, Tensor],
        chosen: Tensor,
        examples: Tensor,
    ) -> Tensor:
        """The edges that each row keeps [R, E], or [R, E, T] where positions tell them apart."""
        if set(out) == {ALL}:
            return ~out[ALL][chosen]
        tokens = {at: where(at, bench.run, bench.width, self.state)[examples] for at in out}
        parts = [out[at][chosen][:, :, None] & tokens[at][:, None] for at in out]
        return ~torch.stack(parts).any(0)


def _of(x: Tensor | None, rows: slice | Tensor) -> Tensor | None:
    return None if x is None else x[rows]
