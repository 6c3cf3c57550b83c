"""What other steps of a run say of the features of a dictionary: effects that were measured or
estimated of them as units, probes of labels that they are in, and how much of them is at each place
of a crosscoder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeGuard

from interp_dsl.plan.tasks import Attribute, EvaluateDictionary, InspectWeights, Plan, Sweep, Task
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.text import decimals, number
from interp_dsl.runs.training import dictionary_name

if TYPE_CHECKING:
    import polars as pl

PROBES = "probes"


@dataclass(frozen=True)
class Elsewhere:
    """`effects`: step, feature, position, metric, effect; `probes`: step, feature, target, label,
    k, accuracy; `norms`: step, feature, place, relative_norm."""

    effects: pl.DataFrame
    probes: pl.DataFrame
    norms: pl.DataFrame

    def of(self, feature: int) -> Iterator[str]:
        """What is known of a feature, a line a step and label."""
        import polars as pl

        own = pl.col("feature") == feature
        for (step,), rows in self.effects.filter(own).group_by("step", maintain_order=True):
            found = [
                f"{metric} {number(effect, decimals([effect]))}"
                + ("" if position == "all" else f" at {position}")
                for position, metric, effect in rows.select("position", "metric", "effect").rows()
            ]
            yield f"{step}: {' · '.join(found)}"
        for row in self.probes.filter(own).iter_rows(named=True):
            others = "" if row["k"] == 1 else f", with {row['k'] - 1} more"
            yield f"{row['step']}: {row['target']} = {row['label']}, {row['accuracy']:.0%}{others}"
        for (step,), rows in self.norms.filter(own).group_by("step", maintain_order=True):
            shares = rows.select("place", "relative_norm").iter_rows()
            yield f"{step}: {' · '.join(f'{place} {share:.0%}' for place, share in shares)}"


def elsewhere(plan: Plan, folder: RunFolder, dictionary: str) -> Elsewhere:
    """All that the finished steps of a run say of a dictionary's features, by its name."""
    import polars as pl

    effects = pl.DataFrame(
        schema={
            "step": pl.String,
            "feature": pl.Int64,
            "position": pl.String,
            "metric": pl.String,
            "effect": pl.Float64,
        }
    )
    probes = pl.DataFrame(
        schema={
            "step": pl.String,
            "feature": pl.Int64,
            "target": pl.String,
            "label": pl.String,
            "k": pl.Int64,
            "accuracy": pl.Float64,
        }
    )
    norms = pl.DataFrame(
        schema={
            "step": pl.String,
            "feature": pl.Int64,
            "place": pl.String,
            "relative_norm": pl.Float64,
        }
    )
    for task in plan.tasks:
        if isinstance(task, Sweep | Attribute) and folder.has_table(task.step):
            table = folder.read_table(task.step)
            if {"unit", "effect"} <= {*table.columns}:
                effects.extend(_measured(table, task.step, dictionary, effects))
        elif isinstance(task, EvaluateDictionary) and folder.has_table(f"{task.step}.{PROBES}"):
            table = folder.read_table(f"{task.step}.{PROBES}")
            names = [dictionary_name(task.of.step, one.label) for one in task.of.fitted]
            if dictionary in names:
                label = task.of.fitted[names.index(dictionary)].label or None
                rows = table.filter(pl.col("dictionary").eq_missing(label))
                rows = rows.with_columns(step=pl.lit(task.step))
                probes.extend(rows.select(probes.columns).cast(probes.schema))
        elif _is_norms(task, dictionary) and folder.has_table(task.step):
            rows = folder.read_table(task.step).with_columns(step=pl.lit(task.step))
            norms.extend(rows.select(norms.columns).cast(norms.schema))
    return Elsewhere(effects, probes, norms)


def _is_norms(task: Task, dictionary: str) -> TypeGuard[InspectWeights]:
    """Whether a task tells how much of a dictionary's features is at each place."""
    is_told = isinstance(task, InspectWeights) and task.method == "norms"
    return is_told and dictionary in task.of.names  # type: ignore[union-attr]


def _measured(table: pl.DataFrame, step: str, dictionary: str, like: pl.DataFrame) -> pl.DataFrame:
    """The rows of a score table that are of single features of a dictionary."""
    import polars as pl

    own, _, label = dictionary.removesuffix("]").partition("[")
    before = f"{own}[{label}, " if label else f"{own}["
    feature = pl.col("unit").str.extract(rf"^{re.escape(before)}(\d+)\]$").cast(pl.Int64)
    rows = table.with_columns(step=pl.lit(step), feature=feature)
    kept = rows.filter(pl.col("feature").is_not_null() & pl.col("effect").is_not_null())
    return kept.select(like.columns).cast(like.schema)
