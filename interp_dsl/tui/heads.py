"""Which heads a run speaks of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from interp_dsl.runs.prompts import Head
from interp_dsl.runs.rank import metrics, ranked
from interp_dsl.runs.schema import is_score_table

if TYPE_CHECKING:
    import polars as pl


def heads_of(tables: Iterable[pl.DataFrame]) -> set[Head]:
    """The heads that have scores in some table."""
    found: set[Head] = set()
    for table in tables:
        if is_score_table(table):
            held = table.select("layer", "head").drop_nulls().unique()
            found |= {(layer, head) for layer, head in held.iter_rows()}
    return found


def strongest_head(tables: Iterable[pl.DataFrame]) -> Head | None:
    """The head that the first table with effects of heads puts first."""
    for table in tables:
        if is_score_table(table):
            held = ranked(table, metrics(table)[0], "effect").drop_nulls(
                ["layer", "head", "effect"]
            )
            if len(held):
                return held["layer"][0], held["head"][0]
    return None


def head_of(unit: str | None) -> Head | None:
    """The head that a unit such as `L9H6.k` is, or is part of."""
    found = re.match(r"L(\d+)H(\d+)(?:\.\w+)?$", unit or "")
    return (int(found[1]), int(found[2])) if found else None


def nearest(heads: Sequence[Head], wanted: Head | None) -> Head | None:
    """The wanted head where it is among `heads`, else the one closest to it; without a wish the
    first."""
    if not heads or wanted is None:
        return heads[0] if heads else None
    layer, head = wanted
    return min(heads, key=lambda h: (abs(h[0] - layer), abs(h[1] - head)))
