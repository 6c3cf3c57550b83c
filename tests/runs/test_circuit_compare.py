"""Circuits of two runs side by side, against sets of their edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp_dsl.runs.circuit_compare import compare_edges, overlap
from interp_dsl.runs.circuit_table import KEY
from interp_dsl.runs.schema import score_table
from tests.runs.circuits import INDUCTION, table

Marks = st.lists(st.booleans(), min_size=len(INDUCTION), max_size=len(INDUCTION))


def kept(marks: list[bool], factor: float = 1.0) -> pl.DataFrame:
    """The edges of `INDUCTION`, some of them kept, their effects times a factor."""
    edges = [(*edge[:3], factor * (edge[3] or 0.0)) for edge in INDUCTION]
    return table(edges).with_columns(pl.Series("kept", marks))


@given(Marks, Marks)
def test_every_edge_that_either_keeps_stands_once(a: list[bool], b: list[bool]) -> None:
    found = compare_edges(kept(a), kept(b, 2.0))
    rows = {tuple(row[name] for name in KEY): row for row in found.iter_rows(named=True)}
    wanted = {
        edge[:3]: ("both" if ours and theirs else "a" if ours else "b", ours, theirs, edge[3])
        for edge, ours, theirs in zip(INDUCTION, a, b, strict=True)
        if ours or theirs
    }
    assert len(rows) == len(found) and rows.keys() == wanted.keys()
    for key, (side, ours, theirs, effect) in wanted.items():
        assert effect is not None
        assert rows[key]["kept"] == side
        assert rows[key]["a"] == (effect if ours else None)
        assert rows[key]["b"] == (2.0 * effect if theirs else None)
    alone = [row["kept"] != "both" for row in found.iter_rows(named=True)]
    assert alone == sorted(alone, reverse=True)
    sizes = [max(abs(r["a"] or 0), abs(r["b"] or 0)) for r in found.iter_rows(named=True)]
    for part in (sizes[: sum(alone)], sizes[sum(alone) :]):
        assert part == sorted(part, reverse=True)
    n = {side: sum(row[0] == side for row in wanted.values()) for side in ("both", "a", "b")}
    share = n["both"] / sum(n.values()) if wanted else 1.0
    assert overlap(found).endswith(f"{n['a']} in a alone, {n['b']} in b alone, Jaccard {share:.3f}")


def test_circuits_are_compared_by_threshold_and_position() -> None:
    marks = np.eye(2, len(INDUCTION), dtype=bool).tolist()
    held = [kept(m).with_columns(threshold=t) for m, t in zip(marks, (0.1, 0.2), strict=True)]
    found = compare_edges(pl.concat(held), pl.concat(held[::-1])).rows()
    assert [row[3:5] for row in found] == [(0.1, "both"), (0.2, "both")]
    (only,) = compare_edges(pl.concat(held), held[1]).rows()
    assert only[:5] == (*INDUCTION[1][:3], 0.2, "both")
    there = [kept(marks[0]).with_columns(position=pl.lit(name)) for name in ("S2", "END")]
    both, other = pl.concat(there), pl.concat([there[0], there[1].with_columns(kept=False)])
    assert compare_edges(both, other).select("position", "kept").rows() == [
        ("END", "a"),
        ("S2", "both"),
    ]


SCORES = score_table([{"unit": "L0H0", "metric": "gap", "value": 0.5}])
WHOLE = kept([True] * len(INDUCTION))


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (WHOLE, WHOLE[1:], "different graphs"),
        (WHOLE, WHOLE.with_columns(position=pl.lit("S2")), "different graphs"),
        (WHOLE, WHOLE.with_columns(threshold=0.1), "several circuits"),
        (WHOLE.with_columns(threshold=0.2), WHOLE.with_columns(threshold=0.1), "no threshold"),
        (WHOLE, SCORES, "with another"),
        (SCORES, WHOLE, "with another"),
    ],
)
def test_what_cannot_be_compared(first: Any, second: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        compare_edges(first, second)
