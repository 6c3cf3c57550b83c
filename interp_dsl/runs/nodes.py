"""The nodes of a model's graph as the language writes them, in the order in which they run:
`embed` and `pos_embed`, then of each layer its heads `L0H1` and its MLP `L0.mlp`, then `logits`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["embed", "pos_embed", "head", "mlp", "logits"]

CHANNELS: dict[Kind, tuple[str, ...]] = {
    "head": ("q", "k", "v", "attn"),
    "mlp": ("mlp",),
    "logits": ("logits",),
}
"""Through what a node reads. `attn`: a head's queries, keys and values as one."""

_NODE = re.compile(r"L(0|[1-9]\d{0,5})(?:H(0|[1-9]\d{0,5})|\.mlp)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Node:
    """`layer` is None for inputs and logits, `head` for all but heads."""

    name: str
    kind: Kind
    layer: int | None = None
    head: int | None = None


def parse_node(name: str) -> Node | None:
    """The node of a name, None where the name is none."""
    if name in ("embed", "pos_embed", "logits"):
        return Node(name, name)  # type: ignore[arg-type]
    found = _NODE.fullmatch(name)
    if found is None:
        return None
    head = found[2]
    if head is None:
        return Node(name, "mlp", int(found[1]))
    return Node(name, "head", int(found[1]), int(head))


def level(node: Node, n_layers: int) -> int:
    """When a node runs: inputs 0, heads of layer l 2l + 1, its MLP 2l + 2, logits 2 n_layers + 1.
    An edge goes from a lower level to a higher one."""
    if node.layer is None:
        return 2 * n_layers + 1 if node.kind == "logits" else 0
    return 2 * node.layer + (2 if node.kind == "mlp" else 1)


def in_order(nodes: dict[str, Node], n_layers: int) -> list[str]:
    """Names in the order in which their nodes run, heads by number."""

    def place(name: str) -> tuple[int, int, str]:
        node = nodes[name]
        return level(node, n_layers), node.head or 0, name

    return sorted(nodes, key=place)


def fault_of_node(name: str, n_layers: int, n_heads: int) -> str | None:
    """Why a graph of these sizes has no such node; None where it has."""
    node = parse_node(name)
    if node is None:
        return "a node is embed, pos_embed, a head as L0H1, an MLP as L0.mlp, or logits"
    if node.layer is not None and node.layer >= n_layers:
        return f"the graph has layers 0..{n_layers - 1}"
    if node.head is not None and node.head >= n_heads:
        return f"the graph has heads 0..{n_heads - 1}"
    return None
