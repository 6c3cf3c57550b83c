"""What the steps of a run say of single tokens: scores of units at positions, laid on the tokens of
a prompt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interp_dsl.runs.prompts import Prompt
from interp_dsl.runs.rank import metrics, ranking_column
from interp_dsl.runs.schema import is_score_table

if TYPE_CHECKING:
    import polars as pl

ANY = "any unit"


@dataclass(frozen=True, slots=True)
class Overlay:
    """One thing to lay on the tokens: a step's metric, and a unit of it or (ANY) of every position
    the unit with the largest effect."""

    step: str
    metric: str
    unit: str = ANY


@dataclass(frozen=True, slots=True)
class Effect:
    """`value` is a mean over `n` examples, or one example's own where that is None; `unit` had it
    at `position`."""

    value: float
    unit: str
    position: str
    n: int | None


def overlays(tables: Mapping[str, pl.DataFrame], prompts: Iterable[Prompt]) -> list[Overlay]:
    """The overlays of those steps, by their tables, whose positions some prompt has: those of ANY
    unit first, then those of single units."""
    held, found = list(prompts), []
    for step, table in tables.items():
        if not is_score_table(table):
            continue
        positions = table["position"].drop_nulls().unique().to_list()
        here = [p for p in positions if any(prompt.tokens_at(p) for prompt in held)]
        if not here:
            continue
        placed = table.filter(table["position"].is_in(here))
        units = placed["unit"].unique(maintain_order=True).to_list()
        for metric in metrics(placed):
            several = [ANY, *units] if len(units) > 1 else units
            found += [Overlay(step, metric, unit) for unit in several]
    return sorted(found, key=lambda overlay: overlay.unit != ANY)


def effects(table: pl.DataFrame, overlay: Overlay, prompt: Prompt) -> dict[int, Effect]:
    """The effect at every token of a prompt where the overlay has one, the largest where several
    positions hold it."""
    import polars as pl

    column = ranking_column(table)
    rows = table.filter((pl.col("metric") == overlay.metric) & pl.col(column).is_not_null())
    if overlay.unit != ANY:
        rows = rows.filter(pl.col("unit") == overlay.unit)
    found: dict[int, Effect] = {}
    for unit, position, value, n in rows.select("unit", "position", column, "n").iter_rows():
        for token in prompt.tokens_at(position):
            if token not in found or abs(value) > abs(found[token].value):
                found[token] = Effect(value, unit, position, n)
    return found
