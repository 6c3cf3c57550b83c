"""Neurons that change their sign between the ends of a path (Janiak et al. 2024): a ReLU's, GELU's
or SiLU's output is above zero where its input is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from interp_dsl.engine.batches import default_rows, in_batches
from interp_dsl.engine.packed import Packed
from interp_dsl.engine.state import canonical
from interp_dsl.engine.sweep import Sweeper
from interp_dsl.plan.places import Point, Site
from interp_dsl.plan.tasks import Regions, Sweep, Variant

if TYPE_CHECKING:
    from interp_dsl.engine.curves import Curve, Way


def flipped(task: Sweep, sweeper: Sweeper, curves: Sequence[Curve]) -> dict[Way, Tensor]:
    """Of each path how many neurons at the read position are on at one end and off at the other
    [directions × n], float64; empty where they are not counted."""
    regions = task.curves
    if not isinstance(regions, Regions) or regions.gates == "none":
        return {}
    ways = {curve.way: curve for curve in curves}
    return {way: _of_curve(curve, sweeper, regions.gates) for way, curve in ways.items()}


def _of_curve(curve: Curve, sweeper: Sweeper, gates: str) -> Tensor:
    found = []
    for number in range(len(curve.effects)):
        ends = [curve.points[i] for i in (0, -1)]
        points = [Point(p.targets, p.path, number, p.length) for p in ends]
        before, after = _signs(curve.variant, points, sweeper, gates)
        found.append((before != after).sum(1))
    return torch.cat(found).double().cpu()


def _signs(variant: Variant, points: list[Point], sweeper: Sweeper, gates: str) -> Tensor:
    """Which neurons are on at the read position [points, n, neurons]."""
    run, state = variant.into, sweeper.state
    shape = state.executor(run).facts.shape
    layers = range(shape.n_layers) if gates == "all" else [shape.n_layers - 1]
    sites = tuple(Site("neuron", layer) for layer in layers)
    bench, editor = sweeper.bench(variant)
    n, found = state.data[run.data].n, list[Tensor]()
    read = torch.from_numpy(state.side(run).read)

    def work(start: int, stop: int) -> None:
        batch = Packed.stretch(points, n, start, stop)
        seen = bench.forward("plain", batch.examples, editor, batch, sites, "nothing").sites
        rows, at = torch.arange(stop - start), read[batch.examples]
        held = [canonical(seen[site])[rows, at].flatten(1) > 0 for site in sites]
        found.append(torch.cat(held, 1))

    in_batches(len(points) * n, default_rows(bench.width), work, sweeper.note)
    return torch.cat(found).view(len(points), n, -1)
