"""Circuits cut by threshold, their curves, searches turn by turn."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp_dsl.plan.algebra import Finding, FromRun, Metric, MetricCall, Run
from interp_dsl.plan.tasks import CircuitOf, EvaluateCircuit, Plan
from interp_dsl.runs.circuit import Circuit
from interp_dsl.runs.circuit_table import KEY
from interp_dsl.runs.cuts import MOST, Cut, curve, cuts, evaluations, faithfulness
from interp_dsl.runs.draw.canvas import canvas
from interp_dsl.runs.draw.shelves import shelves
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.schema import score_table
from interp_dsl.runs.turns import turns, undecided
from tests.runs.circuits import INDUCTION, by_chance, circuit, table
from tests.runs.recorded import WHEN

RUN = Run("m", "d", "clean")
GAP = Metric("gap", MetricCall("logit_diff"))


def evaluated(root: Path, thresholds: tuple[float, ...] = ()) -> RunFolder:
    """A run whose step `check` evaluates the circuits of its step `found`."""
    folder = RunFolder.create(root, "run", WHEN)
    task = EvaluateCircuit(
        "e", "check", CircuitOf("found", thresholds), RUN, FromRun(RUN),
        (Finding("faithfulness", GAP, "faithfulness"),), RUN,
    )  # fmt: skip
    folder.write_plan(Plan((task,)))
    return folder


def edges(found: Circuit) -> set[tuple[str, str, str]]:
    return set(found.edges.select(KEY).iter_rows())


# ---- cuts


@given(st.integers(1, 60), st.integers(0, 10**6))
def test_a_cut_keeps_the_edges_of_at_least_its_strength(n: int, seed: int) -> None:
    whole = by_chance(3, 4, n, seed)
    made = cuts({None: whole})
    held = {(s, t, c): abs(v) for s, t, c, v in whole.edges.select(*KEY, "effect").iter_rows()}
    assert edges(made[0].circuit) == edges(whole)
    for cut in made:
        assert cut.threshold is not None
        assert edges(cut.circuit) == {e for e, size in held.items() if size >= cut.threshold}
    assert [c.threshold for c in made] == sorted(set(held.values()))


def test_edges_without_a_strength_are_never_cut() -> None:
    found = cuts({None: circuit([*INDUCTION, ("L0H2", "logits", "logits", None)])})
    assert [cut.circuit.size for cut in found][:3] == [10, 9, 8]
    assert ("L0H2", "logits", "logits") in edges(found[-1].circuit)
    bare = table([("embed", "logits", "logits", None)])
    alone = circuit(bare.with_columns(score=pl.lit(None, dtype=pl.Float64)))
    assert cuts({None: alone}) == [Cut(None, alone)]


def test_a_large_circuit_has_no_more_cuts_than_a_line_has_places() -> None:
    whole = by_chance(12, 12, 1_000, 3)
    made = cuts({None: whole})
    assert len(made) == MOST
    assert made[0].circuit.size == 1_000 and made[-1].circuit.size == 1


def test_circuits_of_several_thresholds_are_the_cuts() -> None:
    held = {t: circuit(INDUCTION[:n], thresholds=(t,)) for t, n in ((0.5, 2), (0.1, 9))}
    assert [(c.threshold, c.circuit.size) for c in cuts(held)] == [(0.1, 9), (0.5, 2)]


# ---- curves


def rows(*found: tuple[str, str, float | None], **more: float) -> list[dict[str, object]]:
    return [
        {"unit": u, "position": "all", "metric": m, "value": v, "low": v, "high": v, **more}
        for u, m, v in found
    ]


def test_faithfulness_by_threshold(tmp_path: Path) -> None:
    folder = evaluated(tmp_path, (0.1, 0.5))
    found = [
        *rows(("circuit", "faithfulness", 0.5), ("circuit", "gap", 7.0), threshold=0.5),
        *rows(("circuit", "faithfulness", 0.9), ("circuit", "gap", 9.0), threshold=0.1),
    ]
    folder.write_table("check", score_table(found, {"threshold": "number"}))
    held = {t: circuit(INDUCTION, thresholds=(t,)) for t in (0.1, 0.5)}
    drawn = curve(folder, "found", cuts(held))
    assert [(p.x, p.y) for p in drawn.points] == [(0.1, 0.9), (0.5, 0.5)]
    assert (drawn.x, drawn.y, drawn.source) == ("threshold", "faithfulness", "check")
    point = faithfulness(folder, "found", 0.5)
    assert point is not None and point.y == 0.5


def test_faithfulness_by_size(tmp_path: Path) -> None:
    folder = evaluated(tmp_path)
    sizes = (("0.1%", 0.0), ("50%", 0.75), ("100%", 1.0))
    found = rows(("circuit", "faithfulness", 0.9), ("circuit", "cpr", 0.8))
    found += rows(*((unit, "cpr", value) for unit, value in sizes))
    folder.write_table("check", score_table(found))
    drawn = curve(folder, "found", cuts({None: circuit(INDUCTION)}))
    assert [(p.x, p.y) for p in drawn.points] == [(0.001, 0.0), (0.5, 0.75), (1.0, 1.0)]
    assert drawn.x == "share of edges"


def test_without_an_evaluation_the_curve_counts_edges(tmp_path: Path) -> None:
    folder = evaluated(tmp_path)
    assert evaluations(folder, "found") == []  # planned, not yet done
    made = cuts({None: circuit(INDUCTION)})
    drawn = curve(folder, "found", made)
    sizes = sorted(abs(effect or 0) for *_, effect in INDUCTION)
    assert [(p.x, p.y) for p in drawn.points] == [(x, 9 - i) for i, x in enumerate(sizes)]
    assert faithfulness(folder, "found", None) is None


def test_an_evaluation_of_other_circuits_says_nothing_of_these(tmp_path: Path) -> None:
    folder = evaluated(tmp_path)
    folder.write_table("check", score_table(rows(("circuit", "faithfulness", 0.9))))
    assert evaluations(folder, "another") == []
    assert evaluations(folder, "found") == ["check"]


# ---- turns


def test_turns_are_the_edges_by_their_order() -> None:
    held = table(INDUCTION[:4]).with_columns(
        order=pl.Series([2, 0, 0, None]), kept=pl.Series([True, False, True, True])
    )
    found = turns(held)
    assert [(t.order, len(t.judged), t.kept, t.out) for t in found] == [(0, 2, 1, 1), (2, 1, 2, 1)]
    assert [one.edge for one in found[0].judged] == [e[:3] for e in INDUCTION[1:3]]
    assert undecided(found, 0) == {INDUCTION[0][:3]} and undecided(found, 1) == frozenset()


def test_a_search_without_an_order_has_no_turns() -> None:
    held = table(INDUCTION).with_columns(order=pl.lit(None, dtype=pl.Int64))
    assert turns(held) == []


# ---- drawings that know their edges


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 32), st.integers(0, 10**6))
def test_every_edge_has_a_line_that_leads_from_its_sender_to_its_reader(
    n_layers: int, n_heads: int, n_edges: int, seed: int
) -> None:
    """The cells that serve an edge hang together, from below its reader to above its sender."""
    found = by_chance(n_layers, n_heads, n_edges, seed, used=0.6)
    drawn = canvas(found, 1_000)
    assert drawn is not None
    held: dict[tuple[str, str, str], set[tuple[int, int]]] = {}
    for y, line in enumerate(drawn.lines):
        for x, cell in enumerate(line):
            for edge in cell.edges:
                held.setdefault(edge, set()).add((y, x))
    assert held.keys() == edges(found)
    for (source, target, _), cells in held.items():
        start, column = drawn.places[source]
        assert {(start - 1, column)} <= cells
        top = min(y for y, _ in cells)
        below = [cell.node for cell in drawn.lines[top - 1]]
        ports = {below[x] for y, x in cells if y == top}
        assert target in ports
        assert max(y for y, _ in cells) == start - 1


@pytest.mark.parametrize("width", [40, 80])
def test_shelves_hold_every_node_once(width: int) -> None:
    found = by_chance(12, 12, 400, 5)
    drawn = shelves(found, width)
    assert sorted(name for row in drawn.rows for name in row) == sorted(found.nodes)
    assert drawn.width <= width
    text = drawn.text()
    for name, (line, column) in drawn.places.items():
        assert text[line][column : column + len(name)] == name
    assert drawn.rows[0] == ("logits",) and "embed" in drawn.rows[-1]
