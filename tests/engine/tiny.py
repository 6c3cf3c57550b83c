"""A small real transformer with canonical sites, and hand-made data: no bridge, no tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interp_dsl.data.types import Answer, Data, Side
from interp_dsl.models.edits import Edit, apply
from interp_dsl.models.executor import Pass
from interp_dsl.models.shape import ModelFacts, Shape
from interp_dsl.plan.places import Site

Change = Callable[[Site, Tensor], Tensor]
SHAPE = Shape(
    n_layers=2, n_heads=2, n_kv_heads=2, d_model=8, d_head=4, d_mlp=12, d_vocab=11,
    d_vocab_out=11, n_ctx=16,
)  # fmt: skip


class Tiny:
    """Two layers of attention and ReLU MLP in float64 without norms; random weights."""

    name = "tiny"
    difference: float | None = None
    remark: str | None = None
    device = torch.device("cpu")
    dtype = torch.float64
    tf32 = False

    def __init__(self, seed: int = 0, shape: Shape = SHAPE) -> None:
        self.facts = ModelFacts("tiny", shape, None, 0, 0)
        self.rows = 0
        s, random = shape, torch.Generator().manual_seed(seed)

        def draw(*sizes: int) -> Tensor:
            return torch.randn(sizes, generator=random, dtype=self.dtype) * 0.35

        self.embed, self.places = draw(s.d_vocab, s.d_model), draw(s.n_ctx, s.d_model)
        self.qkv = draw(s.n_layers, 3, s.n_heads, s.d_model, s.d_head)
        self.out = draw(s.n_layers, s.n_heads, s.d_head, s.d_model)
        self.mlp_in = draw(s.n_layers, s.d_model, s.d_mlp)
        self.mlp_out = draw(s.n_layers, s.d_mlp, s.d_model)
        self.unembed = draw(s.d_model, s.d_vocab_out)

    def run(self, tokens: Tensor, change: Change, mask: Tensor | None = None) -> Tensor:
        """Logits [B, T, V]; every canonical site passes through `change`."""

        def at(kind: str, layer: int | None, x: Tensor) -> Tensor:
            return change(Site(kind, layer), x)

        def flat(kind: str, layer: int | None, x: Tensor) -> Tensor:
            return at(kind, layer, x[:, :, None])[:, :, 0]

        n, shape = tokens.shape[1], self.facts.shape
        seen = torch.ones(n, n, dtype=torch.bool)
        seen = (seen.tril() if shape.causal else seen)[None, :, None]
        seen = seen if mask is None else seen & mask[:, None, None]
        x = flat("embed", None, self.embed[tokens]) + self.places[:n]
        for i in range(shape.n_layers):
            x = flat("resid_pre", i, x)
            q, k, v = (
                at(kind, i, torch.einsum("btd,hde->bthe", x, w))
                for kind, w in zip("qkv", self.qkv[i], strict=True)
            )
            scores = torch.einsum("bqhe,bkhe->bqhk", q, k) / shape.d_head**0.5
            pattern = at("pattern", i, scores.masked_fill(~seen, -torch.inf).softmax(-1))
            z = at("z", i, torch.einsum("bqhk,bkhe->bqhe", pattern, v))
            heads = at("head", i, torch.einsum("bthe,hed->bthd", z, self.out[i]))
            x = flat("resid_mid", i, x + flat("attn_out", i, heads.sum(2)))
            hidden = at("neuron", i, (x @ self.mlp_in[i]).relu()[..., None])[..., 0]
            x = flat("resid_post", i, x + flat("mlp_out", i, hidden @ self.mlp_out[i]))
        return (x @ self.unembed).float()

    def forward(
        self,
        tokens: Tensor,
        reads: Tensor | None,
        edits: Sequence[Edit] = (),
        sites: Sequence[Site] = (),
        mask: Tensor | None = None,
    ) -> Pass:
        self.rows += len(tokens)
        held: dict[Site, Tensor] = {}

        def change(site: Site, x: Tensor) -> Tensor:
            x = apply(x, [e for e in edits if e.site == site])
            if site.kind == "neuron":  # the hook's tensor has a position's neurons in one row
                hook = f"blocks.{site.layer}.mlp.hook_post"
                raw = [e for e in edits if e.site.hook == hook]
                x = apply(x.transpose(2, 3), raw).transpose(2, 3)
            if site in sites:
                held[site] = x
            return x

        logits = self.run(tokens, change, mask)
        if reads is not None:
            logits = logits.gather(1, reads[..., None].expand(-1, -1, logits.shape[-1]))
        return Pass(logits, held)

    def fingerprint(self) -> str:
        return f"tiny-{float(self.unembed.sum()):.12f}"


def side(name: str, prompts: Sequence[Sequence[int]], **labels: Sequence[tuple[int, int]]) -> Side:
    """Prompts padded with 0 and read at their last token."""
    width = max(map(len, prompts))
    lengths = np.array([len(p) for p in prompts])
    tokens = np.array([[*p, *[0] * (width - len(p))] for p in prompts])
    return Side(name, tokens, lengths, lengths - 1, {k: np.array(v) for k, v in labels.items()})


def singles(*tokens: int) -> tuple[Answer, ...]:
    return tuple(Answer(((t,),)) for t in tokens)


def pairs(n: int = 5, length: int = 6, seed: int = 0) -> Data:
    """Aligned random pairs; S is two tokens that differ from prompt to prompt, END the last."""
    random = np.random.default_rng(seed)
    clean = random.integers(1, 11, (n, length))
    corrupt = clean.copy()
    corrupt[:, 1:4] = random.integers(1, 11, (n, 3))
    starts = random.integers(1, 3, n)
    labels = {
        "S": [(int(s), int(s) + 2) for s in starts],
        "END": [(length - 1, length)] * n,
    }
    answers = random.permuted(np.tile(np.arange(11), (n, 1)), axis=1)
    return Data(
        "pairs",
        {k: side(k, t.tolist(), **labels) for k, t in (("clean", clean), ("corrupt", corrupt))},
        singles(*answers[:, 0].tolist()),
        singles(*answers[:, 1].tolist()),
        template=np.arange(n) % 2,
    )


class Given:
    """Loaders that hand out one model and named data."""

    def __init__(self, model: Any, **data: Data) -> None:
        self.held, self.held_data = model, data

    def model(self, spec: Mapping[str, Any], device: str, trusted: bool) -> Any:
        return self.held

    def data(self, name: str, spec: Mapping[str, Any], facts: Any, trusted: bool) -> Data:
        return self.held_data[name]
