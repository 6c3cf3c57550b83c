"""Units read back from a score table's `unit` and `position` columns: the inverse of Unit.place
and Unit.position."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from interp_dsl.plan.places import ALL, HEAD_SITES, Positions, Site, Target, Unit

CHANNELS = ("q", "k", "v")
_PLAIN = ("all", "each", "first", "last")


def unit_of(place: str, position: str, features: Sequence[Site] = ()) -> Unit:
    """The unit whose place and position these are; ValueError for text that is none. `features`:
    the sites of features and errors that it may name."""
    shared = ALL if position == "mixed" else positions_of(position)
    if not (place.startswith("together(") and place.endswith(")")):
        return Unit((target_of(place, shared, features),))
    parts = _split(place[len("together(") : -1], ", ")
    if position != "mixed":
        return Unit(tuple(target_of(p, shared, features) for p in parts))
    split = (p.partition(" at ") for p in parts)
    return Unit(tuple(target_of(a, positions_of(b) if b else ALL, features) for a, _, b in split))


def target_of(place: str, positions: Positions = ALL, features: Sequence[Site] = ()) -> Target:
    """The target of a place such as `L9H6.q`, `L3.mlp[512]`, `L5.resid_pre`, `embed`, `sae[12]`."""
    for site in features:
        number = re.search(r"(\d+)\]$", place) if site.kind == "feature" else None
        named = Target(site, int(number[1]) if number else None, positions)
        if named.place == place:
            return named
    if place.startswith('"'):
        return Target(Site("hook", None, place.strip('"')), None, positions)
    if " -> " in place:
        return Target(Site("edge", edge=place), None, positions)
    head = re.fullmatch(r"L(\d+)H(\d+)(?:\.(\w+))?", place)
    if head:
        kind = head[3] or "head"
        if kind not in HEAD_SITES:
            raise ValueError(f"{place!r} is no place")
        return Target(Site(kind, int(head[1])), int(head[2]), positions)
    neuron = re.fullmatch(r"L(\d+)\.mlp\[(\d+)\]", place)
    if neuron:
        return Target(Site("neuron", int(neuron[1])), int(neuron[2]), positions)
    neurons = re.fullmatch(r"neurons layers (\d+)", place)
    if neurons:
        return Target(Site("neuron", int(neurons[1])), None, positions)
    layered = re.fullmatch(r"L(\d+)\.(\w+)", place)
    if layered:
        kind = "mlp_out" if layered[2] == "mlp" else layered[2]
        return Target(Site(kind, int(layered[1])), None, positions)
    if not place.isidentifier():
        raise ValueError(f"{place!r} is no place")
    return Target(Site(place), None, positions)


def edge_name(source: str, target: str, channel: str, position: str = "all") -> str:
    """An edge as the language writes it: `L0H1 -> L1H0.k`, `embed -> L0.mlp`, `L1H0 -> logits`;
    where a head's channels are not apart, `L0H1 -> L1H0`; at a position `L0H1 -> L1H0.k at END`."""
    where = "" if position == "all" else f" at {position}"
    return f"{source} -> {target}{f'.{channel}' if channel in CHANNELS else ''}{where}"


def node_of(place: str) -> str:
    """The node of a place at an edge's end: `L1H3` of `L1H3.k`; `L0.mlp` is one itself."""
    node, _, channel = place.rpartition(".")
    return node if channel in CHANNELS else place


def hops(path: str) -> tuple[str, ...]:
    """The edges of a path in turn: of `L0H1 -> L1H3.k -> logits` they are `L0H1 -> L1H3.k` and
    `L1H3 -> logits`."""
    places = path.split(" -> ")
    return tuple(f"{node_of(a)} -> {b}" for a, b in pairwise(places))


def is_direct(edge: str) -> bool:
    """Whether an edge leads from a head to itself, as the original ACDC's direct ones do."""
    source, _, target = edge.partition(" -> ")
    return source == target.partition(".")[0] and "." not in source


def positions_of(text: str) -> Positions:
    """The positions that str(Positions) wrote."""
    ends = _split(text, " -> ")
    if len(ends) == 2:
        return Positions("entry", parts=(positions_of(ends[0]), positions_of(ends[1])))
    terms = _split(text, " - ")
    if len(terms) > 1:
        left = positions_of(" - ".join(terms[:-1]))
        return Positions("minus", parts=(left, positions_of(terms[-1])))
    if text.startswith("together(") and text.endswith(")"):
        inner = _split(text[len("together(") : -1], ", ")
        return Positions("union", parts=tuple(map(positions_of, inner)))
    if text in _PLAIN:
        return Positions(text)
    if text.isdigit():
        return Positions("index", index=int(text))
    label, _, pick = text.partition(".")
    return Positions("label", label=label, pick=pick or None)


def _split(text: str, separator: str) -> list[str]:
    """Split outside brackets."""
    parts, depth, start = [], 0, 0
    for i, character in enumerate(text):
        depth += (character in "([") - (character in ")]")
        if depth == 0 and text.startswith(separator, i):
            parts.append(text[start:i])
            start = i + len(separator)
    return [*parts, text[start:]]
