"""What data say of features, as a table: where and how often they fire; with which others they do,
and what the model loses without them, in files of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from interp_dsl.dictionaries.dictionary import Dictionary
from interp_dsl.dictionaries.reading import Intervals, Largest, Seen, alignment
from interp_dsl.engine.inspect_ablation import ablated
from interp_dsl.engine.inspect_cofiring import cofiring
from interp_dsl.engine.inspect_reader import Reader
from interp_dsl.engine.inspect_windows import windows
from interp_dsl.engine.kept import texts
from interp_dsl.engine.report import Report
from interp_dsl.engine.scores import Scored
from interp_dsl.engine.state import State
from interp_dsl.plan.dictionaries import Inspect
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.schema import DENSITY_COLUMNS, EXAMPLE_COLUMNS, polars_types


def inspect(task: Inspect, state: State, folder: RunFolder, report: Report) -> Scored:
    """The table of an inspection. Of examples also the `tokens` around each and the feature's
    `values` there [rows, window]; with intervals how many activations are `inside` each [features,
    intervals], and their `histogram` [features, BINS], which ends with each feature's maximum, of
    the `features` by number."""
    reader = Reader(task, state, folder, report)
    match task.method:
        case "density":
            return Scored(_density(reader), {})
        case "cofiring":
            return Scored(cofiring(reader, report), {})
        case "ablation":
            return Scored(ablated(reader, report, state.seed), {})
    found = Largest(len(reader.numbers), task.given["top"])
    reader.through(found.add)
    drawn = None
    if task.given["intervals"]:
        generator = torch.Generator().manual_seed(task.given["seed"])
        drawn = Intervals(found.maximum, task.given["intervals"], generator)
        reader.through(drawn.add)
    table = _examples(reader, found, drawn, task.given["context"])
    tensors = windows(reader, table, task.given["context"])
    tensors |= texts(tensors, state.executor(task.run).facts)
    if drawn is not None:
        tensors |= {
            "features": np.array(reader.numbers),
            "histogram": drawn.counts.numpy(),
            "inside": drawn.inside.numpy(),
        }
    return Scored(table, tensors)


def _examples(
    reader: Reader, found: Largest, drawn: Intervals | None, context: int
) -> pl.DataFrame:
    """A row an example: of each feature the largest first, then from the highest interval down."""
    rows: list[dict[str, Any]] = []
    for i, number in enumerate(reader.numbers):
        held = _held(found.seen, i, None)
        if drawn is not None:
            held += reversed(_held(drawn.seen, i, 1))
        for interval, value, token in held:
            prompt, position = divmod(token, reader.width)
            before, shown, after = reader.in_context(prompt, position, context)
            rows.append(
                {
                    "feature": number,
                    "interval": interval,
                    "activation": value,
                    "share": value / float(found.maximum[i]),
                    "prompt": prompt,
                    "position": position,
                    "before": before,
                    "token": shown,
                    "after": after,
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


def _density(reader: Reader) -> pl.DataFrame:
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
            "alignment": float(align[number]),
            "n": found.count,
        }
        for i, number in enumerate(reader.numbers)
    ]
    return pl.DataFrame(rows, schema=polars_types(DENSITY_COLUMNS))


def _aligned(dictionary: Dictionary) -> Tensor:
    return alignment(dictionary.tensors["W_enc"].cpu(), dictionary.tensors["W_dec"].cpu())
