"""Heads and MLPs behind a receiver, with what they read and wrote in the accepted state.

Shapes: heads or states first, then K candidates (in a flow), then B, t, and d_model D or d_head."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from interp_dsl.circuits import absorbed
from interp_dsl.circuits.absorbed import Source, joined
from interp_dsl.circuits.clean import Clean
from interp_dsl.circuits.flow import Flow, Inputs, State, Update
from interp_dsl.circuits.layer import Layer
from interp_dsl.circuits.prompts import Prompts
from interp_dsl.circuits.rows import picked
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
        self._channels = [channels for channels in (late, early) if channels]
        for channels in self._channels:
            receivers = [(groups[channel], head) for channel in channels for head in heads]
            self.inputs.append(Inputs(clean, receivers, present, channels is late))
        self._written = picked(clean.outputs(narrow), self.senders).clone()
        wide = self._written.new_empty(2, len(heads), *clean.tokens.shape, shape.d_head)
        q = self._written.new_empty(*self._written.shape[:-1], shape.d_head)
        self._parts = {"q": q, "k": wide[0], "v": wide[1]}
        self._raw = torch.empty_like(self._written) if graph.joined else None
        pays = narrow and absorbed.pays(q.shape[-2], clean.tokens.shape[1], shape.d_head)
        maps = "kv" if absorbed.absorbs_keys(self.layer) else "v"
        self._absorbed = maps if pays else ""
        """Which of keys and values are told by their inputs when they are new."""

    def advance(self, flow: Flow) -> None:
        """Recompute the heads whose queries, keys or values a flow changes."""
        if not self._tested(flow):
            self._reached(flow)

    # ---- heads that the candidates take edges from

    def _tested(self, flow: Flow) -> bool:
        """Recompute the heads that candidates take edges from, each its own; whether there are
        any."""
        new: dict[str, tuple[int, Tensor]] = {}
        found: list[tuple[Ints, Ints]] = []
        before = 0
        for inputs, channels in zip(self.inputs, self._channels, strict=True):
            states = inputs.states(flow)
            if states is None:
                continue
            h = self.layer.normed(states.x)
            channel_of, head_of = np.divmod(states.rows, len(self._heads))
            ends = np.searchsorted(channel_of, np.arange(len(channels) + 1)).tolist()
            for channel, start, end in zip(channels, ends, ends[1:], strict=False):
                if start < end:
                    about = (head_of[start:end], inputs.narrow, flow.clean.prompts)
                    for part in _parts(channel):
                        x = self._project(h[start:end], part, *about)
                        new[part] = before + start, x
            found.append((states.candidates, head_of))
            before += len(head_of)
        if found:
            candidates, heads = (np.concatenate(of) for of in zip(*found, strict=True))
            self._write_states(candidates, heads, new, flow)
        return bool(found)

    def _write_states(
        self, candidates: Ints, heads: Ints, new: dict[str, tuple[int, Tensor]], flow: Flow
    ) -> None:
        """Attend and write: candidates [m] change the heads [m], of which some have `new` queries,
        keys or values, from a place among them on."""
        q, k, v = (self._mixed(part, heads, *new.get(part, (0, None))) for part in PARTS)
        z = self.layer.attend(q, k, v, flow.clean.prompts, self.narrow)
        for part, (first, x) in new.items():
            mine = slice(first, first + len(x))
            flow.updates.append(State(self._parts[part], candidates[mine], heads[mine], x))
        written = self.layer.write(z, self._heads[heads])
        if self._raw is not None:
            raw = self._raw[:, None].repeat_interleave(flow.n_candidates, 1)
            raw[heads, candidates] = written
            flow.updates.append(State(self._raw, candidates, heads, written))
            self._send(*self._rescaled(raw), flow)
            return
        flow.updates.append(State(self._written, candidates, heads, written))
        difference = written - picked(self._written, heads)
        flow.send_states(candidates, self.senders[heads], difference, self.narrow)

    def _mixed(self, part: str, heads: Ints, first: int, new: Tensor | None) -> Tensor:
        """Queries, keys or values [m, B, t, d_head] of heads [m]: new from the `first` on, the
        accepted ones before and behind these."""
        kept = self._parts[part]
        if new is None:
            return picked(kept, heads)
        if len(new) == len(heads):
            return new
        last = first + len(new)
        return torch.cat([picked(kept, heads[:first]), new, picked(kept, heads[last:])])

    # ---- heads that changed senders reach

    def _reached(self, flow: Flow) -> None:
        """Recompute heads that changed senders reach, for all candidates."""
        new = self._changed(flow)
        if not new or (flow.leaves_clean(self.inputs) and self._raw is None):
            return
        heads = np.unique(np.concatenate([piece.rows for of in new.values() for piece in of]))
        prompts, shape = flow.clean.prompts, (len(heads), flow.n_candidates)
        q, k, v = (self._sources(part, heads, new.get(part, []), flow) for part in PARTS)
        if any(piece.is_input for piece in (*k, *v)):
            about = (self.layer, prompts, self._heads[heads])
            z = absorbed.attended(*about, joined(q, shape), k, v)
        else:
            made = joined(q, shape), joined(k, shape), joined(v, shape)
            z = self.layer.attend(*made, prompts, self.narrow)
        written = self.layer.write(z, self._heads[heads])
        if self._raw is not None:
            rows = torch.from_numpy(heads).to(written.device)
            raw = self._raw[:, None].expand(-1, *written.shape[1:]).index_copy(0, rows, written)
            flow.updates.append(Update(self._raw, heads, flow.everyone, written))
            heads, written = self._rescaled(raw)
        self._send(heads, written, flow)

    def _changed(self, flow: Flow) -> dict[str, list[Source]]:
        """The queries, keys and values that change, noted as what replaces the accepted ones."""
        made: dict[str, list[Source]] = {}
        for inputs, channels in zip(self.inputs, self._channels, strict=True):
            changed = inputs.changed(flow)
            if changed is None:
                continue
            for rows, own in changed.parts():
                some, x = changed.new(own)
                h = self.layer.normed(x)
                channel_of, head_of = np.divmod(rows, len(self._heads))
                for number in dict.fromkeys(channel_of.tolist()):
                    mine = np.flatnonzero(channel_of == number)
                    x = h if len(own) < len(rows) else h[mine[0] : mine[-1] + 1]
                    for part in _parts(channels[number]):
                        about = (head_of[mine], some, inputs.narrow, flow)
                        made.setdefault(part, []).append(self._renewed(x, part, *about))
        return made

    def _renewed(
        self, h: Tensor, part: str, heads: Ints, some: Ints, is_narrow: bool, flow: Flow
    ) -> Source:
        """New queries, keys or values of normed inputs h [m or 1, c, B, T, D] of some candidates
        [c]. Of those absorbed, just a candidate accepted is projected."""

        prompts = flow.clean.prompts  # a flow that held itself would outlive its batch

        def project(h: Tensor) -> Tensor:
            return self._project(h, part, heads, is_narrow, prompts)

        is_input = flow.given is not None and part in self._absorbed
        x = h if is_input else project(h)
        make = project if is_input else None
        flow.updates.append(Update(self._parts[part], heads, some, x, make=make))
        return Source(heads, some, x, is_input)

    def _sources(self, part: str, heads: Ints, new: Sequence[Source], flow: Flow) -> list[Source]:
        """Queries, keys or values of some heads [n], each by its place among these: the new ones,
        and before them those accepted where new ones leave any."""
        found = [piece._replace(rows=np.searchsorted(heads, piece.rows)) for piece in new]
        is_old = np.ones(len(heads), dtype=bool)
        for piece in found:
            is_old[piece.rows] = len(piece.some) < flow.n_candidates
        if is_old.any():
            old = picked(self._parts[part], heads[is_old])[:, None]
            found.insert(0, Source(np.flatnonzero(is_old), flow.everyone, old, False))
        return found

    # ---- both

    def _project(
        self, h: Tensor, part: str, heads: Ints, is_narrow: bool, prompts: Prompts
    ) -> Tensor:
        narrow = self.narrow and part == "q"
        if narrow and not is_narrow:
            h = prompts.narrowed(h)
        return self.layer.project(h, part, prompts.positions(narrow), self._heads[heads])

    def _send(self, heads: Ints, written: Tensor, flow: Flow) -> None:
        """Send what heads write now, [n, K, B, t, D]."""
        difference = written - picked(self._written, heads)[:, None]
        flow.send(self.senders[heads], difference, self.narrow)
        flow.updates.append(Update(self._written, heads, flow.everyone, written))

    def _rescaled(self, raw: Tensor) -> tuple[Ints, Tensor]:
        """A norm behind the attention: what one head writes changes what it makes of all,
        [H, K, B, t, D]."""
        scale = self.layer.post_scale(raw)
        assert scale is not None
        return np.arange(len(raw)), raw * scale


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
            flow.updates.append(Update(self._written, np.arange(1), flow.everyone, written))
