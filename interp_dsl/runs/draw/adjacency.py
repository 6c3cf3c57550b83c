"""A circuit as lists: what each node reads, from the logits down."""

from __future__ import annotations

from collections.abc import Iterator

from interp_dsl.runs.circuit import Circuit
from interp_dsl.runs.draw import marks
from interp_dsl.runs.nodes import CHANNELS
from interp_dsl.runs.text import decimals, number


def adjacency(circuit: Circuit, width: int = 80, most: int | None = None) -> list[str]:
    """Lines of at most `width` cells where a single sender fits into one: for each node that reads,
    the last first, and each of its channels, the senders with their strengths, the strongest
    first; the `most` strongest of a channel (None: all), and how many more there are."""
    column = marks.strength_column(circuit)
    edges = circuit.edges
    places = decimals(edges[column])
    read: dict[str, dict[str, list[tuple[str, float | None]]]] = {}
    for edge in edges.iter_rows(named=True):
        channels = read.setdefault(edge["target"], {})
        channels.setdefault(edge["channel"], []).append(
            (f"{edge['source']}{marks.where(edge)}", edge[column])
        )
    names = [name for name in reversed(circuit.nodes) if name in read]
    wide = max(map(len, names), default=0)
    lines = [f"edges by {column}, the strongest first"] if names else ["no edges"]
    for name in names:
        kind = circuit.ends[name].kind
        shown = name
        for channel in (c for c in CHANNELS[kind] if c in read[name]):
            senders = sorted(read[name][channel], key=lambda sent: -abs(sent[1] or 0.0))
            words = [_sender(source, name, value, places) for source, value in senders[:most]]
            if len(words) < len(senders):
                words.append(f"and {len(senders) - len(words):,} more")
            letter = channel if kind == "head" else ""
            lines += _wrapped(f"{shown:<{wide}} {letter:<8} ← ", words, width)
            shown = ""
    return lines


def _sender(source: str, reader: str, value: float | None, places: int) -> str:
    return f"{'direct' if source == reader else source} {number(value, places)}"


def _wrapped(head: str, words: list[str], width: int) -> Iterator[str]:
    """`head` and the words after it, further lines indented below the first word."""
    line = head
    for word in words:
        if line.strip() and line != head and len(line) + len(word) + 2 > width:
            yield line.rstrip()
            line = " " * len(head)
        line += word if line in (head, " " * len(head)) else f"  {word}"
    yield line.rstrip()
