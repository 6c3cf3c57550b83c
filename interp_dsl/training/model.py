"""The transformer that is trained: plain torch, tensors as in TransformerLens."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Shape:
    """What the forward pass needs to know. d_mlp None means attention only; norm None means no
    LayerNorm; act is ignored without an MLP ("gelu" is the exact one)."""

    n_layers: int
    n_heads: int
    d_model: int
    d_head: int
    n_ctx: int
    d_vocab: int
    d_mlp: int | None = None
    act: Literal["relu", "gelu"] = "relu"
    norm: Literal["LN"] | None = "LN"
    eps: float = 1e-5


@dataclass
class Trace:
    """What a forward pass leaves behind, and what it puts in. patterns: [batch, head, query, key]
    a layer; z: [batch, position, head, d_head] a layer; hidden: [batch, position, d_mlp] after the
    activation function, a layer; final: [batch, position, d_model], the
    residual stream before the last norm; replace: (layer, head) -> a vector [d_head], or
    [batch, position, d_head], that stands for the head's z."""

    patterns: list[Tensor] = field(default_factory=list)
    z: list[Tensor] = field(default_factory=list)
    hidden: list[Tensor] = field(default_factory=list)
    final: Tensor | None = None
    replace: dict[tuple[int, int], Tensor] = field(default_factory=dict)


class Embed(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.W_E = nn.Parameter(torch.empty(shape.d_vocab, shape.d_model))


class PosEmbed(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.W_pos = nn.Parameter(torch.empty(shape.n_ctx, shape.d_model))


class Unembed(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.W_U = nn.Parameter(torch.empty(shape.d_model, shape.d_vocab))
        self.b_U = nn.Parameter(torch.zeros(shape.d_vocab))


class Norm(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.eps = shape.eps
        self.w = nn.Parameter(torch.ones(shape.d_model))
        self.b = nn.Parameter(torch.zeros(shape.d_model))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.w.shape, self.w, self.b, self.eps)


class Attention(nn.Module):
    """Causal attention. W_Q, W_K, W_V: [head, d_model, d_head]; W_O: [head, d_head, d_model]."""

    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.d_head = shape.d_head
        heads, d, dh = shape.n_heads, shape.d_model, shape.d_head
        self.W_Q = nn.Parameter(torch.empty(heads, d, dh))
        self.W_K = nn.Parameter(torch.empty(heads, d, dh))
        self.W_V = nn.Parameter(torch.empty(heads, d, dh))
        self.W_O = nn.Parameter(torch.empty(heads, dh, d))
        self.b_Q = nn.Parameter(torch.zeros(heads, dh))
        self.b_K = nn.Parameter(torch.zeros(heads, dh))
        self.b_V = nn.Parameter(torch.zeros(heads, dh))
        self.b_O = nn.Parameter(torch.zeros(d))

    def forward(self, x: Tensor, trace: Trace | None) -> Tensor:
        def project(w: Tensor, b: Tensor) -> Tensor:
            flat = F.linear(x, w.transpose(1, 2).flatten(0, 1), b.flatten())
            return flat.view(*x.shape[:2], *b.shape).transpose(1, 2)

        q, k = project(self.W_Q, self.b_Q), project(self.W_K, self.b_K)
        scores = q @ k.transpose(-1, -2) / math.sqrt(self.d_head)
        future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=x.device).triu(1)
        pattern = scores.masked_fill(future, -torch.inf).softmax(-1)
        z = (pattern @ project(self.W_V, self.b_V)).transpose(1, 2)
        if trace is not None:
            z = self._traced(pattern, z, trace)
        return F.linear(z.flatten(2), self.W_O.flatten(0, 1).T, self.b_O)

    def _traced(self, pattern: Tensor, z: Tensor, trace: Trace) -> Tensor:
        z = z.clone()
        for (layer, head), value in trace.replace.items():
            if layer == self.layer:
                z[:, :, head] = value
        trace.patterns.append(pattern)
        trace.z.append(z)
        return z


class MLP(nn.Module):
    def __init__(self, shape: Shape, d_mlp: int) -> None:
        super().__init__()
        self.act = shape.act
        self.W_in = nn.Parameter(torch.empty(shape.d_model, d_mlp))
        self.b_in = nn.Parameter(torch.zeros(d_mlp))
        self.W_out = nn.Parameter(torch.empty(d_mlp, shape.d_model))
        self.b_out = nn.Parameter(torch.zeros(shape.d_model))

    def forward(self, x: Tensor, trace: Trace | None) -> Tensor:
        hidden = F.linear(x, self.W_in.T, self.b_in)
        hidden = F.relu(hidden) if self.act == "relu" else F.gelu(hidden)
        if trace is not None:
            trace.hidden.append(hidden)
        return F.linear(hidden, self.W_out.T, self.b_out)


class Block(nn.Module):
    def __init__(self, shape: Shape, layer: int) -> None:
        super().__init__()
        self.attn = Attention(shape, layer)
        self.ln1 = Norm(shape) if shape.norm else None
        self.mlp = MLP(shape, shape.d_mlp) if shape.d_mlp else None
        self.ln2 = Norm(shape) if shape.norm and shape.d_mlp else None

    def forward(self, x: Tensor, trace: Trace | None) -> Tensor:
        x = x + self.attn(self.ln1(x) if self.ln1 else x, trace)
        return x + self.mlp(self.ln2(x) if self.ln2 else x, trace) if self.mlp else x


class Transformer(nn.Module):
    """Matrices start as N(0, 0.8/sqrt(d_model)), biases as 0, norms as the identity."""

    def __init__(self, shape: Shape, seed: int = 0) -> None:
        super().__init__()
        self.shape = shape
        self.embed = Embed(shape)
        self.pos_embed = PosEmbed(shape)
        self.blocks = nn.ModuleList(Block(shape, layer) for layer in range(shape.n_layers))
        self.ln_final = Norm(shape) if shape.norm else None
        self.unembed = Unembed(shape)
        generator = torch.Generator().manual_seed(seed)
        for name, weight in self.named_parameters():
            if name.rsplit(".", 1)[1].startswith("W_"):
                nn.init.normal_(weight, std=0.8 / math.sqrt(shape.d_model), generator=generator)

    def forward(self, tokens: Tensor, trace: Trace | None = None) -> Tensor:
        """Logits [batch, position, d_vocab] of tokens [batch, position]."""
        x = self.embed.W_E[tokens] + self.pos_embed.W_pos[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x, trace)
        if trace is not None:
            trace.final = x
        if self.ln_final is not None:
            x = self.ln_final(x)
        return F.linear(x, self.unembed.W_U.T, self.unembed.b_U)

    def unembedded(self, part: Tensor, final: Tensor) -> Tensor:
        """Logits [n, d_vocab] that a part of the final residual stream adds, both [n, d_model],
        with the last norm's scale held at the whole stream's and no bias."""
        if self.ln_final is not None:
            scale = (final.var(-1, keepdim=True, unbiased=False) + self.shape.eps).sqrt()
            part = (part - part.mean(-1, keepdim=True)) / scale * self.ln_final.w
        return part @ self.unembed.W_U

    def weights(self) -> dict[str, Tensor]:
        """A detached copy of every tensor, by its TransformerLens name."""
        return {name: p.detach().clone().contiguous() for name, p in self.named_parameters()}

    @classmethod
    def of(cls, shape: Shape, weights: dict[str, Tensor]) -> Transformer:
        """A model with given weights, in float32 (tensors of a lower precision are widened)."""
        model = cls(shape)
        model.load_state_dict({name: w.float() for name, w in weights.items()})
        return model.eval()
