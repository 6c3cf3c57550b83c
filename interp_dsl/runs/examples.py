"""The values of single examples behind a score table, one row an example."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.schema import extra_columns

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray


def examples(folder: RunFolder, step: str) -> pl.DataFrame:
    """`unit`, `position`, the table's extra columns, `metric`, `example` (its number), `base`,
    `value` (null for estimates) and `effect`; FileNotFoundError where the step keeps no values of
    examples."""
    import numpy as np
    import polars as pl

    tensors = folder.read_tensors(step) if folder.has_tensors(step) else {}
    measured = tensors.get("value", tensors.get("effect"))  # an estimate has no value
    if measured is None:
        raise FileNotFoundError(f"step {step} keeps no values of single examples")
    table = folder.read_table(step)
    rows, n = measured.shape
    kept = table.select("unit", "position", *extra_columns(table), "metric")
    long = kept[np.repeat(np.arange(rows), n).tolist()].with_columns(
        pl.Series("example", np.tile(np.arange(n), rows)),
        *(_series(name, tensors.get(name), rows * n) for name in ("base", "value", "effect")),
    )
    change = pl.col("value") - pl.col("base")
    filled = long.with_columns(effect=pl.coalesce("effect", change))
    return filled.filter(pl.col("value").is_not_null() | pl.col("effect").is_not_null())


def _series(name: str, values: NDArray[np.generic] | None, length: int) -> pl.Series:
    import polars as pl

    if values is None:
        return pl.Series(name, [None] * length, dtype=pl.Float64)
    return pl.Series(name, values.ravel(), dtype=pl.Float64, strict=False).fill_nan(None)
