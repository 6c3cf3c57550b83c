"""The weights of the compiled forward: from a file of plain tensors, or from a bridge's model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from interp_dsl.models.compiled.description import Description
from interp_dsl.models.compiled.families import refused
from interp_dsl.models.native_config import NativeConfig


@dataclass(frozen=True)
class Norm:
    """Weight and bias [width]; None where a norm has none."""

    weight: Tensor | None = None
    bias: Tensor | None = None


@dataclass(frozen=True)
class Block:
    """Matrices are [out, in], as torch's `linear` takes them, except W_O [head, d_head, d_model].

    `qkv` stacks queries, keys and values, `w_in` gate (where there is one) and input."""

    ln1: Norm
    qkv: Tensor
    qkv_bias: Tensor | None
    w_o: Tensor
    b_o: Tensor | None
    ln1_post: Norm | None = None
    q_norm: Norm | None = None
    k_norm: Norm | None = None
    ln2: Norm | None = None
    w_in: Tensor | None = None
    b_in: Tensor | None = None
    mid_norm: Norm | None = None
    w_out: Tensor | None = None
    b_out: Tensor | None = None
    ln2_post: Norm | None = None


@dataclass(frozen=True)
class Frequencies:
    """Rotary positions: angles a position [pairs], float32; cos and sin are multiplied by
    `scaling`."""

    angles: Tensor
    scaling: float = 1.0


@dataclass(frozen=True)
class Weights:
    """`positions` [n_ctx, d_model], None for other positions; `unembed` [d_vocab_out, d_model];
    `embed_scale` (Gemma) multiplies token embeddings.
    `rotary`: one table, or two (Gemma-3: sliding, full), none."""

    embed: Tensor
    positions: Tensor | None
    blocks: tuple[Block, ...]
    final: Norm
    unembed: Tensor
    unembed_bias: Tensor | None
    rotary: tuple[Frequencies, ...] = ()
    embed_scale: Tensor | None = None


def from_tensors(
    config: NativeConfig, tensors: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype
) -> Weights:
    """The weights of a model of plain tensors under TransformerLens's names."""
    named = {name: value.to(device=device, dtype=dtype) for name, value in tensors.items()}
    shape = config.shape
    return Weights(
        embed=named["embed.W_E"],
        positions=named.get("pos_embed.W_pos"),
        blocks=tuple(_native_block(named, f"blocks.{layer}.") for layer in range(shape.n_layers)),
        final=_native_norm(named, "ln_final"),
        unembed=named["unembed.W_U"].T.contiguous(),
        unembed_bias=_unless_zero(named["unembed.b_U"]),
        rotary=_native_rotary(config, device) if shape.positional == "rotary" else (),
    )


def _native_norm(named: Mapping[str, Tensor], name: str) -> Norm:
    return Norm(named.get(f"{name}.w"), named.get(f"{name}.b"))


def _native_block(named: Mapping[str, Tensor], stem: str) -> Block:
    parts = {
        name.removeprefix(stem): value for name, value in named.items() if name.startswith(stem)
    }
    qkv = [parts[f"attn.W_{letter}"].transpose(1, 2).flatten(0, 1) for letter in "QKV"]
    w_in = [parts[f"mlp.{name}"] for name in ("W_gate", "W_in") if f"mlp.{name}" in parts]
    w_out = parts.get("mlp.W_out")
    return Block(
        ln1=_native_norm(parts, "ln1"),
        qkv=torch.cat(qkv),
        qkv_bias=torch.cat([parts[f"attn.b_{letter}"].flatten() for letter in "QKV"]),
        w_o=parts["attn.W_O"].contiguous(),
        b_o=parts["attn.b_O"],
        ln2=_native_norm(parts, "ln2") if w_in else None,
        w_in=_stacked(w_in) if w_in else None,
        b_in=parts.get("mlp.b_in"),
        mid_norm=_native_norm(parts, "mlp.ln") if "mlp.ln.w" in parts else None,
        w_out=None if w_out is None else w_out.T,
        b_out=parts.get("mlp.b_out"),
    )


def _native_rotary(config: NativeConfig, device: torch.device) -> tuple[Frequencies, ...]:
    powers = torch.arange(0, config.rotary_dim, 2).float() / config.rotary_dim
    return (Frequencies((1.0 / float(config.rotary_base) ** powers).to(device)),)


def from_bridge(bridge: Any, description: Description) -> Weights:
    """The weights of a bridge's Hugging Face model, as the bridge shows them (folded, where it has
    folded them). Raises InterpError E605 for constants that are not where they were."""
    standard = description.shape.positional == "standard"
    return Weights(
        embed=bridge.W_E.detach(),
        positions=bridge.pos_embed.weight.detach() if standard else None,
        blocks=tuple(_bridge_block(block) for block in bridge.blocks),
        final=_bridge_norm(bridge.ln_final),
        unembed=bridge.W_U.detach().T.contiguous(),
        unembed_bias=_unless_zero(bridge.b_U.detach()),
        rotary=() if standard else _bridge_rotary(bridge, description),
        embed_scale=_embed_scale(bridge) if description.shape.family.startswith("gemma") else None,
    )


def _embed_scale(bridge: Any) -> Tensor:
    scale = _optional(bridge.embed.original_component, "embed_scale")
    if scale is None:
        raise refused("the scale of its embeddings is not where it was")
    return scale.to(bridge.W_E.dtype)


def _bridge_norm(component: Any) -> Norm:
    weight, bias = component.weight, getattr(component, "bias", None)
    return Norm(weight.detach(), None if bias is None else bias.detach())


def _bridge_block(block: Any) -> Block:
    def norm(parent: Any, name: str) -> Norm | None:
        return _bridge_norm(getattr(parent, name)) if name in parent._modules else None

    attn, mlp = block.attn, block.mlp
    qkv = [getattr(attn, f"W_{letter}").detach().transpose(1, 2).flatten(0, 1) for letter in "QKV"]
    qkv_bias = [_optional(attn, f"b_{letter}") for letter in "QKV"]
    stacked = [name for name in ("gate", "in") if _optional(mlp, f"W_{name}") is not None]
    return Block(
        ln1=_bridge_norm(block.ln1),
        qkv=torch.cat(qkv),
        qkv_bias=_stacked_bias(qkv_bias, [len(weight) for weight in qkv]),
        w_o=attn.W_O.detach().contiguous(),
        b_o=_optional(attn, "b_O"),
        ln1_post=norm(block, "ln1_post"),
        q_norm=norm(attn, "q_norm"),
        k_norm=norm(attn, "k_norm"),
        ln2=norm(block, "ln2"),
        w_in=_stacked([getattr(mlp, f"W_{name}").detach() for name in stacked]),
        b_in=_stacked_bias(
            [_optional(mlp, f"b_{name}") for name in stacked],
            [getattr(mlp, f"W_{name}").shape[1] for name in stacked],
        ),
        w_out=mlp.W_out.detach().T,
        b_out=_optional(mlp, "b_out"),
        ln2_post=norm(block, "ln2_post"),
    )


def _stacked(matrices: list[Tensor]) -> Tensor:
    """Matrices [in, out] one above the other [out, in]. Several are joined as [in, out], of which a
    processor's product is some percent quicker; a single one stays as it lies, without a copy."""
    return matrices[0].T if len(matrices) == 1 else torch.cat(matrices, 1).T


def _optional(component: Any, name: str) -> Tensor | None:
    found = getattr(component, name, None)
    return found.detach() if isinstance(found, Tensor) else None


def _unless_zero(bias: Tensor) -> Tensor | None:
    """Most models have none, and to add it to all logits is a pass over memory."""
    return bias if bool(bias.any()) else None


def _stacked_bias(biases: list[Tensor | None], sizes: list[int]) -> Tensor | None:
    """The biases of stacked matrices, None where none of them has one."""
    given = [bias for bias in biases if bias is not None]
    if not given:
        return None
    parts = zip(biases, sizes, strict=True)
    return torch.cat([given[0].new_zeros(n) if b is None else b.flatten() for b, n in parts])


def _bridge_rotary(bridge: Any, description: Description) -> tuple[Frequencies, ...]:
    """A table a kind of layer that the model has; frequencies as transformers has scaled them."""
    module = bridge.rotary_emb.original_component
    used = {kind.rotary for kind in description.layers}
    is_two = description.shape.family == "gemma3_text"
    prefixes = ["sliding_attention_", "full_attention_"] if is_two else [""]
    tables = [_frequencies(module, prefix) for prefix in prefixes]
    if any(tables[number] is None for number in used):
        raise refused("its rotary frequencies are not where they were")
    blank = Frequencies(torch.zeros(0))
    return tuple(table or blank for table in tables)


def _frequencies(module: Any, prefix: str) -> Frequencies | None:
    angles = _optional(module, f"{prefix}inv_freq")
    if angles is None:
        return None
    return Frequencies(angles.float(), float(getattr(module, f"{prefix}attention_scaling")))
