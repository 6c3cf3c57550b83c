"""A circuit drawn with box characters, where it is small enough for that; else as lists.

Every sender has one line that runs up from it, turns along a track below the rows where it is read,
and goes on. Lines of two senders join only where both enter the same reader; where a line passes
over another, the lower one is interrupted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from interp_dsl.runs.circuit import Circuit
from interp_dsl.runs.draw import marks
from interp_dsl.runs.draw.adjacency import adjacency
from interp_dsl.runs.draw.layout import Layout, lay_out, spread
from interp_dsl.runs.draw.tracks import Net, track_lines
from interp_dsl.runs.text import printable

MOST, SENDERS = 32, 12
SCALES = (11.0, 9.0, 7.0, 5.0, 3.0, 0.0)
LETTERS = ("q", "k", "v", "attn")

Reads = Mapping[str, Mapping[str, set[str]]]


def terminal(circuit: Circuit, width: int = 80, most: int = MOST) -> list[str]:
    """The lines of a drawing within `width` cells; of lists by reader where the circuit has more
    than `most` edges or the drawing would be wider, then with the strongest senders only."""
    head = [printable(marks.title(circuit)), marks.summary(circuit, circuit.size), ""]
    drawn = drawing(circuit, width) if 0 < circuit.size <= most else None
    if drawn is None:
        return [*head, *adjacency(circuit, width, SENDERS)]
    return [*head, *drawn, "", *_legend(circuit)]


def drawing(circuit: Circuit, width: int) -> list[str] | None:
    """The rows and the lines between them; None where they do not fit."""
    layout = lay_out(circuit)
    reads: dict[str, dict[str, set[str]]] = {}
    for edge in circuit.edges.iter_rows(named=True):
        if edge["source"] != edge["target"]:
            channels = reads.setdefault(edge["target"], {})
            channels.setdefault(edge["channel"], set()).add(edge["source"])
    for scale in SCALES:
        rows = _placed(layout, reads, scale)
        if max(box.column + box.width for row in rows for box in row) <= width:
            return list(_lines(rows, reads))
    return None


@dataclass(slots=True)
class Box:
    """What takes room in a row: a node, or (`passes`) the line of a sender that goes on.
    `ports` are the columns by which its channels are entered, from the box's own left edge."""

    name: str
    passes: bool
    width: int
    ports: dict[str, int]
    column: int = 0

    @property
    def out(self) -> int:
        """The column where its line leaves."""
        return self.column + (0 if self.passes else self.width // 2)

    def letters(self) -> str:
        """The second line of a node: the letters of a head's channels."""
        text = [" "] * self.width
        for channel, place in self.ports.items():
            text[place] = "a" if channel == "attn" else channel if channel in LETTERS else "│"
        return "".join(text)


# ---- places


def _placed(layout: Layout, reads: Reads, scale: float) -> list[list[Box]]:
    """The boxes of every row in their columns."""
    top: dict[str, int] = {}
    for i, row in enumerate(layout.rows):
        for name in row:
            for senders in reads.get(name, {}).values():
                top.update((sender, i) for sender in senders)
    rows: list[list[Box]] = []
    below: dict[str, int] = {}
    for i, row in enumerate(layout.rows):
        wanted = [(scale * layout.x[name], _node(name, reads.get(name, {}))) for name in row]
        wanted += [(c, Box(s, True, 1, {"": 0})) for s, c in below.items() if top.get(s, 0) > i]
        wanted.sort(key=lambda found: found[0])
        rows.append(_set(wanted, below, reads))
        below = {box.name: box.out for box in rows[-1] if top.get(box.name, 0) > i}
    left = min(box.column for row in rows for box in row)
    for box in (box for row in rows for box in row):
        box.column -= left
    return rows


def _node(name: str, channels: Mapping[str, set[str]]) -> Box:
    """A node wide enough for its name and its ports."""
    ports = [c for c in (*LETTERS, "mlp", "logits") if c in channels]
    width = max(len(name), 2 * len(ports) - 1)
    first = (width - (2 * len(ports) - 1)) // 2
    return Box(name, False, width, {c: first + 2 * i for i, c in enumerate(ports)})


def _set(wanted: Sequence[tuple[float, Box]], below: Mapping[str, int], reads: Reads) -> list[Box]:
    """Boxes in columns near to those wanted, two apart, no port straight above the line of another
    sender."""
    offsets, boxes = [0], [box for _, box in wanted]
    for box, following in pairwise(boxes):
        offsets.append(offsets[-1] + box.width + (1 if box.passes and following.passes else 2))
    left = [x - (0 if box.passes else box.width // 2) for x, box in wanted]
    push = 0
    for box, place in zip(boxes, spread(left, offsets), strict=True):
        box.column = round(place) + push
        while _is_blocked(box, below, reads):
            box.column += 1
            push += 1
    return boxes


def _is_blocked(box: Box, below: Mapping[str, int], reads: Reads) -> bool:
    """Whether a line comes up straight into a port that is not its alone."""
    for channel, place in box.ports.items():
        senders = {box.name} if box.passes else reads[box.name][channel]
        if any(column == box.column + place and senders != {s} for s, column in below.items()):
            return True
    return False


# ---- lines


def _lines(rows: list[list[Box]], reads: Reads) -> Iterator[str]:
    """The drawing from the top down."""
    width = max(box.column + box.width for row in rows for box in row)
    for i in reversed(range(len(rows))):
        yield _row(rows[i], width, [box.name for box in rows[i]])
        if any(set(box.ports) & set(LETTERS) for box in rows[i]):
            yield _row(rows[i], width, [box.letters() for box in rows[i]])
        if i:
            yield from track_lines(_nets(rows[i - 1], rows[i], reads), width)


def _row(row: list[Box], width: int, said: list[str]) -> str:
    cells = [" "] * width
    for box, text in zip(row, said, strict=True):
        shown = "│" if box.passes else text.center(box.width)
        cells[box.column : box.column + box.width] = shown
    return "".join(cells).rstrip()


def _nets(lower: list[Box], upper: list[Box], reads: Reads) -> list[Net]:
    """The lines that lead from one row to the next."""
    nets = []
    for sender in lower:
        ends = {box.column for box in upper if box.passes and box.name == sender.name}
        for box in (box for box in upper if not box.passes):
            channels = reads.get(box.name, {})
            ends |= {box.column + p for c, p in box.ports.items() if sender.name in channels[c]}
        if ends:
            nets.append(Net(sender.out, tuple(sorted(ends))))
    return nets


def _legend(circuit: Circuit) -> Iterator[str]:
    yield "q k v: a head's queries, keys, values (a: all three); lines that touch join"
    whole: dict[str, list[str]] = {}
    for edge in circuit.edges.iter_rows(named=True):
        if edge["source"] == edge["target"]:
            whole.setdefault(edge["target"], []).append(edge["channel"])
    if whole:
        yield "direct edges: " + ", ".join(f"{n} {' '.join(into)}" for n, into in whole.items())
