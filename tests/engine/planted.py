"""A model whose residual stream is planted: the last block writes tanh(k (w · x − b)) v."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from interp_dsl.data.types import Data
from interp_dsl.models.edits import Edit, apply
from interp_dsl.models.executor import Pass
from interp_dsl.models.shape import ModelFacts, Shape
from interp_dsl.plan.places import Site

from .tiny import side

SHAPE = Shape(
    n_layers=2, n_heads=1, n_kv_heads=1, d_model=6, d_head=6, d_mlp=6, d_vocab=40,
    d_vocab_out=40, n_ctx=8,
)  # fmt: skip


class Plateaus:
    """Layer 0 holds the embeddings, layer 1 F(x) = tanh(steepness (w · x − b)) v of each position;
    where several w are given, their sum."""

    name = "plateaus"
    difference: float | None = None
    remark: str | None = None
    device = torch.device("cpu")
    dtype = torch.float64
    tf32 = False

    def __init__(self, steepness: float, borders: Sequence[float] = (0.0,)) -> None:
        self.facts = ModelFacts("plateaus", SHAPE, None, 0, 0)
        random = torch.Generator().manual_seed(0)
        self.steepness, self.borders = steepness, borders
        self.embed = torch.randn(40, 6, generator=random, dtype=self.dtype)
        self.w = torch.randn(6, generator=random, dtype=self.dtype)
        self.v = torch.randn(6, generator=random, dtype=self.dtype)
        self.unembed = torch.randn(6, 40, generator=random, dtype=self.dtype)
        self.rows = 0

    def stream(self, x: Tensor) -> Tensor:
        """F of x [..., 6]."""
        at = x @ self.w
        return (
            sum(((self.steepness * (at - b)).tanh() for b in self.borders), 0 * at)[..., None]
            * self.v
        )

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

        def at(site: Site, x: Tensor) -> Tensor:
            x = apply(x[:, :, None], [e for e in edits if e.site == site])
            if site in sites:
                held[site] = x
            return x[:, :, 0]

        x = at(Site("resid_pre", 0), self.embed[tokens])
        x = at(Site("resid_pre", 1), at(Site("resid_post", 0), x))
        x = at(Site("resid_post", 1), self.stream(x))
        logits = (x @ self.unembed).float()
        if reads is not None:
            logits = logits.gather(1, reads[..., None].expand(-1, -1, 40))
        return Pass(logits, held)

    def fingerprint(self) -> str:
        return f"plateaus-{self.steepness}-{self.borders}"


def prompts(n: int = 12, seed: int = 0) -> Data:
    """Pairs that differ in their last token."""
    random = np.random.default_rng(seed)
    clean = random.integers(1, 40, (n, 4))
    corrupt = clean.copy()
    corrupt[:, -1] = (clean[:, -1] + random.integers(1, 38, n)) % 39 + 1
    sides = {k: side(k, t.tolist()) for k, t in (("clean", clean), ("corrupt", corrupt))}
    return Data("prompts", sides)
