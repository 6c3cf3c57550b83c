"""A circuit without its lines: a shelf of nodes for each layer, for circuits too large to draw."""

from __future__ import annotations

from interp_dsl.runs.circuit import Circuit
from interp_dsl.runs.draw.canvas import Canvas, Cell, Line
from interp_dsl.runs.nodes import Node, level

MARGIN = 10


def shelves(circuit: Circuit, width: int) -> Canvas:
    """The nodes of the kept edges, logits on top, each behind a blank that is its own; wrapped at
    `width`, layers named at the left."""
    rows: dict[int, list[Node]] = {}
    for node in circuit.ends.values():
        rows.setdefault(level(node, circuit.graph.n_layers), []).append(node)
    lines: list[Line] = []
    names: list[tuple[str, ...]] = []
    places: dict[str, tuple[int, int]] = {}
    for shelf in (rows[key] for key in sorted(rows, reverse=True)):
        said = _said(shelf[0])
        for part in _wrapped([node.name for node in shelf], max(MARGIN + 8, width)):
            cells = [Cell(sign) for sign in said.ljust(MARGIN)]
            for name in part:
                places[name] = len(lines), len(cells) + 1
                cells += [Cell(sign, name) for sign in f" {name}"]
                cells.append(Cell())
            lines.append(cells)
            names.append(tuple(part))
            said = ""
    return Canvas(tuple(lines), tuple(names), places, has_lines=False)


def _said(node: Node) -> str:
    if node.layer is None:
        return ""
    return f"L{node.layer} {'MLP' if node.kind == 'mlp' else 'heads'}"


def _wrapped(names: list[str], width: int) -> list[list[str]]:
    lines: list[list[str]] = [[]]
    used = MARGIN
    for name in names:
        if lines[-1] and used + len(name) + 2 > width:
            lines.append([])
            used = MARGIN
        lines[-1].append(name)
        used += len(name) + 2
    return lines
