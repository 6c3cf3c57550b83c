"""Which features of a dictionary fire on the same tokens."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl
import torch
from torch import Tensor

from interp_dsl.engine.inspect_reader import Reader
from interp_dsl.engine.report import Report
from interp_dsl.geometry.similarity import Keep, relate
from interp_dsl.plan.reading import pairs_at_once
from interp_dsl.runs.schema import COFIRING_COLUMNS, polars_types


def cofiring(reader: Reader, report: Report) -> pl.DataFrame:
    """A row a pair: of each feature the `top` others by the measure, the most first. The sums of
    all pairs come from one pass, or from one for each block of features whose pairs fit."""
    task, harvest = reader.task, reader.harvest
    n, every = len(reader.side.tokens), reader.dictionary.d_sae

    def stream() -> Iterator[tuple[Tensor, Tensor]]:
        for examples in torch.split(torch.arange(n), harvest.rows):
            _, block = harvest.of(examples)
            f = reader.dictionary.encode(block[reader.target])
            yield f[:, reader.numbers], f
            report.progress(int(examples[-1]) + 1, n)

    measure, top = task.given["measure"], task.given["top"]
    keep = Keep({measure: 0.0}, top + 1, task.given["support"])  # itself is among them
    sizes, rows = (len(reader.numbers), every), pairs_at_once(task)
    found = relate(stream, sizes, keep=keep, rows=rows, device=harvest.device)
    numbers = torch.tensor(reader.numbers, device=found.below.device)
    columns = {
        "feature": numbers[found.below],
        "other": found.above,
        **found.values,
        "lift": found.lift,
        "lift_low": found.lift_low,
        "support": found.support.long(),
        "n": torch.full_like(found.above, found.n),
    }
    table = pl.DataFrame({name: columns[name].cpu().numpy() for name in COFIRING_COLUMNS})
    order = pl.DataFrame({"feature": reader.numbers}).with_row_index("place")
    others = table.filter(pl.col("feature") != pl.col("other")).join(order, on="feature")
    ranked = others.sort("place", pl.col(measure), descending=[False, True], maintain_order=True)
    best = ranked.group_by("place", maintain_order=True).head(top).select([*COFIRING_COLUMNS])
    return best.cast(pl.Schema(polars_types(COFIRING_COLUMNS)))
