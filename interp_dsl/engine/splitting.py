"""The table of how references' features split."""

from __future__ import annotations

import polars as pl

from interp_dsl.dictionaries.splitting import NONE
from interp_dsl.engine.likeness import Likeness
from interp_dsl.plan.dictionaries import EvaluateDictionary
from interp_dsl.runs.schema import SPLIT_COLUMNS, polars_types


def split_rows(task: EvaluateDictionary, likeness: Likeness) -> dict[str, pl.DataFrame]:
    """The table `splits`, by feature of the reference, the closest part first; none where nothing
    asks for it."""
    tables = []
    for i, measure, held in likeness.splits():
        assert held.firing is not None and measure.reference is not None
        (known,) = measure.reference.fitted
        step, label = measure.reference.step, known.label
        part = ((held.parent != NONE) & (held.firing.part > 0)).nonzero()[:, 0]
        feature, both = held.parent[part], held.firing.both[part].double()
        columns = {
            "feature": feature,
            "part": part,
            "cosine": held.cosine[part].double(),
            "sufficiency": both / held.firing.whole[feature],
            "necessity": both / held.firing.part[part],
            "support": held.firing.both[part],
        }
        table = pl.DataFrame({name: x.cpu().numpy() for name, x in columns.items()})
        tables.append(
            table.with_columns(
                dictionary=pl.lit(task.of.fitted[i].label or None, pl.String),
                reference=pl.lit(f"{step}[{label}]" if label else step),
                sufficiency=pl.col("sufficiency").fill_nan(None),
            )
            .select([*SPLIT_COLUMNS])
            .cast(pl.Schema(polars_types(SPLIT_COLUMNS)))
            .sort("feature", "cosine", descending=[False, True])
        )
    return {"splits": pl.concat(tables)} if tables else {}
