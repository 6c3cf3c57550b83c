"""Heads and MLPs behind a receiver, with what they read and wrote in the accepted state.

Shapes: heads or states first, then K candidates (in a flow), then B, t, and d_model D or d_head."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from interp_dsl.circuits import absorbed
from interp_dsl.circuits.absorbed import Source
from interp_dsl.circuits.clean import Clean
from interp_dsl.circuits.flow import Flow, Inputs, Update
from interp_dsl.circuits.layer import Layer
from interp_dsl.circuits.prompts import Prompts
from interp_dsl.circuits.rows import index, picked
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
            touched_of = states.touched // len(self._heads)
            for number in sorted(set(channel_of.tolist())):
                mine, touched = np.flatnonzero(channel_of == number), touched_of == number
                heads, which = states.touched[touched] % len(self._heads), states.which[touched]
                x = h[mine[0] : mine[-1] + 1]
                for part in _parts(channels[number]):
                    about = (part, head_of[mine], inputs.narrow, flow.clean.prompts)
                    new[part] = self._project(x, *about)
                    state[PARTS.index(part), heads] = np.where(which < 0, -1, which - mine[0])
        if new:
            self._write_states(new, state, flow)
        return bool(new)

    def _write_states(self, new: dict[str, Tensor], state: Ints, flow: Flow) -> None:
        """Attend and write for heads with new queries, keys or values: those of `new` [states, B,
        t, d_head] that `state` [parts, heads, K] tells, the accepted ones where it says -1."""
        rows = np.flatnonzero((state >= 0).any((0, 2)))
        made: dict[tuple[int, ...], int] = {}
        which = np.full((len(rows), flow.n_candidates), -1)
        for candidate, of_heads in enumerate(state[:, rows].transpose(2, 1, 0).tolist()):
            for number, (row, of) in enumerate(zip(rows.tolist(), of_heads, strict=True)):
                if max(of) >= 0:
                    which[number, candidate] = made.setdefault((row, *of), len(made))
        heads, *at = np.array(list(made)).T
        q, k, v = (
            self._mixed(part, heads, of_part, new.get(part))
            for part, of_part in zip(PARTS, at, strict=True)
        )
        z = self.layer.attend(q, k, v, flow.clean.prompts, self.narrow)
        for part, of_part in zip(PARTS, state, strict=True):
            if part in new:
                flow.updates.append(Update(self._parts[part], rows, new[part], of_part[rows]))
        written = self.layer.write(z, self._heads[heads])
        self._send_states(written, heads, rows, which, flow)

    def _mixed(self, part: str, heads: Ints, at: Ints, new: Tensor | None) -> Tensor:
        """Queries, keys or values [n, B, t, d_head] of heads [n]: the states of `new` that `at` [n]
        tells, the accepted ones where it says -1."""
        kept = self._parts[part]
        if new is None or (at < 0).all():
            return picked(kept, heads)
        if (at >= 0).all():
            return picked(new, at)
        return picked(torch.cat([new, kept]), np.where(at >= 0, at, len(new) + heads))

    def _send_states(
        self, written: Tensor, heads: Ints, rows: Ints, which: Ints, flow: Flow
    ) -> None:
        """Send what candidates make heads write: `written` [n, B, t, D] by heads [n], of which
        `which` [rows, K] is each candidate's for those in `rows`, none where it says -1."""
        if self._raw is not None:
            spread = np.arange(len(self._raw))[:, None].repeat(flow.n_candidates, 1) + len(written)
            spread[rows] = np.where(which >= 0, which, spread[rows])
            raw = torch.cat([written, self._raw])[torch.from_numpy(spread).to(written.device)]
            flow.updates.append(Update(self._raw, rows, written, which))
            self._send(*self._rescaled(raw), flow)
            return
        flow.updates.append(Update(self._written, rows, written, which))
        difference = written - picked(self._written, heads)
        flow.send_states(self.senders[rows], difference, which, self.narrow)

    # ---- heads that changed senders reach

    def _reached(self, flow: Flow) -> None:
        """Recompute heads that changed senders reach, for all candidates."""
        new = self._changed(flow)
        if not new or (flow.leaves_clean(self.inputs) and self._raw is None):
            return
        heads = np.unique(np.concatenate([piece.rows for of in new.values() for piece in of]))
        q, k, v = (self._sources(part, heads, new.get(part, [])) for part in PARTS)
        if any(piece.is_input for piece in (*k, *v)):
            about = (self.layer, flow.clean.prompts, self._heads[heads])
            z = absorbed.attended(*about, self._stacked(q, flow), k, v)
        else:
            held = [self._stacked(pieces, flow) for pieces in (q, k, v)]
            z = self.layer.attend(held[0], held[1], held[2], flow.clean.prompts, self.narrow)
        written = self.layer.write(z, self._heads[heads])
        if self._raw is not None:
            rows = torch.from_numpy(heads).to(written.device)
            raw = self._raw[:, None].expand(-1, *written.shape[1:]).index_copy(0, rows, written)
            flow.updates.append(Update(self._raw, heads, written))
            heads, written = self._rescaled(raw)
        self._send(heads, written, flow)

    def _changed(self, flow: Flow) -> dict[str, list[Source]]:
        """The queries, keys and values that change, noted as what replaces the accepted ones."""
        made: dict[str, list[Source]] = {}
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
                    for part in _parts(channels[number]):
                        piece = self._renewed(x, part, head_of[mine], inputs.narrow, flow)
                        made.setdefault(part, []).append(piece)
        return made

    def _renewed(self, h: Tensor, part: str, heads: Ints, is_narrow: bool, flow: Flow) -> Source:
        """New queries, keys or values of normed inputs h [m or 1, K, B, T, D]. Of those absorbed,
        just a candidate accepted is projected."""

        prompts = flow.clean.prompts  # a flow that held itself would outlive its batch

        def project(h: Tensor) -> Tensor:
            return self._project(h, part, heads, is_narrow, prompts)

        is_input = flow.given is not None and part in self._absorbed
        x = h if is_input else project(h)
        make = project if is_input else None
        flow.updates.append(Update(self._parts[part], heads, x, make=make))
        return Source(heads, x, is_input)

    def _sources(self, part: str, heads: Ints, new: Sequence[Source]) -> list[Source]:
        """Queries, keys or values of some heads [n], each by its place among these: the new ones,
        and those accepted where there are none."""
        found = [piece._replace(rows=np.searchsorted(heads, piece.rows)) for piece in new]
        is_old = np.ones(len(heads), dtype=bool)
        for piece in found:
            is_old[piece.rows] = False
        if is_old.any():
            old = picked(self._parts[part], heads[is_old])[:, None]
            found.append(Source(np.flatnonzero(is_old), old, False))
        return found

    def _stacked(self, sources: Sequence[Source], flow: Flow) -> Tensor:
        """As one tensor [n, K, B, t, d_head]."""
        if len(sources) == 1:
            return sources[0].x.expand(-1, flow.n_candidates, -1, -1, -1)
        shape = sources[0].x.shape[2:]
        n = sum(len(source.rows) for source in sources)
        found = sources[0].x.new_empty(n, flow.n_candidates, *shape)
        for source in sources:
            found[index(source.rows, found.device)] = source.x
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
        flow.updates.append(Update(self._written, heads, written))

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
            flow.updates.append(Update(self._written, np.arange(1), written))
