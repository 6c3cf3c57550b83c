"""Edge tables as they are shown, and where a run's folder has the circuits of its steps."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from interp_dsl.language.diagnostics import InterpError
from interp_dsl.runs.circuit_file import circuit_path, circuit_paths, circuits_of
from interp_dsl.runs.circuit_rows import is_edge_table
from interp_dsl.runs.schema import score_table
from interp_dsl.runs.select import Selection, columns_of, select
from interp_dsl.runs.text import layout

from .circuits import INDUCTION, circuit, table

TABLE = pl.concat([table(INDUCTION), table([("embed", "L0H3", "q", 2.0)], kept=False)])


def test_kept_edges_are_shown_the_strongest_first() -> None:
    rows, what = select(TABLE, "circuit", Selection(3))
    assert what == "9 of 10 edges by |effect|"
    assert layout(columns_of(rows.head(3))) == [
        "edge              effect    score   margin  order",
        "L1H1 -> logits   +0.9100  +0.5000  +0.9100      0",
        "L0H2 -> L1H1.k   +0.7500  +0.5000  +0.7500      4",
        "embed -> L0H2.v  +0.4000  +0.5000  +0.4000      5",
    ]


def test_kept_edges_by_another_column() -> None:
    rows, what = select(TABLE, "circuit", Selection(by="order"))
    assert rows["order"].to_list() == list(range(9))
    assert what.endswith("by |order|")
    with pytest.raises(InterpError) as caught:
        select(TABLE, "circuit", Selection(by="efect"))
    assert caught.value.diagnostics[0].code == "E707"


def test_circuits_of_several_thresholds_are_shown_one_after_another() -> None:
    both = pl.concat([TABLE.with_columns(threshold=t) for t in (0.2, 0.1)])
    rows, what = select(both, "curve", Selection())
    assert what == "2 circuits with 18 edges, of 10 edges each, by |effect|"
    assert rows["threshold"].to_list() == [0.1] * 9 + [0.2] * 9
    assert layout(columns_of(rows.head(1)))[1].split()[3] == "0.1"


def test_edges_without_effects_are_ranked_by_score() -> None:
    scored = TABLE.with_columns(effect=None, order=None, margin=None)
    rows, what = select(scored, "circuit", Selection())
    assert what.endswith("by |score|")
    assert [c.name for c in columns_of(rows)] == ["edge", "score"]


def test_score_tables_are_no_edge_tables() -> None:
    assert is_edge_table(TABLE)
    assert not is_edge_table(score_table([]))


def test_a_step_has_one_circuit_or_one_a_threshold(tmp_path: Path) -> None:
    assert circuits_of(tmp_path, "found") == {}
    one = circuit(INDUCTION)
    one.save(circuit_path(tmp_path, "found"))
    assert circuits_of(tmp_path, "found") == {None: one}
    for threshold in (0.5, 1e-05, 0.05):
        held = circuit(INDUCTION, thresholds=(threshold,))
        held.save(circuit_path(tmp_path, "curve", threshold))
    circuit(INDUCTION).save(circuit_path(tmp_path, "curve_2"))
    assert list(circuits_of(tmp_path, "curve")) == [1e-05, 0.05, 0.5]
    assert all(c.thresholds == (t,) for t, c in circuits_of(tmp_path, "curve").items())
    assert [p.name for p in circuit_paths(tmp_path, "curve")] == [
        "curve-0.05.circuit.json",
        "curve-0.5.circuit.json",
        "curve-1e-05.circuit.json",
    ]
