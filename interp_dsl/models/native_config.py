"""The configuration of a model given by plain tensors: `bundled` and `weights`. No torch.

The fields are those of TransformerLens's TransformerBridgeConfig. What its native model would
ignore in silence is refused here by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interp_dsl.models.errors import failure, nearest
from interp_dsl.models.shape import Shape


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ALIASES = {
    "positional": "positional_embedding_type",
    "tied_embeddings": "tie_word_embeddings",
    "bos": "bos_token_id",
    "eos": "eos_token_id",
    "pad": "pad_token_id",
    "n_kv_heads": "n_key_value_heads",
}
INTEGERS = _words(
    "n_layers n_heads n_key_value_heads d_model d_head d_mlp n_ctx d_vocab d_vocab_out rotary_dim "
    "bos_token_id eos_token_id pad_token_id"
)
NUMBERS = _words("eps rotary_base attn_scale attn_scores_soft_cap output_logits_soft_cap")
SWITCHES = _words(
    "attn_only gated_mlp final_rms tie_word_embeddings use_attn_scale default_prepend_bos"
)
CHOICES: dict[str, dict[Any, Any]] = {
    "act_fn": {
        **{name: name for name in ("relu", "gelu", "gelu_new", "silu", "solu", "solu_ln")},
        "swish": "silu",
        "gelu (exact erf)": "gelu",
    },
    "normalization_type": {
        **{name: name for name in ("LN", "LNPre", "RMS", "RMSPre", None)},
        "none": None,
    },
    "positional_embedding_type": {"standard": "standard", "rotary": "rotary", "none": "none"},
    "attention_dir": {"causal": "causal", "bidirectional": "bidirectional"},
    "rotary_pairs": {"adjacent": "adjacent", "adjacent (2i,2i+1)": "adjacent"},
}
# Fields that tell of a model's origin and leave its arithmetic alone.
REMARKS = _words(
    "architecture biases description device dtype init_mode init_weights initializer_range "
    "licence license model_name name n_params seed source source_config source_data_config "
    "source_model_config task token_of_value tokenizer_name vocab uses_rms_norm n_devices "
    "tokenizer_prepends_bos tokenizer_appends_eos default_padding_side original_architecture "
    "from_checkpoint checkpoint_index checkpoint_label_type checkpoint_value "
    "decoder_start_token_id trust_remote_code rotary_adjacent_pairs attn_implementation "
    "split_attention_weights use_attn_result use_split_qkv_input use_hook_mlp_in use_attn_in "
    "use_hook_tokens NTK_by_parts_low_freq_factor NTK_by_parts_high_freq_factor NTK_by_parts_factor"
)
UNSUPPORTED = _words(
    "parallel_attn_mlp use_qk_norm use_local_attn window_size attn_types post_embedding_ln "
    "scale_attn_by_inverse_layer_idx use_normalization_before_and_after rmsnorm_uses_offset "
    "num_experts experts_per_token rope_scaling use_NTK_by_parts_rope layer_norm_folding "
    "qk_norm_after_rope rotary_interleaved_cos_sin load_in_4bit per_layer_head_dim scale_embedding "
    "per_layer_num_key_value_heads relative_attention_max_distance is_stateful is_multimodal "
    "relative_attention_num_buckets is_audio_model is_visual_model vision_hidden_size "
    "vision_num_layers vision_num_heads mm_tokens_per_image"
)
KNOWN = frozenset((*ALIASES, *INTEGERS, *NUMBERS, *SWITCHES, *CHOICES, *REMARKS, *UNSUPPORTED))
REQUIRED = ("n_layers", "d_model", "n_ctx", "d_vocab")


@dataclass(frozen=True)
class NativeConfig:
    """What the arithmetic of a native model depends on. `attn_scale` is what scores are divided
    by, None for sqrt(d_head); a soft cap of 0 is none; `tied` reads W_U from W_E where the file
    has no W_U of its own."""

    shape: Shape
    act_fn: str
    normalization: str | None
    final_rms: bool
    eps: float
    rotary_base: int
    rotary_dim: int
    attn_scale: float | None
    attn_scores_soft_cap: float
    output_logits_soft_cap: float
    tied: bool
    bos: int | None
    pad: int
    eos: tuple[int, ...] = ()


def parse(raw: Mapping[str, Any], path: Path) -> NativeConfig:
    """The configuration in `raw`, read from `path` (for messages). The fields stand at the top or
    under "config". Raises InterpError E453 for a field that is missing, unknown, unsupported or
    of the wrong kind."""
    nested = raw.get("config")
    fields = _checked(nested if isinstance(nested, Mapping) else raw, path)
    missing = [name for name in REQUIRED if name not in fields]
    if "n_heads" not in fields and "d_head" not in fields:
        missing.append("n_heads")
    if missing:
        raise failure("E453", f"{path.name} lacks {', '.join(missing)}", notes=(str(path),))
    for name in {*REQUIRED, "n_heads", "d_head", "n_key_value_heads"} & fields.keys():
        if fields[name] < 1:
            raise failure("E453", f"{path.name}: {name} must be positive, not {fields[name]}")
    shape = _shape(fields, path)
    bos = fields.get("bos_token_id") if fields.get("default_prepend_bos", True) else None
    pad = fields.get("pad_token_id")
    scale = fields.get("attn_scale", -1)
    return NativeConfig(
        shape=shape,
        act_fn=fields.get("act_fn", "relu"),
        normalization=fields.get("normalization_type", "LN"),
        final_rms=fields.get("final_rms", False),
        eps=float(fields.get("eps", 1e-5)),
        rotary_base=int(fields.get("rotary_base", 10000)),
        rotary_dim=fields.get("rotary_dim", shape.d_head),
        attn_scale=float(scale) if scale > 0 else None,
        attn_scores_soft_cap=max(0.0, float(fields.get("attn_scores_soft_cap", 0))),
        output_logits_soft_cap=max(0.0, float(fields.get("output_logits_soft_cap", 0))),
        tied=fields.get("tie_word_embeddings", False),
        bos=bos,
        pad=pad if pad is not None else fields.get("eos_token_id", 0),
        eos=tuple(fields[name] for name in ("eos_token_id",) if fields.get(name) is not None),
    )


def _checked(fields: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The fields under their proper names, values checked; remarks left out."""
    result: dict[str, Any] = {}
    for given, value in fields.items():
        if given not in KNOWN:
            close = nearest(given, KNOWN)
            raise failure(
                "E453",
                f"{path.name} has a field that is not known: {given}",
                notes=(str(path), "an unknown field could change what the model computes"),
                help=f"did you mean {close}?" if close else "remove it if it has no effect",
            )
        if given in UNSUPPORTED and value not in (None, False, 0, -1, "", [], {}):
            raise failure(
                "E453",
                f"{path.name} asks for {given}, which models of plain weights do not have",
                notes=(str(path),),
                help='load the original model with checkpoint("folder")',
            )
        name = ALIASES.get(given, given)
        if name not in REMARKS | UNSUPPORTED and (
            value is not None or name == "normalization_type"
        ):
            result[name] = _value(name, value, path)
    if result.get("use_attn_scale") is False:
        raise failure("E453", f"{path.name}: attention without a scale is not supported")
    return result


def _value(name: str, value: Any, path: Path) -> Any:
    kind = "true or false" if name in SWITCHES else "a whole number"
    if name in CHOICES:
        if isinstance(value, str | None) and value in CHOICES[name]:
            return CHOICES[name][value]
        kind = "one of " + ", ".join(str(choice) for choice in CHOICES[name])
    elif name in SWITCHES:
        if isinstance(value, bool):
            return value
    elif name in INTEGERS:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        return value
    else:
        kind = "a number"
    raise failure("E453", f"{path.name}: {name} must be {kind}, not {value!r}", notes=(str(path),))


def _shape(fields: Mapping[str, Any], path: Path) -> Shape:
    d_model = fields["d_model"]
    n_heads = fields.get("n_heads") or d_model // fields["d_head"]
    n_kv = fields.get("n_key_value_heads") or n_heads
    if n_heads % n_kv:
        raise failure("E453", f"{path.name}: {n_heads} heads cannot share {n_kv} key/value heads")
    out = fields.get("d_vocab_out", -1)
    mlp = 0 if fields.get("attn_only") else fields.get("d_mlp") or 4 * d_model
    return Shape(
        n_layers=fields["n_layers"],
        n_heads=n_heads,
        n_kv_heads=n_kv,
        d_model=d_model,
        d_head=fields.get("d_head") or d_model // n_heads,
        d_mlp=mlp,
        d_vocab=fields["d_vocab"],
        d_vocab_out=out if out > 0 else fields["d_vocab"],
        n_ctx=fields["n_ctx"],
        positional=fields.get("positional_embedding_type", "standard"),
        causal=fields.get("attention_dir", "causal") == "causal",
        gated=fields.get("gated_mlp", False),
    )
