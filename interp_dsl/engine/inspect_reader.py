"""Features of one dictionary, token after token."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from interp_dsl.engine.harvest import Harvest, joined
from interp_dsl.engine.kept_dictionaries import read_dictionaries
from interp_dsl.engine.report import Report
from interp_dsl.engine.state import State, text_of, token_text
from interp_dsl.plan.dictionaries import Inspect
from interp_dsl.runs.folder import RunFolder

BROKEN = "\ufffd"
"""What stands where bytes are no character."""
REACH = 3
"""Tokens on each side that may have a part in one character: it has four bytes at most."""


class Reader:
    """Features of one dictionary over all examples of a run."""

    def __init__(self, task: Inspect, state: State, folder: RunFolder, report: Report) -> None:
        self.task = task
        (fitted,) = task.of.fitted
        self.read, self.rebuilt = fitted.read, fitted.rebuilt
        self.harvest = Harvest(task.runs, task.read, state, 0, task.batch, report)
        (self.dictionary,) = read_dictionaries(folder, task.of, self.harvest.device)
        self.numbers = list(task.features or range(self.dictionary.d_sae))
        self.side = state.side(task.run)
        facts = state.executor(task.run).facts
        self.token, self._text = token_text(facts), text_of(facts)

    @property
    def width(self) -> int:
        """Tokens of the longest prompt."""
        return int(self.side.tokens.shape[1])

    def through(self, add: Callable[[Tensor, Tensor], None]) -> None:
        """Hand on the features [rows, features] of all text, with the tokens' numbers: prompt ×
        width + position."""

        def see(f: Tensor, kept: Tensor, examples: Tensor) -> None:
            row, position = kept.nonzero(as_tuple=True)
            add(f, examples[row] * self.width + position)

        self.blocks(see)

    def blocks(self, see: Callable[[Tensor, Tensor, Tensor], None]) -> None:
        """Hand on the features [rows, features] of the text of some examples after others, which of
        their tokens are text [B, T], and the examples' numbers [B], one after another."""

        def work(examples: Tensor) -> None:
            _, block = self.harvest.of(examples)
            see(self.features(joined(block, self.read)), self.harvest.kept(examples), examples)

        self.harvest.through(work)

    def features(self, x: Tensor) -> Tensor:
        """Those that are looked at [rows, features] of activations [rows, d_in]."""
        f = self.dictionary.encode(x)
        return f if self.task.features is None else f[:, self.numbers]

    def ids(self, prompt: int, start: int, stop: int) -> list[int]:
        """Tokens of a prompt, as far as they are there."""
        stop = min(stop, int(self.side.lengths[prompt]))
        found: list[int] = self.side.tokens[prompt, max(0, start) : stop].tolist()
        return found

    def in_context(self, prompt: int, position: int, context: int) -> tuple[str, str, str]:
        """A token and so many before and after it, as text. With the token stand those beside it
        that have a part in its characters, and the text ends with whole characters."""
        start, stop = self._whole(prompt, position)
        before = self._until(lambda n: self._said(prompt, position - context - n, start), 0)
        after = self._until(lambda n: self._said(prompt, stop, position + 1 + context + n), -1)
        if stop == start + 1:
            return before, self.token(int(self.side.tokens[prompt, position])), after
        return before, self._said(prompt, start, stop), after

    def _said(self, prompt: int, start: int, stop: int) -> str:
        return self._text(self.ids(prompt, start, stop))

    def _whole(self, prompt: int, position: int) -> tuple[int, int]:
        """The least stretch of tokens around one that is whole characters; the token alone where
        none is."""
        last = int(self.side.lengths[prompt])
        for wide in range(2 * REACH + 1):
            for left in range(max(0, wide - REACH), min(wide, REACH) + 1):
                start, stop = position - left, position + 1 + wide - left
                is_there = start >= 0 and stop <= last
                if is_there and BROKEN not in self._said(prompt, start, stop):
                    return start, stop
        return position, position + 1

    def _until(self, said: Callable[[int], str], end: int) -> str:
        """A text with so many tokens more that its end is a whole character; as it is where none
        are enough."""
        found = (said(n) for n in range(REACH + 1))
        return next((text for text in found if not text or text[end] != BROKEN), said(0))
