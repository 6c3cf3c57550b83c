"""A circuit laid out on a grid of characters, each of which knows which node or which edges it
shows: what the terminal prints and what the screens colour.

Every sender has one line that runs up from it, turns along a track below the rows where it is read,
and goes on. Lines of two senders join only where both enter the same reader; where a line passes
over another, the lower one is interrupted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

from interp_dsl.runs.circuit import Circuit
from interp_dsl.runs.circuit_table import KEY
from interp_dsl.runs.draw.layout import Layout, lay_out, spread
from interp_dsl.runs.draw.tracks import Net, track_cells

SCALES = (11.0, 9.0, 7.0, 5.0, 3.0, 0.0)
LETTERS = ("q", "k", "v", "attn")

Edge = tuple[str, str, str]
"""Source, target, channel."""
Reads = Mapping[str, Mapping[str, set[str]]]


@dataclass(frozen=True, slots=True)
class Cell:
    """A character, the node whose name or port it is part of, the edges whose line it is."""

    text: str = " "
    node: str | None = None
    edges: frozenset[Edge] = frozenset()


Line = Sequence[Cell]


@dataclass(frozen=True)
class Canvas:
    """`lines` from the top down; `rows` of nodes likewise, from left to right. `has_lines`: edges
    are drawn too."""

    lines: tuple[Line, ...]
    rows: tuple[tuple[str, ...], ...]
    places: Mapping[str, tuple[int, int]] = field(repr=False, default_factory=dict)
    """Line and column of the middle of every node's name."""
    has_lines: bool = True

    @cached_property
    def width(self) -> int:
        return max(map(len, self.lines), default=0)

    def text(self) -> list[str]:
        return ["".join(cell.text for cell in line).rstrip() for line in self.lines]


def canvas(circuit: Circuit, width: int, scales: Sequence[float] = SCALES) -> Canvas | None:
    """The kept edges drawn within `width` columns, nodes as far apart as fits, by the first of
    `scales` (columns a node) that does; None where none does, or where there are no edges."""
    if not circuit.size:
        return None
    layout = lay_out(circuit)
    reads: dict[str, dict[str, set[str]]] = {}
    for source, target, channel in circuit.edges.select(KEY).iter_rows():
        if source != target:
            reads.setdefault(target, {}).setdefault(channel, set()).add(source)
    for scale in scales:
        rows = _placed(layout, reads, scale)
        if max(box.column + box.width for row in rows for box in row) <= width:
            return _painted(rows, reads)
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


# ---- painting


def _painted(rows: list[list[Box]], reads: Reads) -> Canvas:
    """The canvas from the top down."""
    width = max(box.column + box.width for row in rows for box in row)
    lines: list[Line] = []
    places: dict[str, tuple[int, int]] = {}
    for i in reversed(range(len(rows))):
        nodes = [box for box in rows[i] if not box.passes]
        places |= {box.name: (len(lines), box.column + box.width // 2) for box in nodes}
        onward = _onward(rows, i, reads)
        lines.append(_row(rows[i], width, [b.name.center(b.width) for b in rows[i]], onward))
        if any(set(box.ports) & set(LETTERS) for box in rows[i]):
            lines.append(_row(rows[i], width, [box.letters() for box in rows[i]], onward))
        if i:
            lines += _tracks(rows[i - 1], rows[i], reads, width, onward)
    names = tuple(tuple(b.name for b in row if not b.passes) for row in reversed(rows))
    return Canvas(tuple(lines), names, places)


def _onward(rows: list[list[Box]], i: int, reads: Reads) -> dict[str, frozenset[Edge]]:
    """The edges of each line that goes on from row i to rows above it."""
    above = [box.name for row in rows[i + 1 :] for box in row if not box.passes]
    found = {}
    for box in rows[i]:
        if box.passes:
            found[box.name] = frozenset(
                (box.name, name, channel)
                for name in above
                for channel, senders in reads.get(name, {}).items()
                if box.name in senders
            )
    return found


def _row(
    row: list[Box], width: int, said: list[str], onward: Mapping[str, frozenset[Edge]]
) -> Line:
    cells = [Cell()] * width
    for box, text in zip(row, said, strict=True):
        for at, sign in enumerate("│" if box.passes else text, box.column):
            cells[at] = Cell(sign, None, onward[box.name]) if box.passes else Cell(sign, box.name)
    return cells


def _tracks(
    lower: list[Box],
    upper: list[Box],
    reads: Reads,
    width: int,
    onward: Mapping[str, frozenset[Edge]],
) -> Iterator[Line]:
    """The lines that lead from one row to the next."""
    nets, edges = [], dict[tuple[int, int], frozenset[Edge]]()
    for sender in lower:
        ends = {}
        for box in upper:
            if box.passes and box.name == sender.name:
                ends[box.column] = onward[box.name]
            elif not box.passes:
                for channel, place in box.ports.items():
                    if sender.name in reads[box.name][channel]:
                        ends[box.column + place] = frozenset({(sender.name, box.name, channel)})
        if ends:
            nets.append(Net(sender.out, tuple(sorted(ends))))
            edges |= {(sender.out, end): served for end, served in ends.items()}
    for line in track_cells(nets, width):
        yield [
            Cell(sign, None, frozenset().union(*(edges[at] for at in served)))
            for sign, served in line
        ]
