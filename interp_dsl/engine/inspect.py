"""On what features fire, as a table: a row an example, or a row a feature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import torch
from torch import Tensor

from interp_dsl.dictionaries.dictionary import Dictionary
from interp_dsl.dictionaries.reading import Intervals, Largest, Seen, alignment
from interp_dsl.engine.harvest import Harvest, joined
from interp_dsl.engine.kept_dictionaries import read_dictionaries
from interp_dsl.engine.report import Report
from interp_dsl.engine.state import State, text_of, token_text
from interp_dsl.plan.dictionaries import Inspect
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.schema import DENSITY_COLUMNS, EXAMPLE_COLUMNS, polars_types


def inspect(task: Inspect, state: State, folder: RunFolder, report: Report) -> pl.DataFrame:
    """The table of an inspection."""
    reader = _Reader(task, state, folder, report)
    if task.method == "density":
        return _density(reader)
    found = Largest(len(reader.numbers), task.given["top"])
    reader.through(found.add)
    drawn = None
    if task.given["intervals"]:
        generator = torch.Generator().manual_seed(task.given["seed"])
        drawn = Intervals(found.maximum, task.given["intervals"], generator)
        reader.through(drawn.add)
    return _examples(reader, found, drawn, task.given["context"])


class _Reader:
    """Features of one dictionary over all examples of a run."""

    def __init__(self, task: Inspect, state: State, folder: RunFolder, report: Report) -> None:
        self.task = task
        (fitted,) = task.of.fitted
        self.read = fitted.read
        self.harvest = Harvest(task.run, self.read, state, 0, task.batch, report)
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
            add(self._features(joined(block, self.read)), examples[row] * self.width + position)

        self.harvest.through(work)

    def _features(self, x: Tensor) -> Tensor:
        f = self.dictionary.encode(x)
        return f if self.task.features is None else f[:, self.numbers]

    def text(self, prompt: int, start: int, stop: int) -> str:
        """Tokens of a prompt as text, as far as they are there."""
        stop = min(stop, int(self.side.lengths[prompt]))
        return self._text(self.side.tokens[prompt, max(0, start) : stop].tolist())


def _examples(
    reader: _Reader, found: Largest, drawn: Intervals | None, context: int
) -> pl.DataFrame:
    """A row an example: of each feature the largest first, then from the highest interval down."""
    rows: list[dict[str, Any]] = []
    for i, number in enumerate(reader.numbers):
        held = _held(found.seen, i, None)
        if drawn is not None:
            held += reversed(_held(drawn.seen, i, 1))
        for interval, value, token in held:
            prompt, position = divmod(token, reader.width)
            rows.append(
                {
                    "feature": number,
                    "interval": interval,
                    "activation": value,
                    "share": value / float(found.maximum[i]),
                    "prompt": prompt,
                    "position": position,
                    "before": reader.text(prompt, position - context, position),
                    "token": reader.token(int(reader.side.tokens[prompt, position])),
                    "after": reader.text(prompt, position + 1, position + 1 + context),
                }
            )
    return pl.DataFrame(rows, schema=polars_types(EXAMPLE_COLUMNS))


def _held(seen: Seen, i: int, first: int | None) -> list[tuple[int | None, float, int]]:
    """A feature's activations and tokens; their intervals counted from `first`, None for none."""
    pairs = zip(seen.activation[i].tolist(), seen.token[i].tolist(), strict=True)
    return [
        (None if first is None else first + slot, value, token)
        for slot, (value, token) in enumerate(pairs)
        if value > 0
    ]


def _density(reader: _Reader) -> pl.DataFrame:
    """A row a feature."""
    found = Largest(len(reader.numbers), 1)
    reader.through(found.add)
    align = _aligned(reader.dictionary)
    rows = [
        {
            "feature": number,
            "density": int(found.fired[i]) / found.count,
            "mean": float(found.total[i] / found.fired[i]) if found.fired[i] else None,
            "maximum": float(found.maximum[i]) if found.fired[i] else None,
            "alignment": None if align is None else float(align[number]),
            "n": found.count,
        }
        for i, number in enumerate(reader.numbers)
    ]
    return pl.DataFrame(rows, schema=polars_types(DENSITY_COLUMNS))


def _aligned(dictionary: Dictionary) -> Tensor | None:
    """None of a transcoder, whose ends are directions of two spaces."""
    if dictionary.is_transcoder:
        return None
    return alignment(dictionary.tensors["W_enc"].cpu(), dictionary.tensors["W_dec"].cpu())
