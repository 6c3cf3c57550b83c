"""Named positions found in every prompt of a side, and whether those of two sides correspond.

Two sides correspond at a place when the k-th column of one is the k-th column of the other: for
`all` the prompts of a pair have one length, a label covers as many tokens on both sides."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from interp_dsl.data.alignment import side_by_side
from interp_dsl.data.faults import closest, count, fault, listed
from interp_dsl.data.types import Ints, Side
from interp_dsl.plan.places import Positions

Bools = NDArray[np.bool_]
Describe = Callable[[int], str]
"""A token id as text, for messages."""


def resolve(positions: Positions, side: Side) -> tuple[Ints, Bools]:
    """Token positions [n, k] of n prompts, and which of them are meant [n, k]; k is the most that
    any prompt has. A position meant twice counts once. E410 for a label that the side lacks."""
    n, width = side.tokens.shape
    match positions.kind:
        case "all":
            index = np.tile(np.arange(width), (n, 1))
            return index, index < side.lengths[:, None]
        case "index":
            index = np.full((n, 1), positions.index)
            return index, index < side.lengths[:, None]
        case "first":
            return np.zeros((n, 1), dtype=np.int64), (side.lengths > 0)[:, None]
        case "last":
            return side.lengths[:, None] - 1, (side.lengths > 0)[:, None]
        case "label":
            return _label(positions, side)
        case "union":
            return _union([resolve(part, side) for part in positions.parts])
        case "minus":
            (index, valid), (other, taken) = (resolve(part, side) for part in positions.parts)
            return index, valid & ~_among(index, other, taken)
        case kind:
            raise ValueError(f"`{kind}` names no single set of positions")


def _label(positions: Positions, side: Side) -> tuple[Ints, Bools]:
    start, end = _places(positions, side).T
    some = (end > start)[:, None]
    if positions.pick == "first":
        return start[:, None], some
    if positions.pick == "last":
        return np.maximum(end - 1, 0)[:, None], some
    index = start[:, None] + np.arange(max(int((end - start).max()), 1))
    return index, index < end[:, None]


def _places(positions: Positions, side: Side) -> Ints:
    name = str(positions.label)
    if name not in side.labels:
        known = sorted(side.labels)
        raise fault(
            "E410",
            f"the {side.name} prompts have no label {name}",
            f"their labels are {listed(known)}" if known else "they have no labels at all",
            help=closest(name, known)
            or f"name the place in the text: {{slot@{name}}}, {{@{name}}}",
        )
    return side.labels[name]


def _among(index: Ints, other: Ints, taken: Bools) -> Bools:
    found: Bools = ((index[:, :, None] == other[:, None, :]) & taken[:, None, :]).any(axis=2)
    return found


def _union(parts: list[tuple[Ints, Bools]]) -> tuple[Ints, Bools]:
    index, valid = parts[0]
    for more, meant in parts[1:]:
        fresh = meant & ~_among(more, index, valid)
        index, valid = np.hstack([index, more]), np.hstack([valid, fresh])
    return index, valid


def check_aligned(
    positions: Positions, from_side: Side, into_side: Side, describe: Describe
) -> None:
    """Raise InterpError where values at `positions` of one side can't be put at those of the other:
    prompts of two lengths (E411), a label missing from a prompt (E412), a position beyond its end
    (E413), a label of differing token counts (E414). The message shows the first such pair, one
    prompt under the other. A side alone is checked against itself."""
    for leaf in _leaves(positions):
        for side in (into_side, from_side):
            _check_there(leaf, side, describe)
        _check_widths(leaf, from_side, into_side, describe)
    for part in positions.parts if positions.kind == "entry" else (positions,):
        if part.kind in ("union", "minus"):
            _check_same(part, from_side, into_side, describe)


def _leaves(positions: Positions) -> Iterator[Positions]:
    if positions.parts:
        for part in positions.parts:
            yield from _leaves(part)
    else:
        yield positions


def _check_there(leaf: Positions, side: Side, describe: Describe) -> None:
    if leaf.kind not in ("label", "index"):
        return
    rows = np.flatnonzero(~resolve(leaf, side)[1].any(axis=1))
    if not len(rows):
        return
    row = int(rows[0])
    shown = "|".join(describe(int(i)) for i in side.tokens[row, : side.lengths[row]])
    where = _which(rows, side.tokens.shape[0], "prompt")
    if leaf.kind == "label":
        raise fault(
            "E412",
            f"the label {leaf.label} is missing from {side.name} prompts: {where}",
            f"prompt {row}: {shown}",
            help=f"mark {leaf.label} in every prompt, or keep those that have it by `where`",
        )
    raise fault(
        "E413",
        f"position {leaf.index} is beyond the end of {side.name} prompts: {where}",
        f"prompt {row} has {count(int(side.lengths[row]), 'token')}: {shown}",
        help="positions count from 0; `last` is the last token of each prompt",
    )


def _check_widths(leaf: Positions, from_side: Side, into_side: Side, describe: Describe) -> None:
    if leaf.kind == "all":
        rows = np.flatnonzero(from_side.lengths != into_side.lengths)
        if len(rows):
            raise _misaligned(rows, from_side, into_side, describe)
    if leaf.kind == "label" and leaf.pick is None:
        widths = [np.diff(_places(leaf, side))[:, 0] for side in (from_side, into_side)]
        rows = np.flatnonzero(widths[0] != widths[1])
        if len(rows):
            raise _uneven(leaf, rows, from_side, into_side, describe)


def _misaligned(rows: Ints, from_side: Side, into_side: Side, describe: Describe) -> Exception:
    row = int(rows[0])
    return fault(
        "E411",
        f"{from_side.name} and {into_side.name} prompts differ in length: "
        f"{_which(rows, len(from_side.tokens), 'pair')}",
        _pair(row, from_side, into_side, describe),
        help="patch at labels, as in `at END`, or choose words with as many tokens on both sides",
    )


def _uneven(
    leaf: Positions, rows: Ints, from_side: Side, into_side: Side, describe: Describe
) -> Exception:
    row = int(rows[0])
    places = [_places(leaf, side)[row] for side in (from_side, into_side)]
    counts = [int(end - start) for start, end in places]
    spans = ((int(places[0][0]), int(places[0][1])), (int(places[1][0]), int(places[1][1])))
    return fault(
        "E414",
        f"the label {leaf.label} has {count(counts[0], 'token')} in {from_side.name} and "
        f"{counts[1]} in {into_side.name}: {_which(rows, len(from_side.tokens), 'pair')}",
        _pair(row, from_side, into_side, describe, spans),
        help=f"patch at {leaf.label}.last or {leaf.label}.first, or choose words with as many "
        "tokens on both sides",
    )


def _check_same(positions: Positions, from_side: Side, into_side: Side, describe: Describe) -> None:
    meant = [resolve(positions, side)[1] for side in (from_side, into_side)]
    rows = np.flatnonzero((meant[0] != meant[1]).any(axis=1))
    if len(rows):
        raise fault(
            "E411",
            f"`{positions}` is not the same set of places in {from_side.name} and "
            f"{into_side.name} prompts: {_which(rows, len(from_side.tokens), 'pair')}",
            _pair(int(rows[0]), from_side, into_side, describe),
            help="patch at labels that lie alike on both sides",
        )


def _pair(
    row: int,
    from_side: Side,
    into_side: Side,
    describe: Describe,
    marked: tuple[tuple[int, int], tuple[int, int]] | None = None,
) -> str:
    sides = (from_side, into_side)
    ids = [side.tokens[row, : side.lengths[row]].tolist() for side in sides]
    shown = side_by_side((ids[0], ids[1]), (from_side.name, into_side.name), describe, marked)
    return f"pair {row}, {len(ids[0])} and {len(ids[1])} tokens:\n{shown}"


def _which(rows: Ints, n: int, noun: str) -> str:
    """`pair 3`, or `12 of 256 pairs, the first is pair 3`."""
    first = f"{noun} {int(rows[0])}"
    return first if len(rows) == 1 else f"{len(rows):,} of {n:,} {noun}s, the first is {first}"
