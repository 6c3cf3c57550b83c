"""The shape of a Hugging Face checkpoint from its config.json. No torch, no transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from interp_dsl.models.shape import Shape

# model_type -> what the configuration class takes when the file says nothing
ROTARY: dict[str, dict[str, Any]] = {
    "llama": {"gated": True},
    "mistral": {"gated": True, "num_key_value_heads": 8},
    "qwen2": {"gated": True},
    "qwen3": {"gated": True, "head_dim": 128},
    "gemma": {"gated": True, "head_dim": 256},
    "gemma2": {"gated": True, "head_dim": 256, "num_key_value_heads": 4, "post_norms": True},
    "gemma3_text": {"gated": True, "head_dim": 256, "num_key_value_heads": 4, "post_norms": True},
    "gpt_neox": {"use_parallel_residual": True},
}
# Families trained without a beginning-of-sequence token; TransformerLens prepends none either.
WITHOUT_BOS = frozenset({"gpt_neox", "qwen2", "qwen3"})


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part that describes the language model (a multimodal file nests it)."""
    nested = config.get("text_config")
    return nested if isinstance(nested, Mapping) else config


def shape_of(config: Mapping[str, Any]) -> Shape | None:
    """The shape, None for a family whose fields are not known here: nothing is guessed."""
    config = text_config(config)
    family = config.get("model_type")
    if family == "gpt2":
        return _gpt2(config)
    if family in ROTARY and {"hidden_size", "num_hidden_layers", "vocab_size"} <= config.keys():
        return _rotary(str(family), {**ROTARY[str(family)], **config})
    return None


def bos_of(config: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> int | None:
    """The id put in front of every prompt, by the family's own custom and tokenizer_config.json."""
    text = text_config(config)
    if text.get("model_type") in WITHOUT_BOS or tokenizer.get("add_bos_token") is False:
        return None
    return _first_id(config.get("bos_token_id"), text.get("bos_token_id"))


def pad_of(config: Mapping[str, Any]) -> int:
    """The id that fills prompts up on the right: the padding id, else the last of the text."""
    text = text_config(config)
    found = _first_id(
        config.get("pad_token_id"),
        text.get("pad_token_id"),
        config.get("eos_token_id"),
        text.get("eos_token_id"),
    )
    return found if found is not None else 0


def _first_id(*candidates: object) -> int | None:
    """The first that is an id, or the first of a list of ids."""
    for candidate in candidates:
        if isinstance(candidate, list) and candidate:
            candidate = candidate[0]
        if isinstance(candidate, int) and candidate >= 0:
            return candidate
    return None


def _gpt2(config: Mapping[str, Any]) -> Shape:
    d_model, heads = config.get("n_embd", 768), config.get("n_head", 12)
    vocabulary = config.get("vocab_size", 50257)
    return Shape(
        n_layers=config.get("n_layer", 12),
        n_heads=heads,
        n_kv_heads=heads,
        d_model=d_model,
        d_head=d_model // heads,
        d_mlp=config.get("n_inner") or 4 * d_model,
        d_vocab=vocabulary,
        d_vocab_out=vocabulary,
        n_ctx=config.get("n_positions", config.get("n_ctx", 1024)),
        family="gpt2",
    )


def _rotary(family: str, config: Mapping[str, Any]) -> Shape:
    d_model, heads = config["hidden_size"], config["num_attention_heads"]
    return Shape(
        n_layers=config["num_hidden_layers"],
        n_heads=heads,
        n_kv_heads=config.get("num_key_value_heads") or heads,
        d_model=d_model,
        d_head=config.get("head_dim") or d_model // heads,
        d_mlp=config["intermediate_size"],
        d_vocab=config["vocab_size"],
        d_vocab_out=config["vocab_size"],
        n_ctx=config.get("max_position_embeddings", 2048),
        positional="rotary",
        parallel=bool(config.get("use_parallel_residual", False)),
        gated=bool(config.get("gated", False)),
        post_norms=bool(config.get("post_norms", False)),
        family=family,
    )
