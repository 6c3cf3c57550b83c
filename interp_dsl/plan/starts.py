"""Where the passes of a late sweep start, as far as a plan knows it: what engine/late.py decides
with the data at hand. A position that only the data knows counts as 0, the most work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from interp_dsl.plan.algebra import Intervention
from interp_dsl.plan.places import ALL, Positions, Unit

PARTS = ("resid_pre", "queries", "keys", "z")
"""What late passes may take from an earlier one; `keys` are keys and values."""
BEHIND_ATTENTION = frozenset(
    ("z", "head", "attn_out", "resid_mid", "mlp_in", "neuron", "mlp_out", "resid_post")
)
BEHIND_KEYS = BEHIND_ATTENTION | {"q_input", "q", "pattern"}
"""Of these only the positions that are changed reach the stream after the layer."""
LEAST_TOKENS = {"cpu": 512, "cuda": 32_768, "mps": 8_192}
"""Tokens that a device multiplies about as fast as more of them at once: a batch that holds as many
draws no later position in. Estimates take the processor's."""


@dataclass(frozen=True, order=True)
class Start:
    """Where a pass is taken up: the layer, −1 before the first one; whether that layer's attention
    comes from memory; the position."""

    layer: int
    behind_attention: bool
    position: int


def start(unit: Unit, change: Intervention) -> Start:
    """The first place that a unit changes."""
    sites = [change.site(target) for target in unit.targets]
    layer, behind = min(
        (-1, False) if s.layer is None else (s.layer, s.kind in BEHIND_ATTENTION) for s in sites
    )
    return Start(layer, behind, min(earliest(t.positions) for t in unit.targets))


def earliest(positions: Positions) -> int:
    """The first position that is changed, or 0 where that depends on the data; of a pattern's
    entries, the first query."""
    match positions.kind:
        case "index":
            assert positions.index is not None
            return positions.index
        case "union":
            return min(map(earliest, positions.parts))
        case "minus":
            return earliest(positions.parts[0])
        case "entry":
            return earliest(positions.parts[1])
        case _:
            return 0


def acts_everywhere(unit: Unit) -> bool:
    """Whether no data could tell more of where a unit starts, nor that it has no effect."""
    return all(target.positions == ALL for target in unit.targets)


@dataclass(frozen=True)
class Stretch:
    """`rows` that go through the model together from `start` on."""

    rows: int
    start: Start


def stretches(
    starts: Sequence[Start], n: int, width: int, rows: int | None, shard: int | None
) -> Iterator[Stretch]:
    """The batches of a late sweep over n examples of `width` tokens, at most `rows` each, of
    `shard` units after `shard` units. O(units log units)."""
    size = shard or max(1, len(starts))
    for first in range(0, len(starts), size):
        for group in _groups(sorted(starts[first : first + size]), n, width):
            yield from _batches(group, n, rows)


def _groups(starts: Sequence[Start], n: int, width: int) -> list[list[Start]]:
    """Those that begin at one layer, and at one position once that is enough to run."""
    found: list[list[Start]] = []
    for one in starts:
        first = found[-1][0] if found else None
        if first is None or one != replace(first, position=one.position):
            found.append([one])
            continue
        tokens = len(found[-1]) * n * (width - first.position)
        if one.position > first.position and tokens >= LEAST_TOKENS["cpu"]:
            found.append([one])
        else:
            found[-1].append(one)
    return found


def _batches(group: Sequence[Start], n: int, rows: int | None) -> Iterator[Stretch]:
    total = len(group) * n
    size = rows or total
    for begin in range(0, total, size):
        end = min(total, begin + size)
        yield Stretch(end - begin, group[begin // n])
