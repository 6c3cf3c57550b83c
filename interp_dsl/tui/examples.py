"""The values of single examples behind one row of a score table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from interp_dsl.runs.folder import RunFolder

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class OneRow:
    """`frame` has `example`, `base`, `value`, `effect`; None with a reason where the step keeps no
    values of examples."""

    frame: pl.DataFrame | None
    reason: str = ""


def examples_of(folder: RunFolder, step: str, row: int) -> OneRow:
    """The examples of a row of the step's table, read without the rest of the tensors."""
    if not folder.has_tensors(step):
        return OneRow(None, f"step {step} keeps no values of single examples")
    import polars as pl
    from safetensors import safe_open

    series = {}
    with safe_open(folder.tensors_path(step), framework="numpy") as held:
        for name in ("base", "value", "effect"):
            if name in held.keys():  # noqa: SIM118 (it is no mapping)
                series[name] = pl.Series(name, held.get_slice(name)[row], dtype=pl.Float64)
    measured = series.get("value", series.get("effect"))
    if measured is None:
        return OneRow(None, f"step {step} keeps no values of single examples")
    columns = {n: s.fill_nan(None) for n, s in series.items()}
    frame = pl.DataFrame(columns).with_row_index("example")
    for name in ("base", "value", "effect"):
        if name not in frame.columns:
            frame = frame.with_columns(pl.lit(None, dtype=pl.Float64).alias(name))
    change = pl.coalesce("effect", pl.col("value") - pl.col("base"))
    frame = frame.with_columns(effect=change).select("example", "base", "value", "effect")
    return OneRow(frame.filter(pl.col("value").is_not_null() | pl.col("effect").is_not_null()))
