"""Sweeps over edges: one unit's edges out at a time, many units and examples in one pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor

from interp_dsl.data.positions import check_aligned
from interp_dsl.engine.batches import in_batches
from interp_dsl.engine.edges import EdgeBench
from interp_dsl.engine.scores import Scored, check_finite, score_units
from interp_dsl.engine.state import State, token_text
from interp_dsl.engine.sweep import Shard, plain_values
from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.models.edits import moved
from interp_dsl.models.precision import float32_products
from interp_dsl.plan.algebra import FromRun
from interp_dsl.plan.places import ALL, Positions, Target, Unit
from interp_dsl.plan.starts import edge_layer, fitting
from interp_dsl.plan.tasks import Sweep


class EdgeSweeper:
    """Runs the shards of one sweep over edges. The rows of a batch are examples, and of each the
    units; every row has its own edges out."""

    def __init__(self, task: Sweep, state: State, note: Callable[[str], None]) -> None:
        assert task.edges is not None and len(task.variants) == 1
        self.task, self.state, self.note = task, state, note
        source, metrics = task.intervention.source, task.metrics
        self.run_of = task.variants[0].into
        self.bench = EdgeBench(self.run_of, source, task.edges, False, metrics, state, note)

    def prepare(self, found: Sequence[Shard]) -> None:
        """Raise what is wrong with the edges and their positions: E201, E410 to E414."""
        side = self.state.side(self.run_of)
        source = self.task.intervention.source
        other = self.state.side(source.run) if isinstance(source, FromRun) else side
        describe = token_text(self.bench.executor.facts)
        targets = dict.fromkeys(t for shard in found for u in shard.units for t in u.targets)
        for target in targets:
            self._edges(target)
        for positions in {t.positions: None for t in targets}:
            check_aligned(positions, other, side, describe)

    def run(self, shard: Shard) -> Scored:
        """The scores of a shard's units."""
        metrics, variant = self.task.metrics, shard.variant
        with float32_products(self.bench.executor.tf32), torch.no_grad():
            values = self._values(shard.units)
        check_finite(values, metrics, shard.units, f"step {self.task.step}", self.task.place)
        base = plain_values(variant.into, metrics, self.state)
        other = None if variant.other is None else plain_values(variant.other, metrics, self.state)
        return score_units(shard.units, metrics, values, base, other, variant, {}, self.state.seed)

    def _values(self, units: Sequence[Unit]) -> Tensor:
        """The metrics [metrics, units, n] with each unit's edges out."""
        device = self.bench.tokens.device
        values = torch.empty(len(self.task.metrics), len(units), self.bench.n, device=device)
        n_layers, late = self.bench.graph.shape.n_layers, self.task.late
        layers = [edge_layer(unit, n_layers) if late else 0 for unit in units]
        for layer in sorted(set(layers)):
            members = [i for i, at in enumerate(layers) if at == layer]
            found = self._from(layer, [units[i] for i in members])
            values[:, moved(torch.tensor(members), device)] = found
        return values

    def _from(self, layer: int, units: Sequence[Unit]) -> Tensor:
        """The metrics [metrics, units, n] of units whose edges enter no layer before this one, in
        passes that are taken up there."""
        bench, count = self.bench, len(units)
        forward, device = bench.forward, bench.tokens.device
        out, seen = self._out(units), bench.graph.heads(layer).start
        changed = [
            g for g in bench.graph.groups if any(bool(o[:, g.edges].any()) for o in out.values())
        ]
        values = torch.empty(len(self.task.metrics), bench.n * count, device=device)

        def work(start: int, stop: int) -> None:
            rows = torch.arange(start, stop, device=device)
            examples, chosen = rows // count, rows % count
            some = slice(start // count, (stop - 1) // count + 1)
            within = examples - some.start
            reads, mask = _of(bench.reads, some), _of(bench.mask, some)
            base = forward.run(forward.embedded(bench.tokens[some]), reads=reads, mask=mask)
            ablated = bench.ablated(torch.arange(some.start, some.stop, device=device))
            assert base.outputs is not None
            logits = forward.resumed(
                layer,
                base.streams[layer][within],
                base.outputs[:seen, within],
                self._kept(out, chosen, examples),
                ablated[:, within] if ablated.shape[1] > 1 else ablated,
                changed,
                _of(bench.reads, examples),
                _of(bench.mask, examples),
            )
            values[:, start:stop] = bench.values(logits, examples)

        in_batches(values.shape[1], self._rows, work, self.note)
        return values.view(len(values), bench.n, count).transpose(1, 2)

    @property
    def _rows(self) -> int:
        packing = self.task.packing
        if packing is None:
            return self.bench.rows
        return fitting(packing.tokens, packing.rows, self.bench.width, 0)

    def _out(self, units: Sequence[Unit]) -> dict[Positions, Tensor]:
        """Which edges [units, E] each unit takes out, by the positions at which it does."""
        found: dict[Positions, Tensor] = {}
        for number, unit in enumerate(units):
            for target in unit.targets:
                if target.positions not in found:
                    found[target.positions] = torch.zeros(
                        len(units), self.bench.graph.n_edges, dtype=torch.bool
                    )
                found[target.positions][number, self._edges(target)] = True
        return {at: moved(held, self.bench.tokens.device) for at, held in found.items()}

    def _kept(self, out: dict[Positions, Tensor], chosen: Tensor, examples: Tensor) -> Tensor:
        """The edges that each row keeps [R, E], or [R, E, T] where positions tell them apart."""
        if set(out) == {ALL}:
            return ~out[ALL][chosen]
        parts = [out[at][chosen][:, :, None] & self._at(at)[examples][:, None] for at in out]
        return ~torch.stack(parts).any(0)

    def _at(self, positions: Positions) -> Tensor:
        """Where positions are [n, T]."""

        def make() -> Tensor:
            at = self.state.slots(self.run_of, positions)
            found = torch.zeros(self.bench.n, self.bench.width, dtype=torch.bool)
            found.scatter_(1, at.index, at.some[:, None].expand_as(at.index))
            return moved(found, self.bench.tokens.device)

        return self.state.once(("edges at", self.run_of, positions), make)

    def _edges(self, target: Target) -> list[int]:
        """The numbers of an edge: of one to a head as a whole, those of its three inputs."""
        name = str(target.site.edge)
        names = [name] if name in self._numbers else [f"{name}.{channel}" for channel in "qkv"]
        if any(n not in self._numbers for n in names):
            raise InterpError(
                Diagnostic(
                    "E201",
                    f"{self.bench.executor.facts.name} has no edge {name}",
                    help="an edge leads forward, from what it has to what it has",
                )
            )
        return [self._numbers[n] for n in names]

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {str(edge): number for number, edge in enumerate(self.bench.graph.edges)}


def _of(x: Tensor | None, rows: slice | Tensor) -> Tensor | None:
    return None if x is None else x[rows]
