"""Features of one dictionary, token after token."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from interp_dsl.engine.harvest import Harvest
from interp_dsl.engine.kept_dictionaries import read_dictionaries
from interp_dsl.engine.report import Report
from interp_dsl.engine.state import State, text_of, token_text
from interp_dsl.plan.dictionaries import Inspect
from interp_dsl.runs.folder import RunFolder


class Reader:
    """Features of one dictionary over all examples of a run."""

    def __init__(self, task: Inspect, state: State, folder: RunFolder, report: Report) -> None:
        self.task = task
        (fitted,) = task.of.fitted
        self.target = fitted.target
        self.harvest = Harvest(task.run, (self.target,), state, 0, task.batch, report)
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

        def work(examples: Tensor) -> None:
            _, block = self.harvest.of(examples)
            row, position = self.harvest.kept(examples).nonzero(as_tuple=True)
            add(self.features(block[self.target]), examples[row] * self.width + position)

        self.harvest.through(work)

    def features(self, x: Tensor) -> Tensor:
        """Those that are looked at [rows, features] of activations [rows, d_in]."""
        f = self.dictionary.encode(x)
        return f if self.task.features is None else f[:, self.numbers]

    def text(self, prompt: int, start: int, stop: int) -> str:
        """Tokens of a prompt as text, as far as they are there."""
        stop = min(stop, int(self.side.lengths[prompt]))
        return self._text(self.side.tokens[prompt, max(0, start) : stop].tolist())
