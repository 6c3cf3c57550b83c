"""A model of plain weights as TransformerLens's native model under its bridge."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from interp_dsl.models.errors import failure
from interp_dsl.models.imports import timed
from interp_dsl.models.native_config import NativeConfig
from interp_dsl.models.weights import Source, Tensors


def boot(source: Source, device: torch.device, dtype: torch.dtype) -> Any:
    """A TransformerBridge with exactly these tensors. Raises InterpError E453 for sizes that do
    not go together."""
    timed("transformer_lens.model_bridge")
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge

    cfg = TransformerBridgeConfig(**bridge_fields(source.config), device=str(device), dtype=dtype)
    try:
        bridge = TransformerBridge.boot_native(cfg, device=device, dtype=dtype)
    except ValueError as error:
        raise failure(
            "E453", "no model can be built from this configuration", notes=(str(error),)
        ) from error
    bridge.load_state_dict(bridge_state(source.config, source.tensors), strict=True)
    return bridge


def bridge_fields(config: NativeConfig) -> dict[str, Any]:
    """The fields of TransformerBridgeConfig. Without positions the native model has no form of its
    own: it gets a table of zeros (`bridge_state`)."""
    shape = config.shape
    return {
        "n_layers": shape.n_layers,
        "n_heads": shape.n_heads,
        "n_key_value_heads": shape.n_kv_heads,
        "d_model": shape.d_model,
        "d_head": shape.d_head,
        "d_mlp": shape.d_mlp or None,
        "attn_only": shape.attn_only,
        "d_vocab": shape.d_vocab,
        "d_vocab_out": shape.d_vocab_out,
        "n_ctx": shape.n_ctx,
        "positional_embedding_type": "rotary" if shape.positional == "rotary" else "standard",
        "attention_dir": "causal" if shape.causal else "bidirectional",
        "gated_mlp": shape.gated,
        "act_fn": config.act_fn,
        "normalization_type": config.normalization,
        "final_rms": config.final_rms,
        "eps": config.eps,
        "rotary_base": config.rotary_base,
        "rotary_dim": config.rotary_dim if shape.positional == "rotary" else None,
        "attn_scale": -1.0 if config.attn_scale is None else config.attn_scale,
        "attn_scores_soft_cap": config.attn_scores_soft_cap or -1.0,
        "output_logits_soft_cap": config.output_logits_soft_cap or -1.0,
        "init_weights": False,
    }


def bridge_state(config: NativeConfig, tensors: Tensors) -> dict[str, Tensor]:
    """The tensors under the names and in the layouts of a native bridge's state_dict."""
    state = {_bridge_name(name): _bridge_layout(name, value) for name, value in tensors.items()}
    shape = config.shape
    if shape.positional == "none":
        state["pos_embed.weight"] = torch.zeros(shape.n_ctx, shape.d_model)
    return state


def _bridge_name(name: str) -> str:
    """blocks.0.attn.W_Q -> blocks.0.attn.q.weight"""
    stem, _, leaf = name.rpartition(".")
    kind = "bias" if leaf.startswith("b") else "weight"
    part = leaf.partition("_")[2].lower()
    return f"{stem}.{part}.{kind}" if ".attn" in stem or part in _MLP_PARTS else f"{stem}.{kind}"


_MLP_PARTS = ("in", "out", "gate")


def _bridge_layout(name: str, value: Tensor) -> Tensor:
    """Heads are stacked in the rows of a [out, in] matrix, as torch.nn.Linear keeps it."""
    match name.rpartition(".")[2]:
        case "W_Q" | "W_K" | "W_V":
            return value.transpose(1, 2).flatten(0, 1)
        case "W_O":
            return value.flatten(0, 1).T
        case "b_Q" | "b_K" | "b_V":
            return value.flatten()
        case "W_in" | "W_out" | "W_gate" | "W_U":
            return value.T
        case _:
            return value
