"""What the compiled forward must know of an architecture besides its weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from interp_dsl.models.native_config import NativeConfig
from interp_dsl.models.shape import Shape


@dataclass(frozen=True)
class LayerKind:
    """`scale` multiplies the scores. `window` is the number of keys that a query sees, itself
    included, None for all. `rotary` is the table of the layer's positions (Gemma-3 has two)."""

    scale: float
    window: int | None = None
    rotary: int = 0


@dataclass(frozen=True)
class Description:
    """One block description for all families; sizes and wiring that facts know are in `shape`.

    `norm` and `final_norm` are LN, RMS or None; whether they have weights is seen from the weights.
    `norm_offset`: weights are stored as w - 1 (Gemma). `adjacent`: rotary turns the pairs
    (2i, 2i+1), not (i, i + half). `score_cap`, `logit_cap`: x <- cap tanh(x / cap), None for none.
    `blank_rows`: a query whose keys are all masked
    attends to nothing, not to everything. `single_norm`, `single_softmax`: RMS norms with weights,
    the softmax over keys are computed in float32 whatever the model's dtype, as the originals
    do."""

    shape: Shape
    layers: tuple[LayerKind, ...]
    activation: str
    norm: str | None
    final_norm: str | None
    eps: float
    norm_offset: bool = False
    adjacent: bool = False
    score_cap: float | None = None
    logit_cap: float | None = None
    blank_rows: bool = False
    single_norm: bool = False
    single_softmax: bool = False

    def fuses_attention(self, dtype: torch.dtype) -> bool:
        """Can scaled_dot_product_attention stand for this attention? It has no cap, and keeps
        float64 where the originals fall back to float32."""
        return self.score_cap is None and not (self.single_softmax and dtype == torch.float64)


def describe_native(config: NativeConfig) -> Description:
    """A model of plain weights; native_config has refused what is not covered."""
    shape = config.shape
    kind = config.normalization.removesuffix("Pre") if config.normalization else None
    scale = 1 / (config.attn_scale or shape.d_head**0.5)
    return Description(
        shape=shape,
        layers=(LayerKind(scale),) * shape.n_layers,
        activation=config.act_fn,
        norm=kind,
        final_norm="RMS" if config.final_rms else kind,
        eps=config.eps,
        adjacent=True,
        score_cap=config.attn_scores_soft_cap or None,
        logit_cap=config.output_logits_soft_cap or None,
        blank_rows=True,
        single_norm=True,
    )
