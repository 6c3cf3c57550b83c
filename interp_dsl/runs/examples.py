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


def of_example(folder: RunFolder, step: str, table: pl.DataFrame, example: int) -> pl.DataFrame:
    """A step's table with the `base`, `value` and `effect` of one example in place of the means;
    what is about all examples is null. Empty where the step keeps no values of single ones, or has
    no such example."""
    import polars as pl
    from safetensors import safe_open

    held: dict[str, NDArray[np.generic]] = {}
    if folder.has_tensors(step):
        with safe_open(folder.tensors_path(step), framework="numpy") as file:
            names = {*file.keys()} & {"base", "value", "effect"}
            slices = {name: file.get_slice(name) for name in names}
            shape = (len(table), example + 1)
            fits = {n: s.get_shape() for n, s in slices.items()}
            held = {
                name: slices[name][:, example]
                for name, (rows, *more) in fits.items()
                if rows == shape[0] and more and more[0] >= shape[1]
            }
    if not held.keys() & {"value", "effect"}:
        return table.clear()
    series = [_series(name, held.get(name), len(table)) for name in ("base", "value", "effect")]
    own = table.with_columns(series).with_columns(
        pl.lit(None, pl.Float64).alias(name) for name in ("normalized", "low", "high")
    )
    change = pl.coalesce("effect", pl.col("value") - pl.col("base"))
    measured = pl.col("value").is_not_null() | pl.col("effect").is_not_null()
    return own.with_columns(effect=change, n=pl.lit(None, pl.Int64)).filter(measured)


def _series(name: str, values: NDArray[np.generic] | None, length: int) -> pl.Series:
    import polars as pl

    if values is None:
        return pl.Series(name, [None] * length, dtype=pl.Float64)
    return pl.Series(name, values.ravel(), dtype=pl.Float64, strict=False).fill_nan(None)
