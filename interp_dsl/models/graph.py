"""The computational graph of a model: who writes to the residual stream, who reads it. No torch.

Senders write: the embedding, each head, each MLP. Receivers read: the query, key and value input of
each (query) head, each MLP's input, the final residual. There is an edge wherever the sender comes
earlier (Conmy et al. 2023, arXiv 2304.14997, section 2; the counts are theirs without the direct
edges, and with them under `direct`). Biases are no senders.

Edges lie group by group, in execution order. A group holds the receivers of one layer and channel;
all of its members see the same first senders, so that its edges are a matrix
[members, senders seen].

A graph by position has every edge once at each of its `places`, which are positions as the language
writes them: an edge at a place is what its receiver reads there. Its edges lie place by place, at
each as in the graph without."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from interp_dsl.models.shape import Shape
from interp_dsl.plan.names import edge_name, target_of

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


class Edge(NamedTuple):
    """Names as the language writes them: `embed`, `pos_embed`, `L0H1`, `L0.mlp` are sources,
    `L1H0`, `L1.mlp`, `logits` targets; the channel is q, k, v (attn where they are not apart), mlp
    or logits. A direct edge leads from a head to itself: it stands between a receiver and what it
    feeds. `position`: where it is read, `all` in a graph that is not by position."""

    source: str
    target: str
    channel: str
    position: str = "all"

    def __str__(self) -> str:
        return edge_name(*self)


class Group(NamedTuple):
    """The receivers of one layer (None: the final residual) and channel: `members` of them, the
    first has number `first`; they see the first `senders`; `start` is their first edge."""

    layer: int | None
    channel: str
    members: int
    first: int
    senders: int
    start: int

    @property
    def edges(self) -> slice:
        return slice(self.start, self.start + self.members * self.senders)

    @property
    def receivers(self) -> slice:
        return slice(self.first, self.first + self.members)

    def matrix(self, values: Bools) -> Bools:
        """Values of all edges [..., E] -> those of the group [..., members, senders], a view."""
        return values[..., self.edges].reshape(*values.shape[:-1], self.members, self.senders)


@dataclass(frozen=True)
class Graph:
    """`direct` adds an edge a head receiver behind the others, in the order of the receivers: what
    the original ACDC counts; without it, the receiver is cut off as a whole. `joined`: the heads of
    a layer share a norm behind them (Gemma-2), through which each changes what the others write.
    `places`: of a graph by position, which has no direct edges."""

    shape: Shape
    split_qkv: bool = True
    split_embed: bool = False
    direct: bool = False
    places: tuple[str, ...] = ()

    @cached_property
    def embeds(self) -> tuple[str, ...]:
        is_split = self.split_embed and self.shape.positional == "standard"
        return ("embed", "pos_embed") if is_split else ("embed",)

    @cached_property
    def senders(self) -> tuple[str, ...]:
        """In execution order."""
        mlps = not self.shape.attn_only
        layers = range(self.shape.n_layers)
        blocks = (
            (*(f"L{layer}H{h}" for h in range(self.shape.n_heads)), *[f"L{layer}.mlp"][:mlps])
            for layer in layers
        )
        return (*self.embeds, *(name for block in blocks for name in block))

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """In execution order."""
        groups: list[Group] = []
        first = start = 0
        for layer, channel in self._channels():
            members = self.shape.n_heads if channel not in ("mlp", "logits") else 1
            group = Group(layer, channel, members, first, self._seen(layer, channel), start)
            groups.append(group)
            first, start = group.receivers.stop, group.edges.stop
        return tuple(groups)

    @property
    def joined(self) -> bool:
        return self.shape.post_norms

    @cached_property
    def n_receivers(self) -> int:
        return sum(group.members for group in self.groups)

    @cached_property
    def n_additive(self) -> int:
        """Edges from sender to receiver, without direct ones, at one place."""
        return sum(group.members * group.senders for group in self.groups)

    @property
    def n_edges(self) -> int:
        return self.n_additive * max(1, len(self.places)) + len(self.direct_receivers)

    def __len__(self) -> int:
        return self.n_edges

    @cached_property
    def receivers(self) -> tuple[tuple[str, str], ...]:
        """(target, channel) of each receiver."""
        return tuple(
            (self._target(group, member), group.channel)
            for group in self.groups
            for member in range(group.members)
        )

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        additive = (
            Edge(sender, *self.receivers[receiver], place)
            for place in self.places or ("all",)
            for group in self.groups
            for receiver in range(group.first, group.receivers.stop)
            for sender in self.senders[: group.senders]
        )
        direct = (self.receivers[receiver] for receiver in self.direct_receivers)
        return (*additive, *(Edge(target, target, channel) for target, channel in direct))

    @cached_property
    def index(self) -> dict[Edge, int]:
        return {edge: number for number, edge in enumerate(self.edges)}

    @cached_property
    def sender_of(self) -> Ints:
        """The sender of each edge [E]; -1 for a direct edge."""
        parts = [np.tile(np.arange(group.senders), group.members) for group in self.groups]
        additive = np.tile(np.concatenate(parts), max(1, len(self.places)))
        return np.concatenate([additive, np.full(len(self.direct_receivers), -1)])

    @cached_property
    def receiver_of(self) -> Ints:
        """The receiver of each edge [E]."""
        parts = [
            np.repeat(np.arange(group.first, group.receivers.stop), group.senders)
            for group in self.groups
        ]
        additive = np.tile(np.concatenate(parts), max(1, len(self.places)))
        return np.concatenate([additive, np.array(self.direct_receivers, dtype=np.int64)])

    @cached_property
    def place_of(self) -> Ints:
        """The number of each edge's place [E]; 0 where there are none."""
        places = np.arange(max(1, len(self.places)))
        direct = np.zeros(len(self.direct_receivers), dtype=np.int64)
        return np.concatenate([np.repeat(places, self.n_additive), direct])

    @cached_property
    def direct_receivers(self) -> tuple[int, ...]:
        """The receivers that direct edges lead to; none without `direct`."""
        heads = [group for group in self.groups if group.channel not in ("mlp", "logits")]
        found = (number for group in heads for number in range(group.first, group.receivers.stop))
        return tuple(found) if self.direct else ()

    def direct_edges(self, group: Group) -> slice | None:
        """The direct edges of a group's receivers."""
        if group.first not in self.direct_receivers:
            return None
        start = self.n_additive + self.direct_receivers.index(group.first)
        return slice(start, start + group.members)

    @cached_property
    def group_of(self) -> tuple[Group, ...]:
        """The group of each receiver."""
        return tuple(group for group in self.groups for _ in range(group.members))

    @cached_property
    def node_of(self) -> Ints:
        """The sender whose input each receiver is; -1 for the final residual."""
        found = np.full(self.n_receivers, -1)
        for group in self.groups[:-1]:
            nodes = self.nodes(group)
            found[group.receivers] = np.arange(nodes.start, nodes.stop)
        return found

    def heads(self, layer: int) -> slice:
        """The senders that are a layer's heads."""
        first = self._seen(layer, "q")
        return slice(first, first + self.shape.n_heads)

    def mlp(self, layer: int) -> int:
        """The sender that is a layer's MLP."""
        return self._seen(layer, "q") + self.shape.n_heads

    def nodes(self, group: Group) -> slice:
        """The senders whose inputs a layer's group is, one a receiver."""
        assert group.layer is not None
        if group.channel != "mlp":
            return self.heads(group.layer)
        mlp = self.mlp(group.layer)
        return slice(mlp, mlp + 1)

    def present(self, kept: Bools) -> Bools:
        """The additive edges [..., n_additive] of kept edges [..., E] whose receiver is not cut off
        by the lack of its direct edge; those that are kept at some place."""
        if self.places:
            anywhere: Bools = np.asarray(self.by_place(kept).any(-2))
            return anywhere
        if not self.direct:
            return kept
        whole = np.ones((*kept.shape[:-1], self.n_receivers), dtype=bool)
        whole[..., list(self.direct_receivers)] = kept[..., self.n_additive :]
        additive: Bools = (
            kept[..., : self.n_additive] & whole[..., self.receiver_of[: self.n_additive]]
        )
        return additive

    def by_place(self, values: Bools) -> Bools:
        """Values of all edges [..., E] -> [..., places, n_additive], a view."""
        return values.reshape(*values.shape[:-1], len(self.places), self.n_additive)

    def _channels(self) -> Iterator[tuple[int | None, str]]:
        channels = ("q", "k", "v") if self.split_qkv else ("attn",)
        for layer in range(self.shape.n_layers):
            yield from ((layer, channel) for channel in channels)
            if not self.shape.attn_only:
                yield layer, "mlp"
        yield None, "logits"

    def _seen(self, layer: int | None, channel: str) -> int:
        """How many senders come before a receiver; an MLP in parallel does not see its own layer's
        heads."""
        shape = self.shape
        layers = shape.n_layers if layer is None else layer
        before = len(self.embeds) + layers * (shape.n_heads + (not shape.attn_only))
        return before + (shape.n_heads if channel == "mlp" and not shape.parallel else 0)

    def _target(self, group: Group, member: int) -> str:
        if group.layer is None:
            return "logits"
        return f"L{group.layer}.mlp" if group.channel == "mlp" else f"L{group.layer}H{member}"


def leads(source: str, target: str, shape: Shape) -> bool:
    """Whether an edge leads from one node to another: the source comes earlier, or is a head that
    the MLP of its layer reads."""
    if target == "logits" or source in ("embed", "pos_embed"):
        return True
    first, then = target_of(source).site, target_of(target).site
    assert first.layer is not None and then.layer is not None
    if first.layer != then.layer:
        return first.layer < then.layer
    return first.kind == "head" and then.kind == "mlp_out" and not shape.parallel
