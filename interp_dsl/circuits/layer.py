"""One block of a model taken apart: what each head and the MLP make of inputs of their own.

Shapes: m heads first, then any axes of candidates K, then B, t, and d_model D or d_head. Key and
value heads that several query heads share are applied once for each of them: each has its own
input."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from interp_dsl.circuits.prompts import Prompts
from interp_dsl.circuits.rows import index, picked
from interp_dsl.models.compiled import attention
from interp_dsl.models.compiled.forward import Compiled
from interp_dsl.models.graph import Ints


class Layer:
    def __init__(self, model: Compiled, number: int) -> None:
        shape = model.description.shape
        self.number = number
        self.model = model
        self.block = model.weights.blocks[number]
        self.kind = model.description.layers[number]
        self._shared = shape.n_heads // shape.n_kv_heads
        ends = (shape.n_heads, shape.n_heads + shape.n_kv_heads)
        weights = self.block.qkv.view(-1, shape.d_head, shape.d_model).tensor_split(ends)
        bias = self.block.qkv_bias
        biases = [None] * 3 if bias is None else bias.view(-1, 1, shape.d_head).tensor_split(ends)
        self._maps = dict(zip("qkv", zip(weights, biases, strict=True), strict=True))

    def normed(self, x: Tensor) -> Tensor:
        """What heads make of their inputs first."""
        return self.model.normed(x, self.block.ln1, self.model.description.norm)

    def project(
        self, h: Tensor, channel: str, positions: Tensor, heads: Ints | None = None
    ) -> Tensor:
        """Queries, keys or values [m, …, t, d_head] of the given heads (ascending; None: all) from
        their normed inputs h [m or 1, …, t, D] at `positions` [t] or [B, t]."""
        weight, bias, rows = self.map_of(channel, heads)
        if len(h) == 1:
            weight = picked(weight, rows)
            joined = functional.linear(h[0].flatten(0, -2), weight.flatten(0, 1))
            x = joined.view(len(joined), *weight.shape[:2]).transpose(0, 1).contiguous()
        else:
            x = by_head(h.flatten(1, -2), weight.transpose(1, 2), rows)
        bias = None if bias is None else picked(bias, rows)
        x = (x if bias is None else x + bias).view(-1, *h.shape[1:-1], x.shape[-1])
        return x if channel == "v" else self.turned(x, channel, positions)

    def map_of(self, channel: str, heads: Ints | None = None) -> tuple[Tensor, Tensor | None, Ints]:
        """W_Q, W_K or W_V, transposed [H, d_head, D], the bias [H, 1, d_head], and which of these
        the given heads have (None: all); several share theirs where there are fewer."""
        weight, bias = self._maps[channel]
        heads = np.arange(len(self.block.w_o)) if heads is None else heads
        return weight, bias, heads // self._shared if channel != "q" else heads

    def projected(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same of all heads from one input h [B, T, D] that they share, before they are
        turned: three [H, B, T, d_head]."""
        block, shape = self.block, self.model.description.shape
        joined = functional.linear(h, block.qkv, block.qkv_bias)
        ends = (shape.n_heads, shape.n_heads + shape.n_kv_heads)
        parts = joined.view(*h.shape[:2], -1, shape.d_head).tensor_split(ends, 2)
        q, k, v = (
            x.repeat_interleave(n, 2) if n > 1 else x
            for x, n in zip(parts, (1, self._shared, self._shared), strict=True)
        )
        return q.permute(2, 0, 1, 3), k.permute(2, 0, 1, 3), v.permute(2, 0, 1, 3)

    def weight(self, channel: str) -> Tensor:
        """W_Q, W_K or W_V of each query head, transposed: [H, d_head, D]."""
        weight = self._maps[channel][0]
        shared = self._shared if channel != "q" else 1
        return weight.repeat_interleave(shared, 0) if shared > 1 else weight

    def turned(self, x: Tensor, channel: str, positions: Tensor) -> Tensor:
        """Queries or keys [m, …, t, d_head] as attention takes them: normed and rotated."""
        norm = self.block.q_norm if channel == "q" else self.block.k_norm
        if norm is not None:
            x = self.model.normed(x, norm, "RMS")
        if not self.model.rotary:
            return x
        turn = self.model.rotary[self.kind.rotary].turn
        return turn(x.unsqueeze(-2), positions).squeeze(-2)

    def scores(self, q: Tensor, k: Tensor, prompts: Prompts) -> Tensor:
        """Attention scores [B, H, T, T] of queries [B, T, H, d_head] and keys [B, T, kv head,
        d_head] that are not turned yet."""
        positions = prompts.positions(narrow=False)
        q, k = (
            self.turned(x.transpose(1, 2), channel, positions).transpose(1, 2)
            for x, channel in ((q, "q"), (k, "k"))
        )
        seen = prompts.seen(self.kind.window, narrow=False)
        return attention.scored(q, k, self.kind.scale, seen, self.model.description.score_cap)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, prompts: Prompts, narrow: bool) -> Tensor:
        """z [m, …, B, t, d_head] from q [m, …, B, t, d_head] and k, v [m, …, B, T, d_head]."""
        description, window = self.model.description, self.kind.window
        lead, batch = q.shape[1:-2], q.shape[-3]
        q, k, v = (x.flatten(1, -3).permute(1, 2, 0, 3) for x in (q, k, v))
        seen = prompts.seen(window, narrow)
        if seen is not None and len(seen) > 1:
            seen = seen.repeat(len(q) // batch, 1, 1, 1)
        if self.model.fuses:
            is_causal = prompts.is_triangle(window, narrow)
            added = None if seen is None or is_causal else attention.bias(seen, q.dtype)
            z = attention.fused(q, k, v, self.kind.scale, added, is_causal)
        else:
            cap = description.score_cap
            dtype = torch.float32 if description.single_softmax else None
            z = attention.eager(q, k, v, self.kind.scale, seen, cap, dtype, lambda pattern: pattern)
        if description.blank_rows and prompts.mask is not None and seen is not None:
            z = z * seen.any(-1).transpose(1, 2)[..., None].to(z.dtype)
        return z.permute(2, 0, 1, 3).reshape(z.shape[2], *lead, *z.shape[1::2])

    def write(self, z: Tensor, heads: Ints | None = None) -> Tensor:
        """z [m, …, t, d_head] W_O -> [m, …, t, D], before a norm behind the attention."""
        w_o = self.block.w_o
        if heads is None:
            return torch.matmul(z.flatten(1, -2), w_o).view(*z.shape[:-1], w_o.shape[-1])
        return by_head(z, w_o, heads)

    def heads(self, normed: Sequence[Tensor], prompts: Prompts) -> Tensor:
        """What all heads write [H, B, T, D] before a norm behind them, from the normed inputs of
        their queries, keys and values, [H or 1, B, T, D] each."""
        positions = prompts.positions(narrow=False)
        q, k, v = (
            self.project(h, channel, positions) for h, channel in zip(normed, "qkv", strict=True)
        )
        return self.attended(q, k, v, prompts)

    def attended(self, q: Tensor, k: Tensor, v: Tensor, prompts: Prompts) -> Tensor:
        """The same from queries, keys and values [H, B, T, d_head], with what holds throughout."""
        z = prompts.edited("z", self.number, self.attend(q, k, v, prompts, narrow=False))
        return prompts.edited("head", self.number, self.write(z))

    def written(self, z: Tensor) -> Tensor:
        """z of all heads [H, B, T, d_head] -> what the attention adds to the stream, [B, T, D]."""
        block, model = self.block, self.model
        total = functional.linear(
            z.permute(1, 2, 0, 3).flatten(2), block.w_o.flatten(0, 1).T, block.b_o
        )
        if block.ln1_post is None:
            return total
        return model.normed(total, block.ln1_post, model.description.norm)

    def post_scale(self, raw: Tensor) -> Tensor | None:
        """What the norm behind the attention (Gemma-2, Gemma-3) multiplies the output of each head
        and the bias by, given the outputs of all heads [H, …, D]: w / rms(Σ_h raw_h + b_O). The
        norm is linear once this scale is known, so that the scaled outputs add up to what it gives.
        None where there is no such norm."""
        return None if self.block.ln1_post is None else self.scale_of(raw.sum(0))

    def scale_of(self, total: Tensor) -> Tensor:
        """The same given Σ_h raw_h [..., D], where there is such a norm."""
        norm, description = self.block.ln1_post, self.model.description
        assert norm is not None and norm.weight is not None and description.norm == "RMS"
        total = total if self.block.b_o is None else total + self.block.b_o
        scale = self.model.inverse_scale(total.float() if description.single_norm else total, norm)
        weight = 1 + norm.weight.float() if description.norm_offset else norm.weight
        return (scale * weight).to(total.dtype)

    def mlp(self, x: Tensor) -> Tensor:
        """x [..., D] -> [..., D], with its bias, after a norm behind it."""
        model, block = self.model, self.block
        assert block.w_out is not None
        out = functional.linear(model.hidden(x, block), block.w_out, block.b_out)
        return (
            out
            if block.ln2_post is None
            else model.normed(out, block.ln2_post, model.description.norm)
        )


def by_head(x: Tensor, weight: Tensor, heads: Ints) -> Tensor:
    """x [n, …, a] of heads [n], each times its own of `weight` [H, a, b]: [n, …, b]. What follows
    of one head is multiplied at once, and no weight is copied."""
    at, rows = index(heads, x.device), x.flatten(1, -2)
    if isinstance(at, slice):
        found = torch.matmul(rows, weight[at])
    else:
        runs = [(head, len(list(run))) for head, run in groupby(heads.tolist())]
        parts = torch.split(rows, [length for _, length in runs])
        if torch.is_grad_enabled() or len(runs) == 1:
            made = [part @ weight[head] for part, (head, _) in zip(parts, runs, strict=True)]
            found = torch.cat(made) if len(made) > 1 else made[0]
        else:  # each where it is to stand
            found = rows.new_empty(*rows.shape[:-1], weight.shape[-1])
            into = torch.split(found, [length for _, length in runs])
            for part, to, (head, _) in zip(parts, into, runs, strict=True):
                torch.matmul(part, weight[head], out=to)
    return found.view(*x.shape[:-1], weight.shape[-1])
