"""Heads and MLPs behind a receiver, with what they read and wrote in the accepted state.

Shapes: receivers or heads first, then K candidates (in a flow), then B, t, and d_model D or
d_head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from interp_dsl.circuits.clean import Clean
from interp_dsl.circuits.layer import Layer
from interp_dsl.circuits.rows import Rows, index
from interp_dsl.models.graph import Bools, Group, Ints


class Given(NamedTuple):
    """What K candidates take from one receiver: of the edges from `senders`, ascending, those that
    `removed` [K, len(senders)] marks by 1."""

    receiver: int
    senders: Ints
    removed: Tensor

    def inputs(self, x: Tensor, differences: Tensor) -> Tensor:
        """x + Σ_s removed_s (ablated_s - clean_s), [K, B, t, D], from the accepted input x
        [B, t, D] and the differences [S, B, t, D] of all senders."""
        mine = differences[index(self.senders, x.device)]
        if self.removed.shape == (1, 1):
            return x + mine
        return torch.addmm(x.flatten(), self.removed, mine.flatten(1)).view(-1, *x.shape)


class Flow:
    """One run of K candidates from a receiver to the logits: what changed senders write, less what
    they write in the accepted state. Without `given` everything is computed."""

    def __init__(
        self, clean: Clean, n_senders: int, n_candidates: int, given: Given | None
    ) -> None:
        self.clean = clean
        self.given = given
        self.n_candidates = n_candidates
        self.updates: list[tuple[Tensor, slice | Tensor, Tensor]] = []
        self._senders: tuple[list[int], list[int]] = ([], [])
        self._differences = (Rows(n_senders), Rows(n_senders))

    def send(self, senders: Ints, difference: Tensor, narrow: bool) -> None:
        """Of narrow senders only what they write at the reads is known, and needed."""
        if not narrow:
            self._senders[False].extend(senders)
            self._differences[False].add(difference)
            difference = self.clean.prompts.narrowed(difference)
        self._senders[True].extend(senders)
        self._differences[True].add(difference)

    def sent(self, narrow: bool) -> tuple[list[int], Tensor | None]:
        """Senders, and the differences [s, K, B, t, D] of what they write; None of none."""
        rows = self._differences[narrow]
        return self._senders[narrow], rows.first(rows.count) if rows.count else None

    def leaves_clean(self, inputs: Sequence[Inputs]) -> bool:
        """Is this the first run, and has nothing been removed before or at these inputs?"""
        return self.given is None and not self._senders[True] and all(i.is_clean for i in inputs)

    def replace(self, kept: Tensor, rows: slice | Tensor, new: Tensor) -> None:
        """Note that kept[rows] are `new` [n, K, ...] when a candidate is accepted."""
        self.updates.append((kept, rows, new))

    def accept(self, candidate: int) -> None:
        for kept, rows, new in self.updates:
            kept[rows] = new[:, candidate]


class Inputs:
    """The inputs of some receivers of one layer, `x` [n, B, t, D]; `present` [n, S] are the kept
    edges into them. At first the senders behind the receiver of the search count as clean."""

    def __init__(
        self, clean: Clean, receivers: Sequence[tuple[Group, int]], present: Bools, narrow: bool
    ) -> None:
        numbers = [group.first + member for group, member in receivers]
        self.rows = {number: row for row, number in enumerate(numbers)}
        self.narrow = narrow
        group = receivers[0][0]
        shape = (len(receivers), len(clean.forward.graph.senders))
        self.present = np.zeros(shape, dtype=bool)
        for row, (its, member) in enumerate(receivers):
            self.present[row, : its.senders] = its.matrix(present)[member]
        differences = clean.differences(narrow)[: group.senders].flatten(1)
        removed = torch.from_numpy(~self.present[:, : group.senders]).to(differences)
        stream = clean.stream(group, narrow)
        self.is_clean = bool(self.present[:, : group.senders].all())
        self.x = torch.addmm(stream.flatten(), removed, differences).view(-1, *stream.shape)

    def changed(self, flow: Flow) -> tuple[Ints, Tensor] | None:
        """The rows that a flow changes, ascending, and their new inputs [n, K, B, t, D]; noted as
        what replaces the accepted ones. None when it changes none."""
        given = flow.given
        if given is None:
            return self._first(flow)
        if given.receiver in self.rows:
            found = np.array([self.rows[given.receiver]])
            differences = flow.clean.differences(self.narrow)
            x = given.inputs(self.x[found[0]], differences)[None]
        else:
            senders, sent = flow.sent(self.narrow)
            edges = self.present[:, senders]
            found = np.flatnonzero(edges.any(1))
            if sent is None or not len(found):
                return None
            old = self.x[index(found, self.x.device)][:, None]
            x = old + sent if len(senders) == 1 else _sum(edges[found], sent).add_(old)
        flow.replace(self.x, index(found, x.device), x)
        return found, x

    def _first(self, flow: Flow) -> tuple[Ints, Tensor]:
        """All rows, of which there is one where all are alike. What senders write less what they
        write in the clean run is added for good."""
        senders, sent = flow.sent(self.narrow)
        if sent is not None:
            self.x += _sum(self.present[:, senders], sent)[:, 0]
        alike = flow.leaves_clean([self])
        return np.arange(len(self.x)), self.x[: 1 if alike else None, None]


def _sum(edges: Bools, sent: Tensor) -> Tensor:
    """[n, K, B, t, D]: what each of n receivers gets over `edges` [n, s] of `sent`
    [s, K, B, t, D]."""
    found: Tensor = torch.tensordot(torch.from_numpy(edges).to(sent), sent, 1)
    return found


class Heads:
    """Some heads of a layer, all of them wide or all narrow."""

    def __init__(
        self, clean: Clean, number: int, heads: Ints, present: Bools, narrow: bool
    ) -> None:
        graph, shape = clean.forward.graph, clean.forward.graph.shape
        self.layer: Layer = clean.forward.layers[number]
        self.narrow = narrow
        self.senders = heads + graph.heads(number).start
        self._heads = heads
        groups = {g.channel: g for g in graph.groups if g.layer == number and g.channel != "mlp"}
        late = ["q"] if narrow and graph.split_qkv else []
        early = [channel for channel in groups if channel not in late]
        self.inputs: list[Inputs] = []
        self._channels = [channels for channels in (early, late) if channels]
        for channels in self._channels:
            receivers = [(groups[channel], head) for channel in channels for head in heads]
            self.inputs.append(Inputs(clean, receivers, present, channels is late))
        self._written = clean.outputs(narrow)[index(self.senders, clean.tokens.device)].clone()
        wide = self._written.new_empty(2, len(heads), *clean.tokens.shape, shape.d_head)
        q = self._written.new_empty(*self._written.shape[:-1], shape.d_head)
        self._parts = {"q": q, "k": wide[0], "v": wide[1]}
        self._raw = torch.empty_like(self._written) if graph.joined else None

    def advance(self, flow: Flow) -> None:
        """Recompute the heads whose queries, keys or values a flow changes."""
        new = self._projected(flow)
        if not new:
            return
        prompts = flow.clean.prompts
        heads = np.unique(np.concatenate([rows for rows, _ in new.values()]))
        q, k, v = (self._current(part, heads, new.get(part), flow) for part in "qkv")
        if flow.leaves_clean(self.inputs) and self._raw is None:
            return
        z = self.layer.attend(q, k, v, prompts, self.narrow)
        written = self.layer.write(z, self._heads[heads])
        if self._raw is not None:
            heads, written = self._rescaled(heads, written, flow)
        rows = index(heads, written.device)
        flow.send(self.senders[heads], written - self._written[rows][:, None], self.narrow)
        flow.replace(self._written, rows, written)

    def _projected(self, flow: Flow) -> dict[str, tuple[Ints, Tensor]]:
        """The queries, keys and values that change: whose, and [n, K, B, t, d_head]."""
        new: dict[str, tuple[Ints, Tensor]] = {}
        for inputs, channels in zip(self.inputs, self._channels, strict=True):
            changed = inputs.changed(flow)
            if changed is None:
                continue
            rows, h = changed[0], self.layer.normed(changed[1])
            ends = np.searchsorted(rows, np.arange(len(channels) + 1) * len(self._heads))
            for number, channel in enumerate(channels):
                mine = slice(ends[number], ends[number + 1])
                heads = rows[mine] - number * len(self._heads)
                x = h if len(h) == 1 else h[mine]
                for part in "qkv" if channel == "attn" else channel:
                    if len(heads):
                        new[part] = heads, self._project(x, part, heads, inputs.narrow, flow)
        return new

    def _project(self, h: Tensor, part: str, heads: Ints, is_narrow: bool, flow: Flow) -> Tensor:
        prompts, narrow = flow.clean.prompts, self.narrow and part == "q"
        if narrow and not is_narrow:
            h = prompts.narrowed(h)
        return self.layer.project(h, part, prompts.positions(narrow), self._heads[heads])

    def _current(
        self, part: str, heads: Ints, new: tuple[Ints, Tensor] | None, flow: Flow
    ) -> Tensor:
        """Queries, keys or values of some heads, [n, K, B, t, d_head], the new ones of which are
        those of `new`."""
        kept = self._parts[part]
        if new is not None:
            flow.replace(kept, index(new[0], kept.device), new[1])
            if len(new[0]) == len(heads):
                return new[1]
        old = kept[index(heads, kept.device)][:, None]
        old = old.expand(-1, flow.n_candidates, *old.shape[2:])
        if new is None:
            return old
        return old.index_copy(
            0, torch.from_numpy(np.searchsorted(heads, new[0])).to(old.device), new[1]
        )

    def _rescaled(self, heads: Ints, new: Tensor, flow: Flow) -> tuple[Ints, Tensor]:
        """A norm behind the attention: what one head writes changes what it makes of all."""
        assert self._raw is not None
        rows = torch.from_numpy(heads).to(new.device)
        raw = self._raw[:, None].expand(-1, *new.shape[1:]).index_copy(0, rows, new)
        flow.replace(self._raw, rows, new)
        scale = self.layer.post_scale(raw)
        assert scale is not None
        return np.arange(len(raw)), raw * scale


class Mlp:
    def __init__(self, clean: Clean, number: int, present: Bools, narrow: bool) -> None:
        graph = clean.forward.graph
        self.layer: Layer = clean.forward.layers[number]
        self.narrow = narrow
        self.senders = np.array([graph.mlp(number)])
        group = next(g for g in graph.groups if g.layer == number and g.channel == "mlp")
        self.inputs = [Inputs(clean, [(group, 0)], present, narrow)]
        self._written = clean.outputs(narrow)[self.senders[0]][None].clone()

    def advance(self, flow: Flow) -> None:
        changed = self.inputs[0].changed(flow)
        if changed is not None and not flow.leaves_clean(self.inputs):
            written = self.layer.mlp(changed[1])
            flow.send(self.senders, written - self._written[:, None], self.narrow)
            flow.replace(self._written, slice(None), written)
