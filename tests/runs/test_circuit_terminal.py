"""Circuits as text: drawings are read off again along their lines, lists word by word."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interp_dsl.language.cells import cells
from interp_dsl.runs.circuit import Fingerprint, GraphSize
from interp_dsl.runs.draw.adjacency import adjacency
from interp_dsl.runs.draw.terminal import drawing, terminal
from interp_dsl.runs.draw.tracks import Net, track_lines
from tests.runs.circuits import INDUCTION, by_chance, circuit, table
from tests.runs.drawn import edges_of

INDUCTION_DRAWN = """\
    logits
      ├───╮
     ╭╯   │
  L1.mlp  │
    ╰───┬─╯
       L1H1
      q k v
  ╭───┴─│─╯
  │    L0H2
  │   q k v
  │   ╰─┴─│──╮
  ├───────╯  │
embed    pos_embed"""


def test_the_drawing_of_an_induction_circuit() -> None:
    assert drawing(circuit(INDUCTION), 80) == INDUCTION_DRAWN.split("\n")
    assert edges_of(INDUCTION_DRAWN.split("\n")) == {edge[:3] for edge in INDUCTION}


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 32), st.integers(0, 10**6))
@settings(max_examples=200, deadline=None)
def test_a_drawing_shows_the_edges_and_no_others(
    n_layers: int, n_heads: int, n_edges: int, seed: int
) -> None:
    found = by_chance(n_layers, n_heads, n_edges, seed, used=0.6)
    lines = drawing(found, 120)
    if lines is None:
        assert drawing(found, 1000) is not None
        return
    assert max(map(cells, lines)) <= 120
    assert edges_of(lines) == set(found.edges.select("source", "target", "channel").iter_rows())


def test_queries_keys_and_values_as_one() -> None:
    edges = [("embed", "L0H0", "attn", 1.0), ("L0H0", "logits", "logits", 1.0)]
    lines = drawing(circuit(edges), 80)
    assert lines is not None
    assert edges_of(lines) == {edge[:3] for edge in edges}


def test_tracks_share_a_line_where_they_do_not_touch() -> None:
    assert track_lines([Net(0, (2,)), Net(4, (6,))], 7) == ["╭─╯ ╭─╯"]
    assert track_lines([Net(0, (4,)), Net(2, (2,))], 5) == ["╭─│─╯"]
    assert track_lines([Net(0, (2,)), Net(4, (2,))], 5) == ["  ├─╮", "╭─╯ │"]


def test_large_circuits_and_narrow_terminals_get_lists() -> None:
    large, small = by_chance(12, 12, 200, 0), circuit(INDUCTION)
    assert terminal(large, 100)[3:] == adjacency(large, 100)
    assert terminal(small, 12)[3:] == adjacency(small, 12)
    assert terminal(small, 80)[3 : 3 + 13] == INDUCTION_DRAWN.split("\n")
    assert terminal(small, 80)[:2] == ["acdc on ioi-3l · ioi · kl", "9 of 305 edges, 6 nodes"]
    assert terminal(circuit([]), 80)[3:] == ["no edges"]


@pytest.mark.parametrize("width", [40, 80, 120])
def test_lists_name_every_edge_under_its_reader(width: int) -> None:
    found = by_chance(12, 12, 200, 1)
    lines = adjacency(found, width)
    assert max(map(len, lines)) <= width
    read, target, channel = [], "", ""
    for line in lines[1:]:
        head, arrow, rest = line.rpartition("←")
        if arrow:
            words = head.split()
            if words and not line.startswith(" "):
                target = words.pop(0)
            channel = words[0] if words else "mlp" if "mlp" in target else "logits"
        names = rest.split()[::2]
        read += [(name, target, channel) for name in names]
    edges = set(found.edges.select("source", "target", "channel").iter_rows())
    assert len(read) == len(edges) and set(read) == edges


def test_long_lists_are_cut_and_say_so() -> None:
    edges = [(f"L{i}H{j}", "logits", "logits", i + j / 10) for i in range(3) for j in range(4)]
    lines = adjacency(circuit([*edges, ("embed", "logits", "logits", -9.0)]), 80, most=2)
    assert [line.partition("← ")[2] for line in lines[1:]] == [
        "embed -9.000  L2H3 +2.300  and 11 more"
    ]
    assert any("more" in line for line in terminal(by_chance(6, 8, 5000, 0, used=1.0), 80))


def test_lists_begin_with_the_logits_and_the_strongest() -> None:
    lines = adjacency(circuit(INDUCTION), 80)
    assert lines[1].split() == ["logits", "←", "L1H1", "+0.9100", "L1.mlp", "-0.1200"]
    assert [line.split()[0] for line in lines[1:3]] == ["logits", "L1.mlp"]


def test_direct_edges_stand_below_the_drawing_and_in_the_lists() -> None:
    found = circuit([("embed", "L0H0", "q", 1.0), *((f"L0H{i}",) * 2 + ("q", 1.0) for i in (0, 1))])
    assert terminal(found, 80)[-1] == "direct edges: L0H0 q, L0H1 q"
    assert any("direct +1.000" in line for line in adjacency(found, 80))


def test_positions_stand_below_the_drawing_and_in_the_lists() -> None:
    places = ["END", "END", "S1", "S2", "S2", "END", "END", "\x1b[2J", "END"]
    held = table(INDUCTION).with_columns(pl.Series("position", places))
    lines = terminal(circuit(held), 60)
    assert INDUCTION_DRAWN in "\n".join(lines)
    at = lines.index("one line for all positions of an edge:")
    assert lines[at + 1 :] == [
        "at END: L1H1 -> logits, L1.mlp -> logits, embed -> L0H2.v,",
        "  pos_embed -> L0H2.q, L1H1 -> L1.mlp",
        "at S1: embed -> L1H1.v",
        "at S2: embed -> L1H1.q, L0H2 -> L1H1.k",
        "at ␛[2J: pos_embed -> L0H2.k",
    ]
    listed = "\n".join(terminal(circuit(held), 60, most=3))
    assert "embed at S1 +0.330" in listed and "\x1b" not in listed
    assert "one line for all" not in "\n".join(terminal(circuit(INDUCTION), 60))


def test_names_do_not_steer_the_terminal() -> None:
    found = circuit(INDUCTION, model=Fingerprint("a\x1b[2J\nb", ""), graph=GraphSize(3, 4, 305))
    assert all(line.isprintable() for line in terminal(found, 80))
