"""Texts that grow: the prompts of a run, the run's interventions at their tokens and behind them,
and models that read on.

An intervention at `all` holds at every token that is written too. All other names (labels, `first`,
`last`, numbers) are places of the prompt, and hold there alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from interp_dsl.data.types import Data, Side
from interp_dsl.engine.edits import Contexts
from interp_dsl.engine.state import Memo, State
from interp_dsl.models.compiled.executor import CompiledExecutor
from interp_dsl.models.edits import Edit, moved
from interp_dsl.models.executor import Executor
from interp_dsl.plan.algebra import Intervention, Run
from interp_dsl.plan.generation import Continuation
from interp_dsl.plan.places import Positions
from interp_dsl.plan.rewrite import rewritten

LAST = "last token"
"""The label of each prompt's last token; no text can name one so."""


class Growing:
    """The prompts of a side with room for `more` tokens each."""

    def __init__(self, run: Run, more: int, state: State) -> None:
        data, side = state.data[run.data], state.side(run)
        self.executor = state.executor(run)
        self.side, self.more = _longer(side, more), more
        self.lengths = torch.from_numpy(side.lengths)
        self.prompt = int(side.tokens.shape[1])
        self._id = f"{run.data} and {more} more"
        held = {name: _labelled(found) for name, found in state.data.items()}
        held[self._id] = replace(data, sides={side.name: self.side})
        self.state = replace(state, data=held, once=Memo())

    @property
    def width(self) -> int:
        """Tokens of the longest text."""
        return self.prompt + self.more

    def of(self, run: Run) -> Run:
        """A run of these prompts with the tokens behind them."""
        under = tuple(map(_at_prompts, run.under))
        return replace(run, data=self._id, side=self.side.name, under=under)

    def contexts(self, one: Continuation, seed: int) -> Contexts:
        """What holds in a continuation."""
        return Contexts(self.of(one.run), self.state, one.turned, seed)

    def reader(self, context: Contexts, examples: Tensor) -> Reader:
        """A model that reads the texts of some examples, under what holds there."""
        edits = context.edits(examples, self.width)
        mask = None
        if self.side.mask is not None:
            mask = torch.from_numpy(self.side.mask)[examples].to(self.executor.device)
        return reader_of(self.executor, edits, len(examples), self.width, mask)

    def tokens(self, examples: Tensor) -> Tensor:
        """The prompts of some examples [B, T], on the device."""
        found = torch.from_numpy(self.side.tokens[:, : self.prompt])[examples]
        return found.to(self.executor.device)


class Reader(Protocol):
    """A model that reads texts piece by piece."""

    def read(self, tokens: Tensor, positions: Tensor, columns: Tensor) -> Tensor:
        """Logits [B, d_vocab_out] behind the token in one of the columns [B, 1] of the next tokens
        [B, t], which stand at positions [B, t]; these two are in the processor's memory."""
        ...


class Cached:
    """Keeps keys and values, and computes each token once."""

    def __init__(
        self,
        executor: CompiledExecutor,
        edits: Sequence[Edit],
        rows: int,
        width: int,
        mask: Tensor | None,
    ) -> None:
        self.executor, self.edits = executor, edits
        self.memory = executor.room(rows, width, mask)

    def read(self, tokens: Tensor, positions: Tensor, columns: Tensor) -> Tensor:
        found = self.executor.grow(self.memory, tokens, positions, self.edits, columns)
        return found.logits[:, 0]


class Anew:
    """Runs the whole text for every token: what the other is measured by, and what any model can
    do. What stands behind the last token is not seen by it."""

    def __init__(
        self,
        executor: Executor,
        edits: Sequence[Edit],
        rows: int,
        width: int,
        mask: Tensor | None,
    ) -> None:
        self.executor, self.edits, self.mask = executor, edits, mask
        self.tokens = torch.zeros(rows, width, dtype=torch.long, device=executor.device)

    def read(self, tokens: Tensor, positions: Tensor, columns: Tensor) -> Tensor:
        at = moved(positions, self.tokens.device)
        self.tokens.scatter_(1, at, tokens)
        reads = positions.gather(1, columns)
        return self.executor.forward(self.tokens, reads, self.edits, mask=self.mask).logits[:, 0]


def reader_of(
    executor: Executor, edits: Sequence[Edit], rows: int, width: int, mask: Tensor | None
) -> Reader:
    """What reads texts [rows, width] on: with keys and values kept where the executor can."""
    if isinstance(executor, CompiledExecutor):
        return Cached(executor, edits, rows, width, mask)
    return Anew(executor, edits, rows, width, mask)


def _longer(side: Side, more: int) -> Side:
    """A side whose texts have as many tokens more, whatever they will be."""
    side = _with_last(side)
    beside = ((0, 0), (0, more))
    mask = side.mask
    if mask is not None:  # what stands behind a prompt is read, where it is written
        mask = np.pad(mask, beside, constant_values=True)
        mask = mask | (np.arange(mask.shape[1]) >= side.lengths[:, None])
    return replace(side, tokens=np.pad(side.tokens, beside), lengths=side.lengths + more, mask=mask)


def _labelled(data: Data) -> Data:
    return replace(data, sides={name: _with_last(side) for name, side in data.sides.items()})


def _with_last(side: Side) -> Side:
    last = np.stack([side.lengths - 1, side.lengths], axis=1)
    return replace(side, labels={**side.labels, LAST: last})


def _at_prompts(change: Intervention) -> Intervention:
    """`last` as the last token of the prompt, not of the text so far."""

    def named(positions: Positions) -> Positions:
        return Positions("label", label=LAST) if positions.kind == "last" else positions

    return replace(change, units=rewritten(change.units, Positions, named))
