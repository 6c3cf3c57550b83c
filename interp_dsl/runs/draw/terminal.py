"""A circuit drawn with box characters, where it is small enough for that; else as lists."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

from interp_dsl.plan.names import edge_name
from interp_dsl.runs.circuit import Circuit
from interp_dsl.runs.circuit_table import KEY, POSITION
from interp_dsl.runs.draw import marks
from interp_dsl.runs.draw.adjacency import adjacency
from interp_dsl.runs.draw.canvas import canvas
from interp_dsl.runs.text import printable

MOST, SENDERS = 32, 12


def terminal(circuit: Circuit, width: int = 80, most: int = MOST) -> list[str]:
    """The lines of a drawing within `width` cells; of lists by reader where the circuit has more
    than `most` edges or the drawing would be wider, then with the strongest senders only."""
    head = [printable(marks.title(circuit)), marks.summary(circuit, circuit.size), ""]
    drawn = drawing(circuit, width) if 0 < circuit.size <= most else None
    if drawn is None:
        return [*head, *adjacency(circuit, width, SENDERS)]
    return [*head, *drawn, "", *_legend(circuit), *_placed(circuit, width)]


def drawing(circuit: Circuit, width: int) -> list[str] | None:
    """The rows and the lines between them; None where they do not fit."""
    drawn = canvas(circuit, width)
    return None if drawn is None else drawn.text()


def _legend(circuit: Circuit) -> Iterator[str]:
    yield "q k v: a head's queries, keys, values (a: all three); lines that touch join"
    whole: dict[str, list[str]] = {}
    for edge in circuit.edges.iter_rows(named=True):
        if edge["source"] == edge["target"]:
            whole.setdefault(edge["target"], []).append(edge["channel"])
    if whole:
        yield "direct edges: " + ", ".join(f"{n} {' '.join(into)}" for n, into in whole.items())


def _placed(circuit: Circuit, width: int) -> Iterator[str]:
    """Which edges stand at which position, where the circuit tells of any: the lines do not."""
    if POSITION not in circuit.table.columns:
        return
    yield "one line for all positions of an edge:"
    for (position,), edges in circuit.edges.group_by(POSITION, maintain_order=True):
        names = ", ".join(edge_name(*key) for key in edges.select(KEY).iter_rows())
        yield from wrap(printable(f"at {position}: {names}"), width, subsequent_indent="  ")
