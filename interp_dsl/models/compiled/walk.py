"""One pass through the compiled forward."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from interp_dsl.models.compiled import attention, heads, prefix
from interp_dsl.models.compiled.description import LayerKind
from interp_dsl.models.compiled.forward import Compiled, added
from interp_dsl.models.compiled.masks import Masks, of_rows
from interp_dsl.models.compiled.memory import Growth, Memory, Start
from interp_dsl.models.compiled.projections import Projections
from interp_dsl.models.compiled.taps import Taps, Window
from interp_dsl.models.compiled.weights import Norm
from interp_dsl.models.edits import Edit, entries, moved
from interp_dsl.plan.starts import joined

Made = Callable[[Start, str, int, Tensor, Tensor | None], Tensor]
"""Keys or values [r, T, …] of a start's rows: the part, the layer, what is new, room for them."""


class Walk:
    """A pass over a batch. `reads` [B, r] (in the processor's memory) are the positions whose
    logits are wanted, None for all: the last layer computes what only they need for them alone,
    unless it is being watched.

    The stream holds the positions of `taps.window`: all of them, those from the start's position
    on, at first only those that differ from the memory (`start.changed`), at last only those that
    are read; or those of `growth` alone, whose keys and values join what it holds."""

    def __init__(
        self,
        model: Compiled,
        taps: Taps,
        length: int,
        mask: Tensor | None,
        reads: Tensor | None,
        start: Start | None = None,
        record: tuple[Memory, slice] | None = None,
        growth: Growth | None = None,
    ) -> None:
        self.model = model
        self.taps = taps
        self.length = length
        self.mask = mask
        self.reads = reads
        self.start = start
        self.record = record
        self.growth = growth
        self.shape = model.description.shape
        self.in_place = not torch.is_grad_enabled() and not taps.wanted()
        self.rooms = model.rooms if self.in_place else None
        self.projections = Projections(model, taps, self.rooms)
        self.masks = Masks(model.triangle, length, self.shape.causal, mask, model.dtype)
        for rotary in model.rotary:
            rotary.reach(length)
        self.is_narrow = start is not None and start.changed is not None
        """Does the stream hold only what differs from the memory?"""
        if growth is not None:
            self._hold_picked(growth.positions)
        elif start is not None and start.changed is not None:
            self._hold_picked(start.changed)
        else:
            self._hold_from(start.position if start else 0)

    def embedded(self, tokens: Tensor) -> Tensor:
        """Tokens [B, T] -> the residual stream before layer 0."""
        weights = self.model.weights
        x = weights.embed[tokens]
        if weights.embed_scale is not None:
            x = x * weights.embed_scale
        x = self.taps.at("embed", None, x, "flat")
        if weights.positions is None:
            return x
        table = weights.positions[self.positions]
        if self.taps.touches("pos_embed", None):
            table = self.taps.at("pos_embed", None, table.expand_as(x), "flat")
        return x + table

    def taken_up(self) -> Tensor:
        """The residual stream before the layer at which the pass starts, or behind its
        attention."""
        start = self.start
        assert start is not None
        if start.from_z and self._trims(start.layer):
            assert self.reads is not None
            self._hold_picked(self.reads)
        return self._remembered("resid_mid" if start.from_mid else "resid_pre")

    def through(self, x: Tensor, layer: int) -> Tensor:
        """Blocks `layer` and later; they end early where nothing is read after a layer."""
        stop = self._stop(layer)
        for number in range(layer, stop):
            x = self._block(x, number)
        return x if stop == self.shape.n_layers else self.taps.at("resid_pre", stop, x, "flat")

    def read(self, x: Tensor) -> Tensor:
        """The residual stream after the last block, at the positions read [B, r, d_model]."""
        if self.reads is not None and self.taps.window.picked is None:
            x = _gathered(x, self.reads - self.taps.window.start)
        return x

    def _stop(self, layer: int) -> int:
        if self.record is not None or self.reads is None or self.reads.shape[1]:
            return self.shape.n_layers
        places = ((kind, at) for kind, at in self.taps.wanted() if at is not None)
        return max((at + (kind != "resid_pre") for kind, at in places), default=layer)

    def _block(self, x: Tensor, layer: int) -> Tensor:
        if self.start and self.start.from_mid and layer == self.start.layer:
            return self._behind(self._with_changed_z(x, layer), layer)
        x = self.taps.at("resid_pre", layer, x, "flat", self.in_place)
        self._keep(layer, "resid_pre", x)
        x, z = self._attended(x, layer)
        z = self.taps.at("z", layer, z, "heads", self.in_place)
        self._keep(layer, "z", z)
        if self.shape.parallel:
            hidden = self._hidden(x, layer)
            x = self._mlp_written(self._written(x, z, layer), hidden, layer)
            return self.taps.at("resid_post", layer, x, "flat", self.in_place)
        x = self._written(x, z, layer)
        self._keep(layer, "resid_mid", x)
        return self._behind(x, layer)

    def _behind(self, x: Tensor, layer: int) -> Tensor:
        """The rest of a block behind its attention."""
        x = self.taps.at("resid_mid", layer, x, "flat")
        if not self.shape.attn_only:
            x = self._mlp_written(x, self._hidden(x, layer), layer)
        return self.taps.at("resid_post", layer, x, "flat", self.in_place)

    # ---- attention

    def _attended(self, x: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """The stream (at the positions that are still needed) and z [B, t, head, d_head]."""
        start = self.start
        if self.growth is not None:
            q, k, v = self.projections("qkv", x, layer)
            q, (k, v) = self._queries(q, layer), self._keys_values(k, v, layer)
            return x, self._mixed(q, *self.growth.joined(k, v, layer), layer)
        if start and start.from_z and layer == start.layer:
            return x, self._remembered("z")
        if start and self.is_narrow:
            if start.is_local and layer == start.layer:
                q = self._own_queries(x, layer)
                nothing = q[:, :0]
                return x, self._late(q, layer, {"keys": nothing, "values": nothing}, Start.all)
            return self._widened(x, layer)
        if self._trims(layer):
            k, v = self.projections("kv", x, layer)
            k, v = self._keys_values(k, v, layer)
            x = self._pick(x)
            q = self._own_queries(x, layer)
        else:
            q, k, v = self.projections("qkv", x, layer)
            q, (k, v) = self._queries(q, layer), self._keys_values(k, v, layer)
        if start and start.position:
            if self._shares(start, layer):
                return x, self._shared(start, q, k, v, layer)
            return x, self._late(q, layer, {"keys": k, "values": v}, Start.continued)
        return x, self._mixed(q, k, v, layer)

    def _late(self, q: Tensor, layer: int, new: Mapping[str, Tensor], made: Made) -> Tensor:
        """z [B, t, head, d_head] of queries to keys and values that are `made` of the memory, for
        some rows at a time: a row has these at all positions, however few of its own it has."""
        assert self.start is not None
        n, (heads, d_head) = len(q), (self.shape.n_kv_heads, self.shape.d_head)
        size = n
        if not self.taps.touches("pattern", layer):
            size = joined(n, q.shape[1], self.length, heads * d_head)
        found = []
        for rows in (slice(first, min(first + size, n)) for first in range(0, n, size)):
            shape, of = (rows.stop - rows.start, self.length, heads, d_head), self.start.of(rows)
            k, v = (
                made(of, part, layer, new[part][rows], self._room(part, q, shape))
                for part in ("keys", "values")
            )
            found.append(self._mixed(q[rows], k, v, layer, rows))
        return found[0] if len(found) == 1 else torch.cat(found)

    def _room(self, part: str, like: Tensor, shape: Sequence[int]) -> Tensor | None:
        """Room for keys or values; None where a gradient needs them later, or a device has its
        own."""
        if self.rooms is None or like.device.type != "cpu":
            return None
        return self.rooms.of(part, like, *shape)

    def _shares(self, start: Start, layer: int) -> bool:
        """Do many rows attend to the same earlier keys, and to all of them, mostly to these?"""
        t, kind = self.length - start.position, self._kind(layer)
        return (
            self.model.fuses
            and self.mask is None
            and not self.taps.touches("pattern", layer)
            and self.masks.covers(kind.window)
            and prefix.TIMES * t <= self.length
            and 2 * len(start.groups.examples) <= len(start.rows)
        )

    def _shared(self, start: Start, q: Tensor, k: Tensor, v: Tensor, layer: int) -> Tensor:
        """z [B, t, head, d_head], the earlier keys and values read once an example."""
        self.model.work["pairs"] += q.shape[0] * q.shape[1] * self.length
        keys = torch.arange(start.position, self.length, device=q.device)
        seen = self.positions.reshape(-1, q.shape[1], 1) >= keys
        before = start.earlier("keys", layer), start.earlier("values", layer)
        return prefix.shared(q, (k, v), before, start.groups, seen, self._kind(layer).scale)

    def _widened(self, x: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Attention in which all later positions see what the changed ones have become: theirs is
        computed, all others' queries, keys, values and streams are in the memory."""
        start = self.start
        assert start is not None
        q, k, v = self.projections("qkv", x, layer)
        q, (k, v) = self._queries(q, layer), self._keys_values(k, v, layer)
        self._hold_from(start.position)
        self.is_narrow = False
        if self._trims(layer):
            assert self.reads is not None
            self._hold_picked(self.reads)
            x = start.merged_at("resid_pre", layer, x, self.reads)
            q = start.merged_at("queries", layer, q, self.reads)
        else:
            x = start.merged("resid_pre", layer, x, start.position)
            q = start.merged("queries", layer, q, start.position)
        return x, self._late(q, layer, {"keys": k, "values": v}, Start.whole)

    def _queries(self, q: Tensor, layer: int) -> Tensor:
        """Queries as attention takes them: normed and turned."""
        q = self._turned(q, self.model.weights.blocks[layer].q_norm, layer)
        self._keep(layer, "queries", q)
        return q

    def _own_queries(self, x: Tensor, layer: int) -> Tensor:
        [q] = self.projections("q", x, layer)
        return self._queries(q, layer)

    def _keys_values(self, k: Tensor, v: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """The same of keys; values as they are."""
        k = self._turned(k, self.model.weights.blocks[layer].k_norm, layer)
        self._keep(layer, "keys", k)
        self._keep(layer, "values", v)
        return k, v

    def _turned(self, x: Tensor, norm: Norm | None, layer: int) -> Tensor:
        if norm is not None:
            x = self.model.normed(x, norm, "RMS")
        if not self.model.rotary:
            return x
        return self.model.rotary[self._kind(layer).rotary].turn(x, self.positions)

    def _mixed(
        self, q: Tensor, k: Tensor, v: Tensor, layer: int, rows: slice = slice(None)
    ) -> Tensor:
        """z [r, t, head, d_head] of `rows` of the batch."""
        description, kind = self.model.description, self._kind(layer)
        self.model.work["pairs"] += q.shape[0] * q.shape[1] * k.shape[1]
        if not self.model.fuses or self.taps.touches("pattern", layer):
            return attention.eager(
                q,
                k,
                v,
                kind.scale,
                of_rows(self.masks.visible(kind.window), rows),
                description.score_cap,
                torch.float32 if description.single_softmax else None,
                lambda pattern: self._pattern(pattern, layer, rows),
            )
        square = self.taps.window.holds_all() and self.mask is None
        is_causal = self.shape.causal and square and self.masks.covers(kind.window)
        added = None if is_causal else of_rows(self.masks.bias(kind.window), rows)
        z = attention.fused(q, k, v, kind.scale, added, is_causal)
        if description.blank_rows and self.mask is not None:
            z = z * self.masks.sees_any(kind.window, rows)
        return z

    def _pattern(self, pattern: Tensor, layer: int, rows: slice) -> Tensor:
        if self.model.description.blank_rows and self.mask is not None:
            pattern = pattern * self.masks.sees_any(self._kind(layer).window, rows).transpose(1, 2)
        return self.taps.at("pattern", layer, pattern, "pattern")

    # ---- what a layer's parts write

    def _written(self, x: Tensor, z: Tensor, layer: int) -> Tensor:
        """x + z W_O + b_O [B, t, d_model], heads changed."""
        block, taps = self.model.weights.blocks[layer], self.taps
        self.model.work["out"] += z.shape[0] * z.shape[1]
        w_o = block.w_o.flatten(0, 1).T
        edits = taps.edits_at("head", layer)
        watched = taps.touches("attn_out", layer) or taps.wants("head", layer)
        if not watched and block.ln1_post is None:
            x = added(x, z.flatten(2), w_o, block.b_o, self.in_place)
            return self._with_heads(x, z, layer, edits)
        total = functional.linear(z.flatten(2), w_o, block.b_o)
        if taps.wants("head", layer):
            old = heads.all_outputs(z, block.w_o)
            new = taps.at("head", layer, old, "heads")
            total = total if new is old else total + (new - old).sum(2)
        else:
            total = self._with_heads(total, z, layer, edits)
        if block.ln1_post is not None:
            total = self.model.normed(total, block.ln1_post, self.model.description.norm)
        return x + taps.at("attn_out", layer, total, "flat")

    def _with_changed_z(self, x: Tensor, layer: int) -> Tensor:
        """x [B, t, d_model], which the run's own attention has written to, with what edits of z
        change of that."""
        start, window = self.start, self.taps.window
        edits = self.taps.edits_at("z", layer)
        if not edits:
            return x
        assert start is not None

        def held(rows: Tensor, at: Tensor, head: Tensor) -> Tensor:
            at = at + window.start if window.picked is None else window.picked[rows, at]
            return start.single("z", layer, rows, at, head)

        w_o = self.model.weights.blocks[layer].w_o
        return heads.with_changed_z(x, held, w_o, edits, self.in_place)

    def _with_heads(self, x: Tensor, z: Tensor, layer: int, edits: Sequence[Edit]) -> Tensor:
        """x [B, t, d_model] with what edits of heads add to it."""
        if not edits:
            return x
        where, delta = heads.changes(z, self.model.weights.blocks[layer].w_o, edits)
        rows = x.flatten(0, 1)
        add = rows.index_add_ if self.in_place else rows.index_add
        return add(0, where, delta).view_as(x)

    def _hidden(self, x: Tensor, layer: int) -> Tensor:
        """The MLP's activations [B, t, d_mlp]."""
        self.model.work["mlp"] += x.shape[0] * x.shape[1]
        x = self.taps.at("mlp_in", layer, x, "flat")
        h = self.model.hidden(x, self.model.weights.blocks[layer], self.rooms)
        return self.taps.at("neuron", layer, h, "units")

    def _mlp_written(self, x: Tensor, hidden: Tensor, layer: int) -> Tensor:
        block = self.model.weights.blocks[layer]
        assert block.w_out is not None
        if block.ln2_post is None and not self.taps.touches("mlp_out", layer):
            return added(x, hidden, block.w_out, block.b_out, self.in_place)
        out = functional.linear(hidden, block.w_out, block.b_out)
        if block.ln2_post is not None:
            out = self.model.normed(out, block.ln2_post, self.model.description.norm)
        return x + self.taps.at("mlp_out", layer, out, "flat")

    # ---- the positions that the stream holds

    def _trims(self, layer: int) -> bool:
        """Is all that remains of this layer needed at the read positions only?"""
        if self.reads is None or self.record is not None or layer != self.shape.n_layers - 1:
            return False
        if self.taps.window.picked is not None or self.reads.shape[1] >= len(self.positions):
            return False
        return not any(at == layer and kind != "resid_pre" for kind, at in self.taps.wanted())

    def _remembered(self, part: str) -> Tensor:
        """A part of the layer at which the pass starts, at the positions held."""
        start, picked = self.start, self.taps.window.picked
        assert start is not None
        if picked is None:
            return start.after(part, start.layer)
        return start.at(part, start.layer, picked)

    def _hold_from(self, first: int) -> None:
        self._hold(Window(first), torch.arange(first, self.length, device=self.model.device))

    def _hold_picked(self, positions: Tensor) -> None:
        self._hold(Window(picked=positions), moved(positions, self.model.device))

    def _hold(self, window: Window, positions: Tensor) -> None:
        self.taps.window, self.positions = window, positions
        self.masks.hold(positions)

    def _pick(self, x: Tensor) -> Tensor:
        """The stream at the read positions; from here on it holds nothing else."""
        assert self.reads is not None
        picked = _gathered(x, self.reads - self.taps.window.start)
        self._hold_picked(self.reads)
        return picked

    def _kind(self, layer: int) -> LayerKind:
        return self.model.description.layers[layer]

    def _keep(self, layer: int, part: str, x: Tensor) -> None:
        if self.record is not None:
            memory, rows = self.record
            memory.keep(layer, part, x, rows)


def _gathered(x: Tensor, at: Tensor) -> Tensor:
    """x [B, t, …] at positions [B, r]."""
    return entries(x, torch.arange(len(at))[:, None], at)
