"""The edge-patched forward from its formulas: one example, one receiver, one head at a time."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from interp_dsl.models.compiled.activations import ACTIVATIONS
from interp_dsl.models.compiled.forward import Compiled
from interp_dsl.models.compiled.weights import Norm
from interp_dsl.models.graph import Edge, Graph


class Plain:
    """`ablated` [S, T, D] and `kept` [E] or [E, T] of one example; numbers between 0 and 1."""

    def __init__(self, model: Compiled, graph: Graph) -> None:
        self.model, self.graph = model, graph
        self.shape = model.description.shape

    def logits(
        self, tokens: Tensor, kept: Tensor, ablated: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """[B, T, V] of tokens [B, T]; kept [E], [B, E] or [B, E, T]; ablated [S, B, T, D]."""
        rows = []
        for row, prompt in enumerate(tokens):
            mine = kept if kept.ndim == 1 else kept[row]
            seen = None if mask is None else mask[row]
            rows.append(self.one(prompt, mine.double(), ablated[:, row], seen)[0])
        return torch.stack(rows)

    def outputs(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """[S, B, T, D] of a plain run."""
        kept = torch.ones(self.graph.n_edges).double()
        size = (len(self.graph.senders), tokens.shape[1], self.shape.d_model)
        rows = []
        for row, prompt in enumerate(tokens):
            seen = None if mask is None else mask[row]
            now = self.one(prompt, kept, torch.full(size, torch.nan), seen)[1]
            rows.append(torch.stack([now[name] for name in self.graph.senders]))
        return torch.stack(rows, 1)

    def one(
        self, tokens: Tensor, kept: Tensor, ablated: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        graph, weights = self.graph, self.model.weights
        now = self._embedded(tokens)
        biases: list[Tensor] = []

        def received(target: str, channel: str) -> Tensor:
            total = sum(biases, torch.zeros(len(tokens), self.shape.d_model).double())
            whole = 1.0
            if (direct := Edge(target, target, channel)) in graph.index:
                whole = kept[graph.index[direct]]
            for number, sender in enumerate(graph.senders):
                edge = Edge(sender, target, channel)
                if edge in graph.index and sender != target:
                    share = (kept[graph.index[edge]] * whole).reshape(-1, 1)
                    total = total + torch.where(share > 0, share * now[sender], 0)
                    total = total + torch.where(share < 1, (1 - share) * ablated[number], 0)
            return total

        for layer in range(self.shape.n_layers):
            block = weights.blocks[layer]
            names = [f"L{layer}H{head}" for head in range(self.shape.n_heads)]
            raw = []
            for head, name in enumerate(names):
                channels = "qkv" if graph.split_qkv else ["attn"] * 3
                inputs = [received(name, channel) for channel in channels]
                raw.append(self._head(layer, head, inputs, mask))
            parallel = received(f"L{layer}.mlp", "mlp") if self.shape.parallel else None
            b_o = torch.zeros(self.shape.d_model).double() if block.b_o is None else block.b_o
            scale: Tensor | float = 1.0
            if block.ln1_post is not None:
                scale = self._weight(block.ln1_post) / self.root(sum(raw) + b_o)
            now |= {name: out * scale for name, out in zip(names, raw, strict=True)}
            biases.append(b_o * scale)
            if block.ln2 is not None:
                x = received(f"L{layer}.mlp", "mlp") if parallel is None else parallel
                now[f"L{layer}.mlp"] = self._mlp(layer, x)
        return self._unembedded(received("logits", "logits")), now

    def root(self, x: Tensor) -> Tensor:
        """What a norm divides x by."""
        return (x.pow(2).mean(-1, keepdim=True) + self.model.description.eps).sqrt()

    def _embedded(self, tokens: Tensor) -> dict[str, Tensor]:
        weights = self.model.weights
        x = torch.stack([weights.embed[token] for token in tokens])
        x = x * (1 if weights.embed_scale is None else weights.embed_scale)
        if weights.positions is None:
            return {"embed": x}
        table = torch.stack([weights.positions[at] for at in range(len(tokens))])
        if len(self.graph.embeds) == 2:
            return {"embed": x, "pos_embed": table}
        return {"embed": x + table}

    def _weight(self, norm: Norm) -> Tensor | float:
        if norm.weight is None:
            return 1.0
        offset = self.model.description.norm_offset
        return (norm.weight.float() + 1).double() if offset else norm.weight

    def _norm(self, x: Tensor, norm: Norm, kind: str | None) -> Tensor:
        if kind is None:
            return x
        if kind == "RMS":
            return x / self.root(x) * self._weight(norm)
        centred = x - x.mean(-1, keepdim=True)
        x = centred / self.root(centred)
        x = x if norm.weight is None else x * norm.weight
        return x if norm.bias is None else x + norm.bias

    def _head(self, layer: int, head: int, inputs: list[Tensor], mask: Tensor | None) -> Tensor:
        """What a head writes, [T, D], before a norm behind the attention."""
        shape, description = self.shape, self.model.description
        block, kind = self.model.weights.blocks[layer], description.layers[layer]
        shared = head // (shape.n_heads // shape.n_kv_heads)
        firsts = (head, shape.n_heads + shared, shape.n_heads + shape.n_kv_heads + shared)
        parts = []
        for first, x in zip(firsts, inputs, strict=True):
            rows = slice(first * shape.d_head, (first + 1) * shape.d_head)
            part = self._norm(x, block.ln1, description.norm) @ block.qkv[rows].T
            parts.append(part if block.qkv_bias is None else part + block.qkv_bias[rows])
        q, k, v = parts
        q = q if block.q_norm is None else self._norm(q, block.q_norm, "RMS")
        k = k if block.k_norm is None else self._norm(k, block.k_norm, "RMS")
        q, k = self._rotated(q, kind.rotary), self._rotated(k, kind.rotary)
        z = torch.zeros_like(v)
        for at in range(len(q)):
            seen = [
                key
                for key in range(len(k))
                if (key <= at or not shape.causal)
                and (kind.window is None or at - key < kind.window)
                and (mask is None or bool(mask[key]))
            ]
            if not seen:
                z[at] = 0 if description.blank_rows else v.mean(0)
                continue
            scores = torch.stack([q[at] @ k[key] * kind.scale for key in seen])
            if (cap := description.score_cap) is not None:
                scores = cap * (scores / cap).tanh()
            shares = scores.exp() / scores.exp().sum()
            z[at] = sum(share * v[key] for share, key in zip(shares, seen, strict=True))
        return z @ block.w_o[head]

    def _rotated(self, x: Tensor, table: int) -> Tensor:
        """Each pair of numbers is a complex one, multiplied by exp(i · position · angle), of
        which cos and sin are single precision."""
        if not self.model.weights.rotary:
            return x
        angles = self.model.weights.rotary[table].angles
        width = 2 * len(angles)
        adjacent = self.model.description.adjacent
        first = slice(0, width, 2) if adjacent else slice(0, width // 2)
        second = slice(1, width, 2) if adjacent else slice(width // 2, width)
        turns = torch.outer(torch.arange(len(x)).float(), angles)
        turn = torch.complex(turns.cos().double(), turns.sin().double())
        turn = turn * self.model.weights.rotary[table].scaling
        turned = torch.complex(x[:, first], x[:, second]) * turn
        out = x.clone()
        out[:, first], out[:, second] = turned.real, turned.imag
        return out

    def _mlp(self, layer: int, x: Tensor) -> Tensor:
        block, description = self.model.weights.blocks[layer], self.model.description
        h = self._norm(x, block.ln2, description.norm) @ block.w_in.T
        h = h if block.b_in is None else h + block.b_in
        if self.shape.gated:
            half = h.shape[-1] // 2
            h = ACTIVATIONS[self.model.description.activation](h[:, :half]) * h[:, half:]
        else:
            h = ACTIVATIONS[self.model.description.activation](h)
        h = h if block.mid_norm is None else self._norm(h, block.mid_norm, "LN")
        out = h @ block.w_out.T
        out = out if block.b_out is None else out + block.b_out
        return out if block.ln2_post is None else self._norm(out, block.ln2_post, "RMS")

    def _unembedded(self, x: Tensor) -> Tensor:
        weights, description = self.model.weights, self.model.description
        logits = self._norm(x, weights.final, description.final_norm) @ weights.unembed.T
        logits = logits if weights.unembed_bias is None else logits + weights.unembed_bias
        cap = description.logit_cap
        return logits if cap is None else cap * (logits / cap).tanh()


def close(mine: Tensor, other: Tensor) -> float:
    """The largest difference, relative to the largest number."""
    assert mine.shape == other.shape
    mine, other = mine.detach(), other.detach()
    assert not math.isnan(float(other.abs().max()))
    return float((mine - other).abs().max() / other.abs().max())
