"""A search as it went: which edges were judged in which turn, by the `order` of its edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from interp_dsl.runs.circuit_table import KEY, POSITION

if TYPE_CHECKING:
    import polars as pl

Edge = tuple[str, str, str]


@dataclass(frozen=True)
class Judged:
    """An edge in its turn, with what the search knew of it."""

    edge: Edge
    kept: bool
    effect: float | None
    score: float | None
    margin: float | None
    evaluated: bool
    position: str = "all"


@dataclass(frozen=True)
class Turn:
    """The edges of one turn; `kept` and `out`, of all, after it."""

    order: int
    judged: tuple[Judged, ...]
    kept: int
    out: int


def turns(table: pl.DataFrame) -> list[Turn]:
    """The turns of an edge table, in order; none where the edges had no order."""
    rows = table.drop_nulls("order").sort("order", maintain_order=True).iter_rows(named=True)
    found: list[Turn] = []
    kept = out = 0
    for order, part in groupby(rows, key=itemgetter("order")):
        judged = tuple(map(_judged, part))
        kept += sum(one.kept for one in judged)
        out += sum(not one.kept for one in judged)
        found.append(Turn(order, judged, kept, out))
    return found


def undecided(found: Sequence[Turn], at: int) -> frozenset[Edge]:
    """The edges that were still to be judged after turn number `at` of the list."""
    return frozenset(one.edge for turn in found[at + 1 :] for one in turn.judged)


def _judged(row: dict[str, Any]) -> Judged:
    source, target, channel = (str(row[name]) for name in KEY)
    return Judged(
        (source, target, channel),
        row["kept"],
        row["effect"],
        row["score"],
        row["margin"],
        row["evaluated"],
        row.get(POSITION, "all"),
    )
