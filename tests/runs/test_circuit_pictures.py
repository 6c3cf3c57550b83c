"""Pictures of circuits: places, SVG, DOT, GraphML; names that would break out of them."""

from __future__ import annotations

import re
from itertools import combinations, pairwise
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interp_dsl.plan.names import edge_name
from interp_dsl.runs.circuit import Circuit, Fingerprint, GraphSize, Method
from interp_dsl.runs.draw.curves import Obstacles, route
from interp_dsl.runs.draw.formats import quoted
from interp_dsl.runs.draw.layout import crossings, lay_out, spread
from tests.runs.circuits import INDUCTION, by_chance, circuit, table

SVG = "{http://www.w3.org/2000/svg}"
ML = "{http://graphml.graphdrawing.org/xmlns}"
HOSTILE = st.text(st.characters(codec=None), max_size=30) | st.sampled_from(
    [
        "</title><script>alert(1)</script>",
        '" onload="x',
        "]]>",
        "a\\",
        '\\"',
        "\0\x0b\ud800",
        "&amp;",
    ]
)
SIZES = [(2, 4, 5), (4, 8, 40), (12, 12, 300)]


# ** places **


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=8))
def test_places_are_the_nearest_that_are_apart(wanted: list[float]) -> None:
    """No other places a unit apart are nearer: so says every point tried on the way to them, as the
    distance is convex."""
    found = np.array(spread(wanted))
    assert (np.diff(found) >= 1 - 1e-9).all()
    target = np.array(wanted)
    for other in (
        np.arange(len(wanted)) * 1.0,
        np.maximum.accumulate(target - np.arange(len(wanted))) + np.arange(len(wanted)),
        target.mean() + np.arange(len(wanted)) - (len(wanted) - 1) / 2,
    ):
        assert (found - target) @ (other - found) >= -1e-6


def test_places_that_are_apart_stay() -> None:
    assert spread([0.0, 3.0, 4.5]) == [0.0, 3.0, 4.5]
    assert spread([0.0, 0.0]) == [-0.5, 0.5]
    assert spread([5.0, 0.0], [0, 4]) == [0.5, 4.5]


@given(st.permutations(range(4)), st.permutations(range(4)))
def test_crossings_of_two_rows_are_inversions(lower: list[int], upper: list[int]) -> None:
    x = {f"a{i}": float(place) for i, place in enumerate(lower)}
    x |= {f"b{i}": float(place) for i, place in enumerate(upper)}
    height = {name: int(name[0] == "b") for name in x}
    inversions = sum(
        (lower[i] - lower[j]) * (upper[i] - upper[j]) < 0 for i, j in combinations(range(4), 2)
    )
    assert crossings([(f"a{i}", f"b{i}") for i in range(4)], x, height) == inversions


@pytest.mark.parametrize(("n_layers", "n_heads", "n_edges"), SIZES)
def test_rows_follow_the_order_in_which_nodes_run(
    n_layers: int, n_heads: int, n_edges: int
) -> None:
    found = by_chance(n_layers, n_heads, n_edges, 1)
    layout = lay_out(found)
    row = layout.row
    assert set(row) == set(layout.x) == set(found.nodes)
    assert all(row[s] < row[t] for s, t in found.edges.select("source", "target").iter_rows())
    for names in layout.rows:
        assert (
            len({(layout.nodes[n].kind in ("head", "mlp"), layout.nodes[n].layer) for n in names})
            == 1
        )
        places = [layout.x[name] for name in names]
        assert all(b - a >= 1 - 1e-9 for a, b in pairwise(places))
    assert min(layout.x.values()) == 0


def test_the_sweeps_uncross_what_can_be_uncrossed() -> None:
    edges = [("L0H0", "L1H3", "q", 1.0), ("L0H1", "L1H2", "q", 1.0), ("L0H2", "L1H1", "q", 1.0)]
    layout = lay_out(circuit([*edges, ("L0H3", "L1H0", "q", 1.0)]))
    pairs = [(s, t) for s, t, _, _ in edges]
    assert crossings(pairs, layout.x, layout.row) == 0


def test_a_curve_bows_around_what_stands_in_its_way() -> None:
    box = Obstacles(50.0, np.array([-20.0]), np.array([20.0]))
    straight = route((0.0, 100.0), (0.0, 0.0), [], 80.0)
    bowed = route((0.0, 100.0), (0.0, 0.0), [box], 80.0)
    assert straight.span == (0.0, 0.0)
    assert max(map(abs, bowed.span)) > 20
    assert bowed.points[0] == (0.0, 100.0)
    assert bowed.points[-1] == (0.0, 0.0)


# ** SVG **


def parsed(found: Circuit, most: int = 300) -> ElementTree.Element:
    return ElementTree.fromstring(found.to_svg(most))


def curves(picture: ElementTree.Element) -> list[ElementTree.Element]:
    return [p for p in picture.iter(f"{SVG}path") if p.find(f"{SVG}title") is not None]


def said(element: ElementTree.Element) -> str:
    return element.findtext(f"{SVG}title") or ""


@pytest.mark.parametrize(("n_layers", "n_heads", "n_edges"), SIZES)
def test_every_edge_is_drawn_once_and_every_node_named(
    n_layers: int, n_heads: int, n_edges: int
) -> None:
    found = by_chance(n_layers, n_heads, n_edges, 2)
    picture = parsed(found)
    drawn = [said(curve).rpartition(" ")[0] for curve in curves(picture)]
    edges = found.edges.select("source", "target", "channel").iter_rows()
    assert sorted(drawn) == sorted(edge_name(*edge) for edge in edges)
    words = [text.text for text in picture.iter(f"{SVG}text")]
    assert set(found.nodes) <= set(words)
    assert f"{n_edges} of 32,491 edges, {len(found.nodes)} nodes" in words


def test_everything_drawn_lies_on_the_page() -> None:
    for n_layers, n_heads, n_edges in SIZES:
        picture = parsed(by_chance(n_layers, n_heads, n_edges, 3))
        _, _, width, height = map(float, picture.get("viewBox", "").split())
        group = picture.find(f"{SVG}g")
        assert group is not None
        shift = float(group.get("transform", "")[len("translate(") :].split()[0])
        for box in group.iter(f"{SVG}rect"):
            left, top = shift + float(box.get("x", "")), float(box.get("y", ""))
            assert 0 <= left <= width - float(box.get("width", ""))
            assert 0 <= top <= height - float(box.get("height", ""))
        t = np.linspace(0, 1, 50)
        weights = np.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
        for curve in curves(group):
            numbers = [float(n) for n in re.findall(r"-?[\d.]+", curve.get("d", ""))]
            x = shift + np.array(numbers[::2]) @ weights
            assert (x >= 0).all() and (x <= width).all()


def test_signs_are_told_by_colour_and_by_dashes_and_strength_by_width() -> None:
    edges = [
        ("embed", "L0H0", "q", 2.0),
        ("embed", "L0H1", "q", -1.0),
        ("embed", "L0H2", "q", None),
    ]
    strokes = {said(c).split()[2]: c for c in curves(parsed(circuit(edges)))}
    up, down, none = (strokes[f"L0H{i}.q"] for i in range(3))
    assert len({c.get("stroke") for c in (up, down, none)}) == 3
    assert len({c.get("stroke-dasharray") for c in (up, down, none)}) == 3
    assert float(up.get("stroke-width", "")) > float(down.get("stroke-width", ""))
    words = {text.text for text in parsed(circuit(edges)).iter(f"{SVG}text")}
    assert {"effect > 0", "effect < 0", "effect 0 or not known", "|effect| 2"} <= words


def test_an_edge_enters_a_head_at_the_letter_of_its_channel() -> None:
    picture = parsed(circuit([("embed", "L0H0", c, 1.0) for c in "qkv"]))
    ends = {
        said(c).split()[2][-1]: re.findall(r"-?[\d.]+", c.get("d", ""))[-2] for c in curves(picture)
    }
    letters = {t.text: t.get("x") for t in picture.iter(f"{SVG}text") if t.text in ("q", "k", "v")}
    assert ends == letters
    assert len(set(ends.values())) == 3


def test_of_many_edges_the_strongest_are_drawn_and_the_picture_says_so() -> None:
    found = by_chance(4, 8, 60, 4)
    picture = parsed(found, most=10)
    strongest = found.edges.sort(pl.col("effect").abs(), descending=True).head(10)
    assert {said(c).rpartition(" ")[0] for c in curves(picture)} == {
        edge_name(*edge) for edge in strongest.select("source", "target", "channel").iter_rows()
    }
    assert any("the strongest 10 drawn" in (t.text or "") for t in picture.iter(f"{SVG}text"))


def test_scores_stand_in_where_there_are_no_effects() -> None:
    held = table([(*edge[:3], None) for edge in INDUCTION])
    picture = parsed(circuit(held.with_columns(score=pl.int_range(9) - 4.0)))
    assert any(t.text == "score < 0" for t in picture.iter(f"{SVG}text"))


def test_direct_edges_are_marked_at_the_head() -> None:
    picture = parsed(circuit([("embed", "L0H0", "q", 1.0), ("L0H0", "L0H0", "q", 1.0)]))
    assert len(list(picture.iter(f"{SVG}circle"))) == 1
    assert any("direct edge" in (t.text or "") for t in picture.iter(f"{SVG}text"))


def test_positions_of_an_edge_are_told() -> None:
    edges = table([("embed", "L0H0", "v", 1.0), ("embed", "L0H0", "v", 3.0)])
    apart = edges.with_columns(pl.Series("position", ["S1", "all - S1"]))
    picture = parsed(circuit(apart))
    assert [said(c) for c in curves(picture)] == [
        "embed -> L0H0.v at S1 +1.000",
        "embed -> L0H0.v at all - S1 +3.000",
    ]
    words = [text.text or "" for text in picture.iter(f"{SVG}text")]
    assert any("at several positions is one line" in text for text in words)
    words = [text.text or "" for text in parsed(circuit(apart[:1])).iter(f"{SVG}text")]
    assert not any("several positions" in text for text in words)


def test_an_empty_circuit_has_a_picture() -> None:
    assert "0 of 305 edges, 0 nodes" in circuit([]).to_svg()


def test_a_picture_is_the_same_every_time_and_needs_nothing_else() -> None:
    found = by_chance(4, 8, 40, 5)
    assert found.to_svg() == found.to_svg()
    assert "http" not in found.to_svg().replace("http://www.w3.org/2000/svg", "")
    picture = parsed(found)
    assert picture.get("role") == "img"
    assert [child.tag for child in picture][:2] == [f"{SVG}title", f"{SVG}desc"]


# ** other programs, hostile names **


def hostile(name: str) -> Circuit:
    return circuit(
        INDUCTION,
        method=Method(name),
        model=Fingerprint(name, name),
        data=Fingerprint(name, name),
        metric=name,
        ablation=name,
    )


@given(HOSTILE)
@settings(max_examples=60, deadline=None)
def test_names_do_not_break_out_of_svg_and_graphml(name: str) -> None:
    found, harmless = hostile(name), hostile("name")
    for text, plain in (
        (found.to_svg(), harmless.to_svg()),
        (found.to_graphml(), harmless.to_graphml()),
    ):
        ours = ElementTree.fromstring(text.encode("utf-8"))
        theirs = ElementTree.fromstring(plain.encode("utf-8"))
        assert [e.tag for e in ours.iter()] == [e.tag for e in theirs.iter()]
        assert [sorted(e.keys()) for e in ours.iter()] == [sorted(e.keys()) for e in theirs.iter()]


@given(HOSTILE)
def test_names_do_not_break_out_of_dot(name: str) -> None:
    written = quoted(name)
    assert re.fullmatch(r'"(?:[^"\\\n\r\0]|\\.)*"', written)
    meant = written[1:-1].replace("\\\\", "\0").replace('\\"', '"').replace("\\n", "\n")
    lines = re.sub("[\0\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", name)
    assert meant.replace("\0", "\\") == lines.replace("\r\n", "\n").replace("\r", "\n")
    written.encode("utf-8")


def test_dot_has_every_edge_and_its_sign() -> None:
    text = circuit(INDUCTION).to_dot()
    arrows = re.findall(r'^  "(\S+)" -> "(\S+)" \[label="(\w+)"(.*)\];$', text, flags=re.M)
    assert [tuple(a[:3]) for a in arrows] == [edge[:3] for edge in INDUCTION]
    for (_, _, _, style), (_, _, _, effect) in zip(arrows, INDUCTION, strict=True):
        assert effect is not None
        assert ("dashed" in style) == (effect < 0)
    assert text.startswith("digraph circuit {\n")
    assert '{ rank=same; "embed"; "pos_embed"; }' in text


def test_graphml_holds_every_number() -> None:
    found = circuit([*INDUCTION, ("embed", "logits", "logits", None)])
    root = ElementTree.fromstring(found.to_graphml())
    graph = root.find(f"{ML}graph")
    assert graph is not None
    assert [n.get("id") for n in graph.findall(f"{ML}node")] == found.nodes
    declared = {key.get("id") for key in root.findall(f"{ML}key")}
    for edge, row in zip(
        graph.findall(f"{ML}edge"), found.edges.iter_rows(named=True), strict=True
    ):
        assert (edge.get("source"), edge.get("target")) == (row["source"], row["target"])
        held = {d.get("key"): d.text for d in edge.findall(f"{ML}data")}
        assert set(held) <= declared
        assert held["edge.channel"] == row["channel"]
        assert held["edge.evaluated"] == "true"
        assert ("edge.effect" in held) == (row["effect"] is not None)
        if row["effect"] is not None:
            assert float(held["edge.effect"] or "nan") == row["effect"]
    about = {d.get("key"): d.text for d in graph.findall(f"{ML}data")}
    assert about["graph.n_edges"] == "305"
    assert about["graph.model_sha256"] == "ab" * 32


def test_the_whole_graph_of_a_small_model_is_drawn_in_its_strongest_part() -> None:
    whole = by_chance(6, 8, 10_000, 6, used=1.0)
    assert whole.size > 1000
    assert len(curves(parsed(whole))) == 300
    assert circuit([], GraphSize(0, 0, 0)).nodes == []
