"""Circuits measured on all examples of a run, in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from interp_dsl.circuits.places import spread
from interp_dsl.engine.batches import in_batches
from interp_dsl.engine.edges import EdgeBench
from interp_dsl.models.graph import Bools


@dataclass(frozen=True)
class Measured:
    """Metrics of single examples, float64 in the processor's memory: `circuits`
    [circuits, metrics, n]; `empty` and `full` [metrics, n]."""

    circuits: Tensor
    empty: Tensor
    full: Tensor


def measured(bench: EdgeBench, kept: Sequence[Bools]) -> Measured:
    """Circuits, the empty one and the whole model on all examples."""
    values = _values(bench, [*kept, np.zeros(bench.graph.n_edges, dtype=bool)], whole=True)
    return Measured(values[:-2], values[-2], values[-1])


def circuits_measured(bench: EdgeBench, kept: Sequence[Bools]) -> Tensor:
    """Circuits alone, [circuits, metrics, n] as of Measured."""
    return _values(bench, kept, whole=False)


def _values(bench: EdgeBench, masks: Sequence[Bools], whole: bool) -> Tensor:
    """Circuits, and the whole model behind them where it is wanted."""
    device = bench.tokens.device
    tensors = [torch.from_numpy(mask).to(device) for mask in masks]
    parts: list[Tensor] = []

    def work(start: int, stop: int) -> None:
        rows = slice(start, stop)
        examples = torch.arange(start, stop, device=device)
        reads = None if bench.reads is None else bench.reads[rows]
        mask = None if bench.mask is None else bench.mask[rows]
        ablated = bench.ablated(examples)
        forward, tokens = bench.forward, bench.tokens[rows]
        places = None if bench.places is None else bench.places[:, rows]
        logits = []
        for held in tensors:
            kept = held if places is None else spread(held, places)
            logits.append(forward.logits(tokens, kept, ablated, reads, mask))
        if whole:
            logits.append(forward.run(forward.embedded(tokens), reads=reads, mask=mask).logits)
        parts.append(bench.values(torch.stack(logits), examples).cpu().double())

    with torch.no_grad():
        in_batches(bench.n, bench.rows, work, bench.note)
    return torch.cat(parts, dim=-1).transpose(0, 1)
