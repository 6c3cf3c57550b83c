"""The graph of a model: published counts, and edges and paths by brute force."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest

from interp_dsl.models.graph import Edge, Graph
from interp_dsl.models.paths import on_path, reached, reaching
from interp_dsl.models.shape import Shape

GPT2 = Shape(12, 12, 12, 768, 64, 3072, 50257, 50257, 1024)
SMALL = Shape(2, 3, 3, 12, 4, 8, 10, 10, 16)
SHAPES = {
    "small": SMALL,
    "attn_only": replace(SMALL, d_mlp=0),
    "parallel": replace(SMALL, parallel=True, positional="rotary"),
    "grouped": replace(SMALL, n_kv_heads=1),
    "joined": replace(SMALL, post_norms=True),
}
OPTIONS = [
    {},
    {"split_qkv": False},
    {"split_embed": True},
    {"direct": True},
    {"split_qkv": False, "direct": True},
]
GRAPHS = [Graph(shape, **options) for shape, options in product(SHAPES.values(), OPTIONS)]


@pytest.mark.parametrize(
    ("shape", "plain", "conmy"),
    [
        (GPT2, 32_491, 32_923),
        (replace(GPT2, n_layers=4, n_heads=8, d_mlp=0), 1_281, 1_377),
        (replace(GPT2, n_layers=2, n_heads=8, d_mlp=0), 257, 305),
    ],
)
def test_published_counts(shape: Shape, plain: int, conmy: int) -> None:
    assert len(Graph(shape)) == len(Graph(shape).edges) == plain
    assert len(Graph(shape, direct=True)) == len(Graph(shape, direct=True).edges) == conmy


@pytest.mark.parametrize("n_layers", [1, 2, 5])
@pytest.mark.parametrize("n_heads", [1, 3, 8])
@pytest.mark.parametrize("mlp", [0, 1])
@pytest.mark.parametrize("split_embed", [False, True])
def test_formula(n_layers: int, n_heads: int, mlp: int, split_embed: bool) -> None:
    """Conmy et al.: edges into q, k, v; direct edges; into MLPs; into the final residual."""
    shape = replace(SMALL, n_layers=n_layers, n_heads=n_heads, n_kv_heads=n_heads, d_mlp=mlp)
    e, width, layers = 1 + split_embed, n_heads + mlp, range(n_layers)
    plain = 3 * n_heads * sum(e + width * layer for layer in layers)
    plain += mlp * sum(e + n_heads * (layer + 1) + layer for layer in layers)
    plain += e + n_heads * n_layers + mlp * n_layers
    assert len(Graph(shape, split_embed=split_embed)) == plain
    direct = Graph(shape, split_embed=split_embed, direct=True)
    assert len(direct) == plain + 3 * n_heads * n_layers


def stage(name: str, shape: Shape) -> float:
    """When a node runs: attention of layer l at l, its MLP half a step later."""
    if name.endswith("embed"):
        return -1
    if name == "logits":
        return shape.n_layers
    layer = int(name[1 : name.index("." if "." in name else "H")])
    return layer + (0.5 if name.endswith(".mlp") and not shape.parallel else 0)


def nodes_of(graph: Graph) -> list[str]:
    shape = graph.shape
    embeds = ["embed", "pos_embed"] if graph.split_embed and shape.positional == "standard" else []
    nodes = embeds or ["embed"]
    for layer in range(shape.n_layers):
        nodes += [f"L{layer}H{head}" for head in range(shape.n_heads)]
        nodes += [f"L{layer}.mlp"] if shape.d_mlp else []
    return nodes


@pytest.mark.parametrize("graph", GRAPHS, ids=str)
def test_edges_by_brute_force(graph: Graph) -> None:
    """Every pair of nodes whose source runs before its target, once a channel of the target."""
    shape, nodes = graph.shape, nodes_of(graph)
    assert list(graph.senders) == nodes
    found = set()
    for source, target in product(nodes, [*nodes, "logits"]):
        channels = ["logits"] if target == "logits" else ["mlp"]
        if "H" in target:
            channels = ["q", "k", "v"] if graph.split_qkv else ["attn"]
        if stage(source, shape) < stage(target, shape):
            found |= {Edge(source, target, channel) for channel in channels}
        if graph.direct and source == target and "H" in target:
            found |= {Edge(source, target, channel) for channel in channels}
    assert len(graph.edges) == len(set(graph.edges)) == len(graph) == len(found)
    assert set(graph.edges) == found


@pytest.mark.parametrize("graph", GRAPHS, ids=str)
def test_numbers_and_names_agree(graph: Graph) -> None:
    for number, edge in enumerate(graph.edges):
        assert graph.index[edge] == number
        assert graph.receivers[graph.receiver_of[number]] == (edge.target, edge.channel)
        sender = graph.sender_of[number]
        if number < graph.n_additive:
            assert graph.senders[sender] == edge.source
        else:
            assert sender == -1 and edge.source == edge.target
    for earlier, later in pairwise(graph.groups):
        assert earlier.edges.stop == later.edges.start
        assert earlier.receivers.stop == later.receivers.start
    numbers = np.arange(graph.n_edges)
    for group in graph.groups:
        matrix = group.matrix(numbers)
        receivers = graph.receiver_of[matrix] == np.arange(group.members)[:, None] + group.first
        assert receivers.all()
        assert (graph.sender_of[matrix] == np.arange(group.senders)).all()
        direct = graph.direct_edges(group)
        assert (direct is not None) == (graph.direct and group.channel not in ("mlp", "logits"))
        if direct is not None:
            assert (graph.receiver_of[direct] == graph.receiver_of[matrix][:, 0]).all()
        assert all(graph.group_of[r] == group for r in graph.receiver_of[matrix].flatten())


def test_names() -> None:
    graph = Graph(SMALL)
    assert str(Edge("L0H1", "L1H0", "k")) == "L0H1 -> L1H0.k"
    assert str(Edge("L0H1", "L1.mlp", "mlp")) == "L0H1 -> L1.mlp"
    assert Edge("L0.mlp", "logits", "logits") in graph.index
    assert graph.senders[graph.heads(1)] == ("L1H0", "L1H1", "L1H2")
    assert graph.senders[graph.mlp(1)] == "L1.mlp"


def paths(graph: Graph, kept: np.ndarray) -> tuple[set[str], set[str], set[Edge]]:
    """Nodes reached and reaching, edges on paths, by walking names."""
    edges = {edge for edge, is_kept in zip(graph.edges, kept, strict=True) if is_kept}
    direct = {edge for edge in edges if edge.source == edge.target}
    additive = {
        edge
        for edge in edges - direct
        if not graph.direct
        or "H" not in edge.target
        or Edge(edge.target, edge.target, edge.channel) in direct
    }

    def siblings(node: str) -> set[str]:
        is_joined = graph.shape.post_norms and "H" in node
        layer = node.split("H")[0]
        return {n for n in graph.senders if is_joined and n.split("H")[0] == layer} | {node}

    def spread(seeds: set[str], forward: bool) -> set[str]:
        found, todo = set(), list(seeds)
        while todo:
            node = todo.pop()
            if node in found:
                continue
            found.add(node)
            todo += siblings(node)
            todo += [
                e.target if forward else e.source
                for e in additive
                if (e.source if forward else e.target) == node
            ]
        return found

    down, up = spread(set(graph.embeds), True), spread({"logits"}, False)
    on = {edge for edge in additive if edge.source in down and edge.target in up}
    on |= {d for d in direct if any((e.target, e.channel) == (d.target, d.channel) for e in on)}
    return down - {"logits"}, up - {"logits"}, on


@pytest.mark.parametrize("graph", GRAPHS, ids=str)
def test_paths_by_walking(graph: Graph) -> None:
    generator = np.random.default_rng(0)
    share = np.repeat([0.05, 0.15, 0.3, 0.6], 5)[:, None]
    kept = generator.random((20, graph.n_edges)) < share
    if graph.direct:
        kept[:, graph.n_additive :] |= generator.random((20, len(graph.direct_receivers))) < 0.7
    kept[0], kept[1] = True, False
    down, up, on = reached(graph, kept), reaching(graph, kept), on_path(graph, kept)
    names, edges = np.array(graph.senders), np.array(graph.edges, dtype=object)
    for row in range(len(kept)):
        wanted = paths(graph, kept[row])
        assert set(names[down[row]]) == wanted[0]
        assert set(names[up[row]]) == wanted[1]
        assert {Edge(*edge) for edge in edges[on[row]]} == wanted[2]
        assert (on_path(graph, kept[row]) == on[row]).all()
    assert on[0].all() and not on[1].any()
    assert (on <= kept).all() and 0 < on.sum() < kept.sum()
