"""The clean run that a search starts from."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from interp_dsl.circuits.forward import EdgeForward
from interp_dsl.circuits.prompts import Prompts
from interp_dsl.models.graph import Group

Metric = Callable[[Tensor], Tensor]


class Clean:
    """The clean run over tokens [B, T], and what its senders are replaced by: `ablated`
    [S, B, T, D], whose later axes may have size 1. `metric` takes logits [..., B, r, d_vocab_out]
    at positions `reads` [B, r] (None: all) to values [..., B]. `places` [P, B, T]: of a graph by
    position (places.py).

    `start` is the metric's mean over examples. Tensors are wide, at all T positions, or narrow, at
    the reads."""

    def __init__(
        self,
        forward: EdgeForward,
        tokens: Tensor,
        ablated: Tensor,
        metric: Metric,
        reads: Tensor | None = None,
        mask: Tensor | None = None,
        places: Tensor | None = None,
    ) -> None:
        blocks = forward.model.weights.blocks
        if any(block.ln1_post is not None and block.b_o is not None for block in blocks):
            raise ValueError("a bias between attention and a norm behind it is not covered")
        self.forward, self.tokens, self.metric = forward, tokens, metric
        self.prompts = Prompts(forward.model, tokens.shape[1], mask, reads)
        run = forward.run(forward.embedded(tokens), reads=reads, mask=mask)
        outputs = run.outputs
        assert outputs is not None
        self.start = self.means(run.logits[None])[0]
        self.places = places
        self._at = None if places is None else self._both(places[..., None].to(outputs))
        self._outputs = self._both(outputs)
        self._differences = self._both(ablated - outputs)
        self._streams = {
            group: self._both(x)
            for group, x in zip(forward.graph.groups, self._inputs(outputs), strict=True)
        }

    def outputs(self, narrow: bool) -> Tensor:
        """What senders write, [S, B, t, D]."""
        return self._outputs[narrow]

    def differences(self, narrow: bool) -> Tensor:
        """ablated - clean, [S, B, t, D]."""
        return self._differences[narrow]

    def stream(self, group: Group, narrow: bool) -> Tensor:
        """The residual stream that a group's receivers read, [B, t, D]."""
        return self._streams[group][narrow]

    def at(self, narrow: bool) -> Tensor | None:
        """Where places are, [P, B, t], of a graph by position."""
        return None if self._at is None else self._at[narrow][..., 0]

    def means(self, logits: Tensor) -> list[float]:
        """The mean over examples for each of K candidates, from logits [K, B, r, d_vocab_out]."""
        found: list[float] = self.metric(logits).cpu().double().mean(-1).tolist()
        return found

    def _both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, self.prompts.narrowed(x)

    def _inputs(self, outputs: Tensor) -> list[Tensor]:
        """The stream before each group."""
        graph, blocks = self.forward.graph, self.forward.model.weights.blocks
        inputs: list[Tensor] = []
        x, seen = torch.zeros_like(outputs[0]), 0
        for group in graph.groups:
            x = x + outputs[seen : group.senders].sum(0)
            for layer, block in enumerate(blocks):
                if block.b_o is not None and seen <= graph.heads(layer).start < group.senders:
                    x = x + block.b_o
            seen = group.senders
            inputs.append(x)
        return inputs
