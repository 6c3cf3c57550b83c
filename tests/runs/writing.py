"""A run of `generate`, written from the documented schema."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl

from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.schema import TEXT_COLUMNS, polars_types, score_table

WHEN = datetime(2026, 11, 20)
WRITTEN = {
    "plain": ("She went to the store.", "a b c"),
    "happy": ("She danced to the store!", "a b c"),
    "random(happy)": ("It went to", "c"),
}


def written(root: Path, step: str = "spoken") -> RunFolder:
    """A run that wrote two texts three times."""
    folder = RunFolder.create(root, "x", WHEN)
    rows = [
        {"prompt": 10 + i, "under": under, "before": f"prompt {i}: ", "text": text, "n": 5}
        | {"logprob": -1.0 - i, "own_logprob": -0.5, "kl": 0.25 * (under != "plain")}
        for under, texts in WRITTEN.items()
        for i, text in enumerate(texts)
    ]
    folder.write_table(f"{step}.texts", pl.DataFrame(rows, polars_types(TEXT_COLUMNS)))
    scores = [
        {"unit": "model", "position": "all", "metric": "kl", "value": 0.25, "under": under}
        for under in WRITTEN
    ]
    folder.write_table(step, score_table(scores, {"under": "text"}))
    folder.finish_step(step, "key", tables=["texts", "tokens"])
    return folder
