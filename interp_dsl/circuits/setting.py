"""What circuits are judged by: prompts, what replaces the edges removed, and a metric."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interp_dsl.circuits.clean import Metric
from interp_dsl.circuits.forward import EdgeForward
from interp_dsl.circuits.places import spread
from interp_dsl.models.graph import Bools, Graph

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """`tokens` [B, T] are read at `reads` [B, r] (None: all), those of `mask` [B, T] may be
    attended to (None: all). An edge removed carries `ablated` [S, B, T, D], whose later axes may
    have size 1. `metric` takes logits [..., B, r, d_vocab_out] to values [..., B]; searches make
    its mean over examples small.

    `places` [P, B, T] marks the tokens of each place of a graph by position (places.py).

    `rows` is how many prompts one forward pass takes where many circuits are measured at once
    (never fewer than B; None: as many as suit the device). It changes values by rounding alone."""

    forward: EdgeForward
    tokens: Tensor
    ablated: Tensor
    metric: Metric
    reads: Tensor | None = None
    mask: Tensor | None = None
    rows: int | None = None
    places: Tensor | None = None

    @property
    def graph(self) -> Graph:
        return self.forward.graph

    @property
    def full(self) -> Bools:
        """The circuit of all edges, [E]."""
        return np.ones(self.graph.n_edges, dtype=bool)

    @property
    def empty(self) -> Bools:
        """The circuit of none, [E]."""
        return np.zeros(self.graph.n_edges, dtype=bool)

    @torch.no_grad()
    def values(self, kept: Bools) -> Floats:
        """The metric of circuits [..., E] on each example: [..., B]."""
        circuits = kept.reshape(-1, kept.shape[-1])
        n_examples = len(self.tokens)
        at_once = max(1, self._suitable() // n_examples)
        found = np.empty((len(circuits), n_examples))
        for first in range(0, len(circuits), at_once):
            part = slice(first, first + at_once)
            found[part] = self._measured(torch.from_numpy(circuits[part]))
        return found.reshape(*kept.shape[:-1], n_examples)

    def means(self, kept: Bools) -> Floats:
        """The metric of circuits [..., E], mean over examples: [...]."""
        means: Floats = self.values(kept).mean(-1)
        return means

    def soft(self, kept: Tensor) -> Tensor:
        """The metric, mean over examples, where edges are kept in part: [E], or [B, E] by example,
        between 0 and 1. Gradients flow to `kept`."""
        kept = kept if self.places is None else spread(kept, self.places)
        logits = self.forward.logits(self.tokens, kept, self.ablated, self.reads, self.mask)
        return self.metric(logits[None])[0].mean()

    def _measured(self, circuits: Tensor) -> Floats:
        """[K, B], of K circuits in one pass."""
        n, n_examples = len(circuits), len(self.tokens)
        kept = circuits.to(self.tokens.device).repeat_interleave(n_examples, 0)
        if self.places is not None:
            kept = spread(kept, self.places.repeat(1, n, 1))
        logits = self.forward.logits(
            self.tokens.repeat(n, 1),
            kept,
            self.ablated if self.ablated.shape[1] == 1 else self.ablated.repeat(1, n, 1, 1),
            None if self.reads is None else self.reads.repeat(n, 1),
            None if self.mask is None else self.mask.repeat(n, 1),
        )
        values = self.metric(logits.view(n, n_examples, *logits.shape[1:]))
        measured: Floats = values.double().cpu().numpy()
        return measured

    def _suitable(self) -> int:
        """Rows whose senders' outputs make 2^20 numbers on a CPU, so as to stay near its cache, and
        2^27 elsewhere."""
        if self.rows is not None:
            return self.rows
        row = len(self.graph.senders) * self.tokens.shape[1] * self.graph.shape.d_model
        return 2 ** (20 if self.tokens.device.type == "cpu" else 27) // row
