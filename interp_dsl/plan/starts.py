"""Where the passes of a late sweep start, and which units go through the model together. Both the
estimates and the engine ask here: the one with what the text says of positions, the other with the
positions themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from interp_dsl.plan.algebra import Intervention
from interp_dsl.plan.names import target_of
from interp_dsl.plan.places import ALL, Positions, Site, Unit

PARTS = ("resid_pre", "resid_mid", "queries", "keys", "z")
"""What late passes may take from an earlier one; `keys` are keys and values."""
BEHIND_ATTENTION = frozenset(
    ("z", "head", "attn_out", "resid_mid", "mlp_in", "neuron", "mlp_out", "resid_post")
)
BESIDE_ATTENTION = BEHIND_ATTENTION - {"head", "attn_out"}
"""Of these what a layer's attention writes stays, but for z W_O of a head whose z is changed."""
BEHIND_KEYS = BEHIND_ATTENTION | {"q_input", "q", "pattern"}
"""Of these only the positions that are changed reach the stream after the layer."""


@dataclass(frozen=True, order=True)
class Start:
    """Where a pass is taken up: the layer, −1 before the first one; whether that layer's attention
    comes from memory; the position. `few` is at how many positions it differs from the memory
    there; 0 where that is not known, or where the unit acts in later layers too. `is_local`: nor
    do that layer's keys and values differ. `from_mid`: what that layer's attention writes comes
    from memory, and what changed heads add to it is added."""

    layer: int
    behind_attention: bool
    position: int
    few: int = 0
    is_local: bool = False
    from_mid: bool = False

    @property
    def group(self) -> tuple[int, bool]:
        """What starts of one group share a batch."""
        return self.layer, self.behind_attention

    def follows(self, site: Site) -> bool:
        """Whether a place of the stream lies before this, so that the pass does not come by it."""
        assert site.layer is not None
        return (site.layer, site.kind != "resid_pre") < self.group


BEGINNING = Start(0, False, 0)


@dataclass(frozen=True)
class Late:
    """Which of its passes' shortcuts a sweep takes: `trims` starts at the first changed position,
    `narrow` computes changed positions alone as long as others do not differ, `adds` takes what
    attention writes from memory."""

    trims: bool
    narrow: bool
    adds: bool


def starting(unit: Unit, change: Intervention, position: int, few: int) -> Start:
    """The start of a unit that acts from `position` on, at `few` positions."""
    sites = [change.site(target) for target in unit.targets]
    for feature in {target.site for target in unit.targets if target.site.feature}:
        sites += feature.ends[1]
        sites += feature.ends[0] if unit.is_live else ()
    layers = {s.layer for s in sites}
    layer, behind = min(map(_place, sites))
    here = {s.kind for s in sites if s.layer == layer}
    if layer < 0:
        return Start(layer, behind, position)
    few = few if len(layers) == 1 else 0
    from_mid = here <= BESIDE_ATTENTION and not any(t.site.feature for t in unit.targets)
    return Start(layer, behind, position, few, here <= BEHIND_KEYS, from_mid)


def _place(site: Site) -> tuple[int, bool]:
    return (-1, False) if site.layer is None else (site.layer, site.kind in BEHIND_ATTENTION)


def start(unit: Unit, change: Intervention) -> Start:
    """The start of a unit as the text knows it: at the earliest, and with positions that only the
    data knows counted as all."""
    counts = {p: count(p) for p in {t.positions for t in unit.targets}}
    few = 0 if 0 in counts.values() else sum(counts.values())
    return starting(unit, change, min(earliest(t.positions) for t in unit.targets), few)


def edge_layer(unit: Unit, n_layers: int) -> int:
    """The first layer that an edge of a unit enters, of a path its last edge; n_layers where all
    lead to the logits: a pass is the run's own before it."""
    targets = (str(t.site.edge).rpartition(" -> ")[2] for t in unit.targets)
    layers = (target_of(target).site.layer for target in targets)
    return min(n_layers if layer is None else layer for layer in layers)


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


def count(positions: Positions) -> int:
    """How many positions a prompt has changed, 0 where that depends on the data."""
    match positions.kind:
        case "index" | "first" | "last":
            return 1
        case "label":
            return 1 if positions.pick else 0
        case "union":
            parts = [count(part) for part in positions.parts]
            return 0 if 0 in parts else sum(parts)
        case "entry":
            return count(positions.parts[1])
        case _:
            return 0


def acts_everywhere(unit: Unit) -> bool:
    """Whether no data could tell more of where a unit starts, nor that it has no effect."""
    return all(target.positions == ALL for target in unit.targets)


@dataclass(frozen=True)
class Stretch:
    """`rows` that go through the model together from `start` on; its `few` counts the positions
    that are computed as long as others do not differ, 0 for all."""

    rows: int
    start: Start


def ordered(starts: Sequence[Start]) -> list[int]:
    """The units' numbers in the order in which they are run: those that start together are
    neighbours."""
    return sorted(range(len(starts)), key=lambda i: starts[i])


def together(starts: Sequence[Start], n: int, width: int, least: int) -> list[list[int]]:
    """The numbers of ordered starts in stretches that are run together, n rows a unit of prompts of
    `width` tokens: those of one group. A later position joins while fewer than `least` tokens are
    together: beyond that, starting anew at the later position is less work than a longer batch
    saves."""
    found: list[list[int]] = []
    for i, one in enumerate(starts):
        first = starts[found[-1][0]] if found else None
        if first is None or first.group != one.group:
            found.append([i])
            continue
        tokens = len(found[-1]) * n * (width - first.position)
        if one.position > first.position and tokens >= least:
            found.append([i])
        else:
            found[-1].append(i)
    return found


def common(starts: Sequence[Start], late: Late, width: int, first_read: int | None) -> Start | None:
    """Where a batch of units of one group starts; None for the beginning. `first_read` is the
    earliest position that is read, None where all are."""
    first = min(starts)
    if first.layer < 0:
        return None
    position = 0
    if late.trims and first_read is not None:
        position = min(first.position, first_read)
    most = max(s.few for s in starts) if late.narrow and all(s.few for s in starts) else 0
    few = most if 2 * most <= width - position else 0
    is_local = all(s.is_local for s in starts)
    from_mid = late.adds and not few and all(s.from_mid for s in starts)
    return replace(first, position=position, few=few, is_local=is_local, from_mid=from_mid)


def fitting(tokens: int, rows: int, width: int, position: int) -> int:
    """How many rows go through together: as many as hold `tokens` from a position on, `rows` at
    most."""
    return max(1, min(rows, tokens // max(1, width - position)))


JOINED = 2**19
"""Numbers of a tensor of keys that are brought together at once at least: they stay near a
processor's caches."""


def joined(rows: int, positions: int, length: int, width: int) -> int:
    """For how many of a batch's rows at a time the keys [length, width] of all positions are
    brought together, where a row has so many `positions` of its own: they are then no more than a
    quarter of the batch's, or few."""
    keys = max(rows * positions // 4, JOINED // width)
    return min(rows, max(1, keys // length))


@dataclass(frozen=True)
class Packing:
    """`tokens` and `rows` a batch at most, `shard` units a shard, and how many tokens keep a later
    start from joining a batch."""

    tokens: int
    rows: int
    shard: int
    least: int


WHOLE = Packing(tokens=1 << 60, rows=1 << 60, shard=1 << 60, least=1 << 60)
"""Everything at once."""


def stretches(
    starts: Sequence[Start],
    n: int,
    width: int,
    late: Late,
    packing: Packing,
    first_read: int | None,
) -> Iterator[Stretch]:
    """The batches of a late sweep over n examples of `width` tokens. O(units log units)."""
    order = [starts[i] for i in ordered(starts)]
    for first in range(0, len(order), packing.shard):
        part = order[first : first + packing.shard]
        for members in together(part, n, width, packing.least):
            group = [part[i] for i in members]
            yield from _batches(group, n, width, late, packing, first_read)


def _batches(
    group: Sequence[Start],
    n: int,
    width: int,
    late: Late,
    packing: Packing,
    first_read: int | None,
) -> Iterator[Stretch]:
    whole = common(group, late, width, first_read)
    size = fitting(packing.tokens, packing.rows, width, whole.position if whole else 0)
    for begin in range(0, len(group) * n, size):
        end = min(len(group) * n, begin + size)
        members = group[begin // n : (end - 1) // n + 1]
        yield Stretch(end - begin, common(members, late, width, first_read) or BEGINNING)
