"""A circuit's kept edges in the formats of other programs: DOT and GraphML, as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from interp_dsl.runs.circuit import Circuit
from interp_dsl.runs.circuit_table import POSITION, edge_columns
from interp_dsl.runs.draw import marks
from interp_dsl.runs.draw.xml import text
from interp_dsl.runs.nodes import level

_SHAPES = {"head": "box", "mlp": "box", "embed": "oval", "pos_embed": "oval", "logits": "oval"}
_TYPES = {"text": "string", "integer": "long", "number": "double", "truth": "boolean"}


def dot(circuit: Circuit) -> str:
    """Graphviz's language: layers as ranks, width by strength, negative edges dashed."""
    column = marks.strength_column(circuit)
    edges = circuit.edges
    largest = max((abs(v) for v in edges[column] if v is not None), default=0.0)
    lines = ["digraph circuit {", "  rankdir=BT;", f"  label={quoted(marks.title(circuit))};"]
    ranks: dict[int, list[str]] = {}
    for name, node in circuit.ends.items():
        ranks.setdefault(level(node, circuit.graph.n_layers), []).append(quoted(name))
        lines.append(f"  {quoted(name)} [shape={_SHAPES[node.kind]}];")
    lines += [f"  {{ rank=same; {'; '.join(names)}; }}" for names in ranks.values()]
    for edge in edges.iter_rows(named=True):
        style = {"label": f"{edge['channel']}{marks.where(edge)}", **_stroke(edge[column], largest)}
        said = ", ".join(f"{key}={quoted(value)}" for key, value in style.items())
        lines.append(f"  {quoted(edge['source'])} -> {quoted(edge['target'])} [{said}];")
    return "\n".join([*lines, "}"]) + "\n"


def quoted(value: str) -> str:
    """A string of DOT that is shown as it was: quotes and backslashes escaped, lines ended by \\n,
    what no text file can hold replaced."""
    clean = "".join(
        "\N{REPLACEMENT CHARACTER}" if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in value
    )
    escaped = clean.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\\n") + '"'


def _stroke(value: float | None, largest: float) -> dict[str, str]:
    if value is None:
        return {"style": "dotted"}
    width = 1 + 4 * abs(value) / largest if largest else 1.0
    sign = {"style": "dashed", "color": "#c4471a"} if value < 0 else {"color": "#1f5fa8"}
    return {"penwidth": f"{width:.2f}", "tooltip": f"{value:+.6g}", **sign}


def graphml(circuit: Circuit) -> str:
    """GraphML 1.0: of the graph its origin, of nodes kind, layer and head, of edges every number
    that there is."""
    about = {
        "method": circuit.method.name,
        "model": circuit.model.name,
        "model_sha256": circuit.model.sha256,
        "data": circuit.data.name if circuit.data else None,
        "data_sha256": circuit.data.sha256 if circuit.data else None,
        "metric": circuit.metric,
        "ablation": circuit.ablation,
        "n_edges": circuit.graph.n_edges,
    }
    kinds = {name: "integer" if name == "n_edges" else "text" for name in about}
    held_of_edges = [*edge_columns(POSITION in circuit.table.columns).items()]
    edge_kinds = {n: kind for n, kind in held_of_edges if n not in ("source", "target", "kept")}
    node_kinds = {"kind": "text", "layer": "integer", "head": "integer"}
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">',
        *_keys("graph", kinds),
        *_keys("node", node_kinds),
        *_keys("edge", edge_kinds),
        ' <graph id="circuit" edgedefault="directed">',
        *_data("graph", about),
    ]
    for name, node in circuit.ends.items():
        held = {"kind": node.kind, "layer": node.layer, "head": node.head}
        lines += [f'  <node id="{text(name)}">', *_data("node", held), "  </node>"]
    for i, edge in enumerate(circuit.edges.iter_rows(named=True)):
        ends = f'source="{text(edge["source"])}" target="{text(edge["target"])}"'
        held = {name: edge[name] for name in edge_kinds}
        lines += [f'  <edge id="e{i}" {ends}>', *_data("edge", held), "  </edge>"]
    return "\n".join([*lines, " </graph>", "</graphml>"]) + "\n"


def _keys(domain: str, kinds: Mapping[str, str]) -> Iterator[str]:
    for name, kind in kinds.items():
        yield (
            f' <key id="{domain}.{name}" for="{domain}" attr.name="{name}"'
            f' attr.type="{_TYPES[kind]}"/>'
        )


def _data(domain: str, values: Mapping[str, Any]) -> Iterator[str]:
    """The values that there are."""
    for name, value in values.items():
        if value is not None:
            said = str(value).lower() if isinstance(value, bool) else str(value)
            yield f'   <data key="{domain}.{name}">{text(said)}</data>'
