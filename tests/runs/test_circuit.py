"""Circuits: their edges and nodes, what cannot be one, circuits as sets."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.runs.circuit import Circuit, Fingerprint, GraphSize
from interp_dsl.runs.circuit_table import EDGE_COLUMNS, KEY
from tests.runs.circuits import INDUCTION, by_chance, circuit, table

SMALL = GraphSize(3, 4, 305)
EVERY = by_chance(3, 4, 10_000, 0, used=1.0).table


def fails(code: str, *said: str) -> Any:
    """Expects an InterpError of one diagnostic with these words in it."""

    class Expecting:
        def __enter__(self) -> None:
            self.raises = pytest.raises(InterpError)
            self.caught = self.raises.__enter__()

        def __exit__(self, *exc: Any) -> bool:
            self.raises.__exit__(*exc)
            (found,) = self.caught.value.diagnostics
            assert found.code == code, found
            text = words(found)
            assert all(word in text for word in said), text
            return True

    return Expecting()


def words(found: Diagnostic) -> str:
    return "\n".join([found.message, *found.notes, found.help or ""])


def keys(held: pl.DataFrame) -> set[tuple[str, str, str]]:
    return set(held.select(KEY).iter_rows())


# ** one circuit **


def test_edges_heads_and_nodes_are_those_of_what_is_kept() -> None:
    left_out = table([("L2H3", "logits", "logits", 0.001)], kept=False)
    found = circuit(pl.concat([table(INDUCTION), left_out]))
    assert found.size == len(found.edges) == 9
    assert len(found.table) == 10
    assert found.table.columns == list(EDGE_COLUMNS)
    assert found.nodes == ["embed", "pos_embed", "L0H2", "L1H1", "L1.mlp", "logits"]
    assert found.heads == ["L0H2", "L1H1"]


def test_heads_come_in_the_order_of_their_numbers() -> None:
    edges = [(f"L{i}H{j}", "logits", "logits", 1.0) for i, j in ((10, 2), (2, 11), (2, 3), (0, 0))]
    assert circuit(edges, GraphSize(12, 12, 32_491)).heads == ["L0H0", "L2H3", "L2H11", "L10H2"]


def test_a_circuit_may_be_empty() -> None:
    empty = circuit([])
    assert (empty.size, empty.nodes, empty.heads) == (0, [], [])


def test_numbers_that_are_nan_were_not_measured() -> None:
    held = circuit([("embed", "logits", "logits", math.nan)])
    assert held.table["effect"].to_list() == [None]


def test_circuits_are_equal_by_what_they_hold() -> None:
    assert circuit(INDUCTION) == circuit(INDUCTION)
    assert circuit(INDUCTION) != circuit(INDUCTION[:-1])
    assert circuit(INDUCTION) != circuit(INDUCTION, metric="gap")


@pytest.mark.parametrize(
    ("edge", "said"),
    [
        (("embed", "L0H4", "q", 0.0), ("edges[1].target: L0H4", "heads 0..3")),
        (("L3H0", "logits", "logits", 0.0), ("edges[1].source: L3H0", "layers 0..2")),
        (("L01H0", "logits", "logits", 0.0), ("edges[1].source: L01H0 is no node",)),
        (("a\x1b[2J", "logits", "logits", 0.0), ("edges[1].source: a␛[2J is no node",)),
        (("L1H0", "L0H1", "q", 0.0), ("edges[1]: L1H0 does not run before L0H1",)),
        (("L1H0", "L1H1", "q", 0.0), ("edges[1]: L1H0 does not run before L1H1",)),
        (("L1.mlp", "L1.mlp", "mlp", 0.0), ("edges[1]: L1.mlp does not run before L1.mlp",)),
        (("L1.mlp", "L1H0", "v", 0.0), ("edges[1]: L1.mlp does not run before L1H0",)),
        (("embed", "L1H1", "mlp", 0.0), ("edges[1]: L1H1 does not read through mlp", "q k v attn")),
        (("embed", "L1.mlp", "q", 0.0), ("edges[1]: L1.mlp does not read through q",)),
        (("embed", "pos_embed", "q", 0.0), ("edges[1]: nothing leads to pos_embed",)),
        (("logits", "logits", "logits", 0.0), ("edges[1]: logits does not run before logits",)),
    ],
)
def test_what_cannot_be_an_edge(edge: tuple[str, str, str, float], said: tuple[str, ...]) -> None:
    with fails("E723", *said):
        circuit([("embed", "logits", "logits", 1.0), edge])


def test_an_mlp_reads_the_heads_of_its_layer_and_a_head_may_have_a_direct_edge() -> None:
    found = circuit([("L1H0", "L1.mlp", "mlp", 1.0), ("L1H0", "L1H0", "k", 1.0)])
    assert found.size == 2


def test_an_edge_stands_once() -> None:
    with fails("E724", "edges[9]: L0H2 -> L1H1 (k) stands twice", "it is edges[4] too"):
        circuit([*INDUCTION, INDUCTION[4]])


def test_tables_have_the_columns_of_edges() -> None:
    held = table(INDUCTION)
    with fails("E722", "no column is called efect", "did you mean effect?"):
        circuit(held.rename({"effect": "efect"}))
    with fails("E722", "there is no column margin"):
        circuit(held.drop("margin"))
    with fails("E722", "wrong type"):
        circuit(held.with_columns(order=pl.lit("first")))
    with fails("E722", "edges[0].kept is missing"):
        circuit(held.with_columns(kept=pl.lit(None)))
    with fails("E722", "edges[0].effect is infinite"):
        circuit(held.with_columns(effect=pl.lit(math.inf)))
    with fails("E722", "edges[0].order is -1"):
        circuit(held.with_columns(order=pl.lit(-1)))


def test_a_graph_has_at_least_the_edges_of_the_circuit() -> None:
    with fails("E722", "graph.n_edges is 8", "there are 9 edges"):
        circuit(INDUCTION, GraphSize(3, 4, 8))


# ** sets of edges **


@st.composite
def circuits(draw: st.DrawFn) -> Circuit:
    """Circuits over one graph that each looked at a part of its edges and kept a part of these."""
    chosen = draw(st.lists(st.integers(0, 29), unique=True))
    kept = [draw(st.booleans()) for _ in chosen]
    effects = [draw(st.sampled_from([-1.5, 0.25, None])) for _ in chosen]
    rows = EVERY[chosen].with_columns(
        kept=pl.Series(kept, dtype=pl.Boolean), effect=pl.Series(effects, dtype=pl.Float64)
    )
    return circuit(rows, SMALL)


@given(circuits(), circuits(), circuits())
def test_circuits_keep_the_laws_of_sets(a: Circuit, b: Circuit, c: Circuit) -> None:
    ours, theirs = keys(a.edges), keys(b.edges)
    assert keys((a | b).edges) == ours | theirs
    assert keys((a & b).edges) == ours & theirs
    assert keys((a - b).edges) == ours - theirs
    assert keys((a | b).table) == keys(a.table) | keys(b.table)
    assert keys(((a | b) - c).edges) == keys(((a - c) | (b - c)).edges)
    assert (a | a).table.equals(a.table)
    assert (a - a).size == 0


@given(circuits(), circuits())
def test_a_diff_is_what_each_has_alone_and_what_both_have(a: Circuit, b: Circuit) -> None:
    found = a.diff(b)
    ours, theirs = keys(a.edges), keys(b.edges)
    assert keys(found.only_left) == ours - theirs
    assert keys(found.only_right) == theirs - ours
    assert keys(found.both) == ours & theirs
    assert found.jaccard == (len(ours & theirs) / len(ours | theirs) if ours | theirs else 1.0)
    for row in found.both.iter_rows(named=True):
        for side, value in ((a, row["effect_left"]), (b, row["effect_right"])):
            edge = side.edges.filter(**{name: row[name] for name in KEY})
            assert edge["effect"].to_list() == [value]


def test_numbers_are_of_the_circuit_that_keeps_the_edge() -> None:
    left = circuit(pl.concat([table(INDUCTION[:1]), table([INDUCTION[1]], kept=False)]))
    right = circuit([(*edge[:3], 7.0) for edge in INDUCTION[:3]])
    assert (left | right).edges["effect"].to_list() == [0.91, 7.0, 7.0]
    assert (left & right).edges["effect"].to_list() == [0.91]
    assert (right - left).edges["effect"].to_list() == [7.0, 7.0]


def test_a_union_says_where_it_comes_from_and_what_both_share() -> None:
    other = Fingerprint("greater-than", "ef" * 32)
    found = circuit(INDUCTION[:2]) | circuit(INDUCTION[2:], data=other, thresholds=(0.1,))
    assert (found.metric, found.ablation, found.data) == ("kl", "ioi.corrupt", None)
    assert found.method.name == "union"
    assert found.method.options["right"]["thresholds"] == [0.1]
    assert found.method.options["left"]["name"] == "acdc"


def test_circuits_of_different_graphs_are_no_sets_of_the_same() -> None:
    ours = circuit(INDUCTION)
    for theirs, said in (
        (replace(ours, graph=GraphSize(4, 4, 305)), "layers: 3 and 4"),
        (replace(ours, graph=GraphSize(3, 4, 341)), "edges: 305 and 341"),
        (replace(ours, model=Fingerprint("ioi-3l", "ba" * 32)), "model: abab"),
    ):
        with fails("E725", said):
            ours.diff(theirs)
        with fails("E725", said):
            _ = ours | theirs
