"""One pass through the compiled forward."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor
from torch.nn import functional

from interp_dsl.models.compiled import attention, heads
from interp_dsl.models.compiled.attention import Rotary
from interp_dsl.models.compiled.description import ACTIVATIONS, Description, LayerKind
from interp_dsl.models.compiled.memory import Memory, Start
from interp_dsl.models.compiled.taps import Taps, Window
from interp_dsl.models.compiled.weights import Norm, Weights


class Compiled:
    """An architecture with its weights. `work` counts positions × rows through the matrices of a
    layer: q, kv, out (W_O), mlp; and unembed."""

    def __init__(self, description: Description, weights: Weights) -> None:
        self.description = description
        self.weights = weights
        self.dtype = weights.embed.dtype
        self.device = weights.embed.device
        self.work: Counter[str] = Counter()
        self.rotary = tuple(
            Rotary(table, description.adjacent, self.dtype) for table in weights.rotary
        )
        self.activation = ACTIVATIONS[description.activation]
        self.fuses = description.fuses_attention(self.dtype)

    def normed(self, x: Tensor, norm: Norm, kind: str | None) -> Tensor:
        """x [..., width] normalised over its last axis."""
        eps = self.description.eps
        if kind is None:
            return x
        if kind == "LN":
            return functional.layer_norm(x, x.shape[-1:], norm.weight, norm.bias, eps)
        is_low = x.dtype in (torch.bfloat16, torch.float16)
        is_single = self.description.single_norm and norm.weight is not None
        wide = x.float() if is_low or is_single else x
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
        if norm.weight is None:
            return wide.to(x.dtype)
        if self.description.norm_offset:
            return (wide * (1 + norm.weight.float())).to(x.dtype)
        return norm.weight * wide.to(x.dtype)


class Walk:
    """A pass over a batch. `reads` [B, r] are the positions whose logits are wanted, None for all:
    the last layer computes what only they need for them alone, unless it is being watched."""

    def __init__(
        self,
        model: Compiled,
        taps: Taps,
        length: int,
        mask: Tensor | None,
        reads: Tensor | None,
        start: Start | None = None,
        record: Memory | None = None,
    ) -> None:
        self.model = model
        self.taps = taps
        self.length = length
        self.mask = mask
        self.reads = reads
        self.start = start
        self.record = record
        self.shape = model.description.shape
        self._seen: dict[tuple[int | None, bool], Tensor | None] = {}
        first = start.position if start else 0
        taps.window = Window(first)
        self.positions = torch.arange(first, length, device=model.device)
        for rotary in model.rotary:
            rotary.reach(length)

    def embedded(self, tokens: Tensor) -> Tensor:
        """Tokens [B, T] -> the residual stream before layer 0."""
        weights = self.model.weights
        x = weights.embed[tokens]
        if weights.embed_scale is not None:
            x = x * weights.embed_scale
        x = self.taps.at("embed", None, x, "flat")
        if weights.positions is None:
            return x
        table = weights.positions[: self.length]
        if self.taps.touches("pos_embed", None):
            table = self.taps.at("pos_embed", None, table.expand_as(x), "flat")
        return x + table

    def through(self, x: Tensor, layer: int) -> Tensor:
        """Blocks `layer` and later; they end early where nothing is read after a layer."""
        for number in range(layer, self._stop(layer)):
            x = self._block(x, number)
        return x

    def logits(self, x: Tensor) -> Tensor:
        """The residual stream after the last block -> logits [B, r, d_vocab_out]."""
        model, description = self.model, self.model.description
        if self.reads is not None and self.taps.window.picked is None:
            x = _gathered(x, self.reads - self.taps.window.start)
        model.work["unembed"] += x[..., 0].numel()
        x = model.normed(x, model.weights.final, description.final_norm)
        logits = functional.linear(x, model.weights.unembed, model.weights.unembed_bias)
        cap = description.logit_cap
        return logits if cap is None else cap * torch.tanh(logits / cap)

    def _stop(self, layer: int) -> int:
        if self.record is not None or self.reads is None or self.reads.shape[1]:
            return self.shape.n_layers
        return max((at + 1 for _, at in self.taps.wanted() if at is not None), default=layer)

    def _trims(self, layer: int) -> bool:
        """Is all that remains of this layer needed at the read positions only?"""
        if self.reads is None or self.record is not None or layer != self.shape.n_layers - 1:
            return False
        if self.reads.shape[1] >= len(self.positions):
            return False
        return not any(at == layer and kind != "resid_pre" for kind, at in self.taps.wanted())

    def _block(self, x: Tensor, layer: int) -> Tensor:
        description, block = self.model.description, self.model.weights.blocks[layer]
        x = self.taps.at("resid_pre", layer, x, "flat")
        self._keep(layer, "resid_pre", x)
        if self.start and self.start.from_z and layer == self.start.layer:
            z = self.start.after("z", layer)
            if self._trims(layer):
                x, z = self._pick(x), _gathered(z, self._slots())
        else:
            x, z = self._attended(x, layer)
        z = self.taps.at("z", layer, z, "heads")
        self._keep(layer, "z", z)
        attn_out = self._written(z, layer)
        if block.ln1_post is not None:
            attn_out = self.model.normed(attn_out, block.ln1_post, description.norm)
        attn_out = self.taps.at("attn_out", layer, attn_out, "flat")
        middle = x + attn_out
        if not self.shape.parallel:
            middle = self.taps.at("resid_mid", layer, middle, "flat")
        if block.ln2 is not None:
            middle = middle + self._mlp(x if self.shape.parallel else middle, layer)
        return self.taps.at("resid_post", layer, middle, "flat")

    def _attended(self, x: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """The stream (at the positions that are still needed) and z [B, t, head, d_head]."""
        shape, block = self.shape, self.model.weights.blocks[layer]
        h = self.model.normed(x, block.ln1, self.model.description.norm)
        n_q = shape.n_heads * shape.d_head
        if self._trims(layer):
            bias = block.qkv_bias
            kv = functional.linear(h, block.qkv[n_q:], None if bias is None else bias[n_q:])
            k, v = self._keys_values(kv, layer)
            x, h = self._pick(x), _gathered(h, self._slots())
            q = functional.linear(h, block.qkv[:n_q], None if bias is None else bias[:n_q])
        else:
            qkv = functional.linear(h, block.qkv, block.qkv_bias)
            q = qkv[..., :n_q]
            k, v = self._keys_values(qkv[..., n_q:], layer)
        self.model.work["q"] += q[..., 0].numel()
        q = self.taps.at("q", layer, _by_head(q, shape.d_head), "heads")
        q = self._turned(q, block.q_norm, layer)
        return x, self._mixed(q, k, v, layer)

    def _keys_values(self, kv: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Keys, turned, and values of all positions [B, T, kv head, d_head]."""
        block = self.model.weights.blocks[layer]
        self.model.work["kv"] += kv[..., 0].numel()
        k, v = (_by_head(part, self.shape.d_head) for part in kv.chunk(2, -1))
        k = self.taps.at("k", layer, k, "heads")
        v = self.taps.at("v", layer, v, "heads")
        k = self._turned(k, block.k_norm, layer)
        self._keep(layer, "keys", k)
        self._keep(layer, "values", v)
        if self.start and self.start.position:
            k = torch.cat([self.start.before("keys", layer), k], 1)
            v = torch.cat([self.start.before("values", layer), v], 1)
        return k, v

    def _turned(self, x: Tensor, norm: Norm | None, layer: int) -> Tensor:
        if norm is not None:
            x = self.model.normed(x, norm, "RMS")
        if not self.model.rotary:
            return x
        rotary = self.model.rotary[self._kind(layer).rotary]
        return rotary.turn(x, self.positions)

    def _mixed(self, q: Tensor, k: Tensor, v: Tensor, layer: int) -> Tensor:
        description, kind = self.model.description, self._kind(layer)
        if not self.model.fuses or self.taps.touches("pattern", layer):
            return attention.eager(
                q,
                k,
                v,
                kind.scale,
                self._visible(kind.window),
                description.score_cap,
                torch.float32 if description.single_softmax else None,
                lambda pattern: self._pattern(pattern, layer),
            )
        square = self.taps.window.holds_all() and self.mask is None
        is_causal = self.shape.causal and square and self._covers(kind.window)
        seen = None if is_causal else self._visible(kind.window)
        z = attention.fused(q, k, v, kind.scale, seen, is_causal)
        if description.blank_rows and self.mask is not None:
            z = z * self._sees_any(kind.window)
        return z

    def _pattern(self, pattern: Tensor, layer: int) -> Tensor:
        if self.model.description.blank_rows and self.mask is not None:
            pattern = pattern * self._sees_any(self._kind(layer).window).transpose(1, 2)
        return self.taps.at("pattern", layer, pattern, "pattern")

    def _visible(self, window: int | None) -> Tensor | None:
        window = None if self._covers(window) else window
        key = window, self.taps.window.picked is not None
        if key not in self._seen:
            self._seen[key] = attention.visible(
                self.positions, self.length, self.shape.causal, window, self.mask
            )
        return self._seen[key]

    def _covers(self, window: int | None) -> bool:
        """Does a window hide nothing of a prompt of this length?"""
        return window is None or window >= self.length

    def _sees_any(self, window: int | None) -> Tensor:
        """[B, t, 1, 1]: 1 for queries that see a key."""
        seen = self._visible(window)
        assert seen is not None
        return seen.any(-1).transpose(1, 2)[..., None].to(self.model.dtype)

    def _written(self, z: Tensor, layer: int) -> Tensor:
        """z W_O + b_O [B, t, d_model], heads changed."""
        block = self.model.weights.blocks[layer]
        self.model.work["out"] += z[..., 0, 0].numel()
        total = functional.linear(z.flatten(2), block.w_o.flatten(0, 1).T, block.b_o)
        if self.taps.wants("head", layer):
            old = heads.all_outputs(z, block.w_o)
            new = self.taps.at("head", layer, old, "heads")
            return total if new is old else total + (new - old).sum(2)
        edits = self.taps.edits_at("head", layer)
        return heads.changed(total, z, block.w_o, edits) if edits else total

    def _mlp(self, x: Tensor, layer: int) -> Tensor:
        description, block = self.model.description, self.model.weights.blocks[layer]
        assert block.ln2 is not None and block.w_in is not None and block.w_out is not None
        self.model.work["mlp"] += x[..., 0].numel()
        h = self.model.normed(x, block.ln2, description.norm)
        h = functional.linear(h, block.w_in, block.b_in)
        if self.shape.gated:
            gate, linear = h.chunk(2, -1)
            h = self.model.activation(gate) * linear
        else:
            h = self.model.activation(h)
        if block.mid_norm is not None:
            h = self.model.normed(h, block.mid_norm, "LN")
        h = self.taps.at("neuron", layer, h, "units")
        out = functional.linear(h, block.w_out, block.b_out)
        if block.ln2_post is not None:
            out = self.model.normed(out, block.ln2_post, description.norm)
        return self.taps.at("mlp_out", layer, out, "flat")

    def _pick(self, x: Tensor) -> Tensor:
        """The stream at the read positions; from here on it holds nothing else."""
        assert self.reads is not None
        picked = _gathered(x, self._slots())
        self.taps.window = Window(picked=self.reads)
        self.positions = self.reads
        return picked

    def _slots(self) -> Tensor:
        """The read positions as the stream counts them."""
        assert self.reads is not None
        return self.reads - (self.start.position if self.start else 0)

    def _kind(self, layer: int) -> LayerKind:
        return self.model.description.layers[layer]

    def _keep(self, layer: int, part: str, x: Tensor) -> None:
        if self.record is not None:
            self.record.keep(layer, part, x)


def _by_head(x: Tensor, d_head: int) -> Tensor:
    return x.view(*x.shape[:-1], -1, d_head)


def _gathered(x: Tensor, at: Tensor) -> Tensor:
    """x [B, t, …] at positions [B, r]."""
    rows = torch.arange(len(at), device=at.device)[:, None]
    return x[rows, at]
