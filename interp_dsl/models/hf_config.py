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


# The names under which families write one size, the most usual first.
LAYERS = ("num_hidden_layers", "n_layer", "num_layers")
HEADS = ("num_attention_heads", "n_head", "num_heads")
WIDTH = ("hidden_size", "n_embd", "d_model")
MLP = ("intermediate_size", "n_inner", "ffn_dim")
CONTEXT = ("max_position_embeddings", "n_positions", "n_ctx")
# Families whose blocks are parallel and whose config.json does not say so.
PARALLEL = frozenset({"codegen", "cohere", "cohere2", "gptj", "phi"})
# Parts of names of fields that only models have which are no plain decoder: mixtures of experts,
# state spaces and other recurrences, compressed keys and values.
FOREIGN = (
    "expert", "moe", "mamba", "ssm_", "conv_", "linear_", "lru_", "block_type", "hybrid",
    "kv_lora_rank", "attn_layer_period",
)  # fmt: skip


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part that describes the language model (a multimodal file nests it)."""
    nested = config.get("text_config")
    return nested if isinstance(nested, Mapping) else config


def shape_of(config: Mapping[str, Any]) -> Shape | None:
    """The shape, None where the file does not say all of it, or is not of a decoder-only
    transformer."""
    architectures = config.get("architectures")
    config = text_config(config)
    family = config.get("model_type")
    if family == "gpt2":
        return _gpt2(config)
    if family in ROTARY and {"hidden_size", "num_hidden_layers", "vocab_size"} <= config.keys():
        return _rotary(str(family), {**ROTARY[str(family)], **config})
    if family in ROTARY or not _is_decoder(architectures, config):
        return None
    return _standard(str(family), config)


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


def eos_of(config: Mapping[str, Any]) -> tuple[int, ...]:
    """The ids that end a text."""
    found = config.get("eos_token_id", text_config(config).get("eos_token_id"))
    ids = found if isinstance(found, list) else [found]
    return tuple(i for i in ids if isinstance(i, int) and i >= 0)


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


def _is_decoder(architectures: object, config: Mapping[str, Any]) -> bool:
    """Does the file say that this is a causal language model of plain blocks?"""
    names = architectures if isinstance(architectures, list) else []
    return (
        any(str(name).endswith("ForCausalLM") for name in names)
        and not config.get("is_encoder_decoder")
        and not any(part in field.lower() for field in config for part in FOREIGN)
        and not config.get("alibi")
    )


def _standard(family: str, config: Mapping[str, Any]) -> Shape | None:
    """The shape of a family without an entry of its own, by the names that most families use. A
    gate is told by its activation, SiLU."""
    layers, heads, width, context, vocabulary = (
        _whole(config, names) for names in (LAYERS, HEADS, WIDTH, CONTEXT, ("vocab_size",))
    )
    mlp = _mlp_width(config, width)
    if not (layers and heads and width and context and vocabulary and mlp):
        return None
    d_head = _whole(config, ("head_dim",)) or width // heads
    projected = config.get("word_embed_proj_dim", width)
    if projected != width or (width % heads and not config.get("head_dim")):
        return None
    is_rotary = any(name.startswith(("rope_", "rotary_")) for name in config)
    activation = config.get("hidden_act") or config.get("activation_function")
    return Shape(
        n_layers=layers,
        n_heads=heads,
        n_kv_heads=_kv_heads(config, heads),
        d_model=width,
        d_head=d_head,
        d_mlp=mlp,
        d_vocab=vocabulary,
        d_vocab_out=vocabulary,
        n_ctx=context,
        positional="rotary" if is_rotary else "standard",
        parallel=family in PARALLEL or bool(config.get("use_parallel_residual")),
        gated=activation == "silu",
        family=family,
    )


def _whole(config: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    """The first of the fields that holds a positive whole number."""
    found = (config.get(name) for name in names)
    return next((v for v in found if isinstance(v, int) and v is not True and v > 0), None)


def _mlp_width(config: Mapping[str, Any], width: int | None) -> int | None:
    """A field that is there and null asks for four times the model's width."""
    known = _whole(config, MLP)
    if known is None and width is not None and any(name in config for name in MLP):
        return 4 * width
    return known


def _kv_heads(config: Mapping[str, Any], heads: int) -> int:
    if config.get("multi_query"):
        return 1
    return _whole(config, ("num_key_value_heads",)) or heads
