"""Heads and MLPs behind a receiver, with what they read and wrote in the accepted state.

Shapes: heads or states first, then K candidates (in a flow), then B, t, and d_model D or d_head."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from interp_dsl.circuits.clean import Clean
from interp_dsl.circuits.flow import Flow, Inputs, Update
from interp_dsl.circuits.layer import Layer
from interp_dsl.circuits.rows import index
from interp_dsl.circuits.sent import picked
from interp_dsl.models.graph import Bools, Ints

PARTS = "qkv"


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
        if not self._tested(flow):
            self._reached(flow)

    # ---- heads that the candidates take edges from

    def _tested(self, flow: Flow) -> bool:
        """Recompute heads that candidates take edges from, each once for all candidates that leave
        it alike; whether there are any."""
        state = np.full((len(PARTS), len(self._heads), flow.n_candidates), -1)
        new: dict[str, Tensor] = {}
        for inputs, channels in zip(self.inputs, self._channels, strict=True):
            states = inputs.states(flow)
            if states is None:
                continue
            h = self.layer.normed(states.x)
            channel_of, head_of = np.divmod(states.rows, len(self._heads))
            for number, channel in enumerate(channels):
                mine = np.flatnonzero(channel_of == number)
                touched = states.touched // len(self._heads) == number
                if not len(mine):
                    continue
                heads, which = states.touched[touched] % len(self._heads), states.which[touched]
                x = h[mine[0] : mine[-1] + 1]
                for part in _parts(channel):
                    new[part] = self._project(x, part, head_of[mine], inputs.narrow, flow)
                    state[PARTS.index(part), heads] = np.where(which < 0, -1, which - mine[0])
        if new:
            self._write_states(new, state, flow)
        return bool(new)

    def _write_states(self, new: dict[str, Tensor], state: Ints, flow: Flow) -> None:
        """Attend and write for heads with new queries, keys or values: those of `new` [states, B,
        t, d_head] that `state` [parts, heads, K] tells, the accepted ones where it says -1."""
        heads, candidates = np.nonzero((state >= 0).any(0))
        code = heads
        for of_part in state[:, heads, candidates]:
            code = code * (state.max() + 2) + of_part + 1
        _, first, which = np.unique(code, return_index=True, return_inverse=True)
        mine, at = heads[first], state[:, heads[first], candidates[first]]
        q, k, v = (
            self._mixed(part, mine, of_part, new.get(part))
            for part, of_part in zip(PARTS, at, strict=True)
        )
        z = self.layer.attend(q, k, v, flow.clean.prompts, self.narrow)
        written = self.layer.write(z, self._heads[mine])
        for part, of_part in zip(PARTS, state, strict=True):
            if part in new:
                rows = np.arange(len(self._heads))
                flow.updates.append(Update(self._parts[part], rows, new[part], of_part))
        spread = np.full(state.shape[1:], -1)
        spread[heads, candidates] = which
        self._send_states(written, mine, spread, flow)

    def _mixed(self, part: str, heads: Ints, at: Ints, new: Tensor | None) -> Tensor:
        """Queries, keys or values [n, B, t, d_head] of heads [n]: the states of `new` that `at` [n]
        tells, the accepted ones where it says -1."""
        kept = self._parts[part]
        if new is None:
            return kept[index(heads, kept.device)]
        if (at >= 0).all():
            return picked(new, at)
        return picked(torch.cat([new, kept]), np.where(at >= 0, at, len(new) + heads))

    def _send_states(self, written: Tensor, heads: Ints, which: Ints, flow: Flow) -> None:
        """Send what candidates make heads write: `written` [n, B, t, D] by heads [n], of which
        `which` [heads, K] is each candidate's, none where it says -1."""
        if self._raw is not None:
            every = np.arange(len(self._raw))
            raw = picked(
                torch.cat([written, self._raw]),
                np.where(which >= 0, which, len(written) + every[:, None]),
            )
            flow.updates.append(Update(self._raw, every, written, which))
            self._send(*self._rescaled(raw), flow)
            return
        rows = np.unique(heads)
        mine = which[rows]
        flow.updates.append(Update(self._written, rows, written, mine))
        difference = written - self._written[index(heads, written.device)]
        flow.send_states(self.senders[rows], difference, mine, self.narrow)

    # ---- heads that changed senders reach

    def _reached(self, flow: Flow) -> None:
        """Recompute heads that changed senders reach, for all candidates."""
        new = self._projected(flow)
        if not new:
            return
        heads = np.unique(np.concatenate([rows for rows, _ in new.values()]))
        q, k, v = (self._current(part, heads, new.get(part), flow) for part in PARTS)
        if flow.leaves_clean(self.inputs) and self._raw is None:
            return
        z = self.layer.attend(q, k, v, flow.clean.prompts, self.narrow)
        written = self.layer.write(z, self._heads[heads])
        if self._raw is not None:
            rows = torch.from_numpy(heads).to(written.device)
            raw = self._raw[:, None].expand(-1, *written.shape[1:]).index_copy(0, rows, written)
            flow.updates.append(Update(self._raw, heads, written))
            heads, written = self._rescaled(raw)
        self._send(heads, written, flow)

    def _projected(self, flow: Flow) -> dict[str, tuple[Ints, Tensor]]:
        """The queries, keys and values that change: whose, and [n, K, B, t, d_head]."""
        made: dict[str, list[tuple[Ints, Tensor]]] = {}
        for inputs, channels in zip(self.inputs, self._channels, strict=True):
            changed = inputs.changed(flow)
            if changed is None:
                continue
            for members, own in changed.parts():
                h = self.layer.normed(changed.new(own))
                channel_of, head_of = np.divmod(changed.rows[members], len(self._heads))
                for number in dict.fromkeys(channel_of.tolist()):
                    mine = np.flatnonzero(channel_of == number)
                    x = h if len(own) < len(members) else h[mine[0] : mine[-1] + 1]
                    heads = head_of[mine]
                    for part in _parts(channels[number]):
                        piece = self._project(x, part, heads, inputs.narrow, flow)
                        made.setdefault(part, []).append((heads, piece))
        return {part: _joined(pieces) for part, pieces in made.items()}

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
            flow.updates.append(Update(kept, *new))
            if len(new[0]) == len(heads):
                return new[1]
        old = kept[index(heads, kept.device)][:, None]
        old = old.expand(-1, flow.n_candidates, *old.shape[2:])
        if new is None:
            return old
        return old.index_copy(
            0, torch.from_numpy(np.searchsorted(heads, new[0])).to(old.device), new[1]
        )

    # ---- both

    def _send(self, heads: Ints, written: Tensor, flow: Flow) -> None:
        """Send what heads write now, [n, K, B, t, D]."""
        difference = written - self._written[index(heads, written.device)][:, None]
        flow.send(self.senders[heads], difference, self.narrow)
        flow.updates.append(Update(self._written, heads, written))

    def _rescaled(self, raw: Tensor) -> tuple[Ints, Tensor]:
        """A norm behind the attention: what one head writes changes what it makes of all,
        [H, K, B, t, D]."""
        scale = self.layer.post_scale(raw)
        assert scale is not None
        return np.arange(len(raw)), raw * scale


def _joined(pieces: Sequence[tuple[Ints, Tensor]]) -> tuple[Ints, Tensor]:
    """Pieces [n, …] of heads as one, heads ascending."""
    if len(pieces) == 1:
        return pieces[0]
    heads = np.sort(np.concatenate([mine for mine, _ in pieces]))
    first = pieces[0][1]
    found = first.new_empty(len(heads), *first.shape[1:])
    for mine, piece in pieces:
        found[index(np.searchsorted(heads, mine), piece.device)] = piece
    return heads, found


def _parts(channel: str) -> str:
    return PARTS if channel == "attn" else channel


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
        x = self.inputs[0].only(flow)
        if x is not None and not flow.leaves_clean(self.inputs):
            written = self.layer.mlp(x)[None]
            flow.send(self.senders, written - self._written[:, None], self.narrow)
            flow.updates.append(Update(self._written, np.arange(1), written))
