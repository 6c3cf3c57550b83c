"""Descriptions of Hugging Face families from their configurations: nothing is guessed.

A field is read, known to leave the arithmetic alone, or refused; so is a value that is not
covered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models import hf_config
from interp_dsl.models.compiled.activations import ACTIVATIONS
from interp_dsl.models.compiled.description import Description, LayerKind
from interp_dsl.models.errors import failure
from interp_dsl.models.shape import Shape


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Fields of every configuration that tell of origin, training, generation or output formats.
REMARKS = _words(
    "transformers_version architectures output_hidden_states output_attentions return_dict dtype "
    "torch_dtype chunk_size_feed_forward id2label label2id problem_type use_cache _name_or_path "
    "model_type initializer_range bos_token_id eos_token_id pad_token_id tie_word_embeddings "
    "vocab_size max_position_embeddings is_decoder attention_dropout hidden_dropout "
    "task_specific_params classifier_dropout resid_pdrop embd_pdrop attn_pdrop n_ctx "
    "pretraining_tp max_window_layers _sliding_window_pattern sliding_window_pattern "
    "cache_implementation summary_type summary_use_proj summary_activation summary_proj_to_labels "
    "summary_first_dropout transformers.js_config"
)
# Fields whose only covered values these are: others change what the model computes.
ONLY: Mapping[str, tuple[Any, ...]] = {
    "is_encoder_decoder": (False,),
    "add_cross_attention": (False,),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "reorder_and_upcast_attn": (False,),
    "use_bidirectional_attention": (None, False),
    "rope_scaling": (None,),
    "use_mrope": (False,),
}
ROTARY_FIELDS = _words(
    "hidden_size intermediate_size num_hidden_layers num_attention_heads rope_parameters rope_theta"
)
GROUPED_FIELDS = ROTARY_FIELDS | _words("num_key_value_heads head_dim rms_norm_eps attention_bias")
WINDOW_FIELDS = _words("sliding_window layer_types")
CAPPED_FIELDS = WINDOW_FIELDS | _words(
    "hidden_act hidden_activation query_pre_attn_scalar attn_logit_softcapping "
    "final_logit_softcapping"
)
FIELDS: Mapping[str, frozenset[str]] = {
    "gpt2": _words(
        "n_positions n_embd n_layer n_head n_inner activation_function layer_norm_epsilon"
    ),
    "gpt_neox": ROTARY_FIELDS
    | _words(
        "hidden_act layer_norm_eps use_parallel_residual attention_bias rotary_pct rotary_emb_base"
    ),
    "llama": GROUPED_FIELDS | {"hidden_act", "mlp_bias"},
    "mistral": GROUPED_FIELDS | {"hidden_act", "sliding_window"},
    "qwen2": GROUPED_FIELDS | WINDOW_FIELDS | {"hidden_act", "use_sliding_window"},
    "qwen3": GROUPED_FIELDS | WINDOW_FIELDS | {"hidden_act", "use_sliding_window"},
    "gemma": GROUPED_FIELDS | {"hidden_act", "hidden_activation"},
    "gemma2": GROUPED_FIELDS | CAPPED_FIELDS,
    "gemma3_text": GROUPED_FIELDS | CAPPED_FIELDS,
}
# Their frequencies do not change with the length of the prompt.
ROPE_TYPES = ("default", "linear", "llama3", "yarn")
LAYER_TYPES = ("full_attention", "sliding_attention")


def describe(config: Mapping[str, Any]) -> Description:
    """The architecture of a configuration that transformers has completed (`to_dict()`).
    Raises InterpError E605 that names what is not covered."""
    family = str(config.get("model_type"))
    if family not in FIELDS:
        raise refused(f"the family {family} is not covered")
    _check(family, config)
    shape = hf_config.shape_of(config)
    if shape is None:
        raise refused(f"this {family} configuration lacks its sizes")
    if family == "gpt2":
        return _layer_normed(shape, config, "layer_norm_epsilon")
    if family == "gpt_neox":
        return _layer_normed(shape, config, "layer_norm_eps")
    return _rms_normed(shape, config)


def refused(*reasons: str) -> InterpError:
    return failure(
        "E605",
        "the compiled forward does not cover this model",
        notes=reasons,
        help="the hooked executor runs it",
        exit_code=1,
    )


def _check(family: str, config: Mapping[str, Any]) -> None:
    known = FIELDS[family] | REMARKS | ONLY.keys()
    reasons = [f"a field that is not known: {name}" for name in sorted(config.keys() - known)]
    reasons += [
        f"{name} is {config[name]!r}"
        for name, values in ONLY.items()
        if name in config and config[name] not in values
    ]
    activations = _activations(config)
    if len(activations) != 1 or not activations <= ACTIVATIONS.keys():
        reasons.append(f"the activation is {' or '.join(sorted(activations))}")
    for kind in config.get("layer_types") or ():
        if kind not in LAYER_TYPES:
            reasons.append(f"a layer has {kind}")
    reasons += [
        f"rotary positions are {kind}"
        for kind in _rope_types(config.get("rope_parameters") or {})
        if kind not in ROPE_TYPES
    ]
    if reasons:
        raise refused(*reasons)


def _activations(config: Mapping[str, Any]) -> frozenset[str]:
    """One name, unless a configuration contradicts itself."""
    names = ("hidden_activation", "hidden_act", "activation_function")
    return frozenset(str(config[name]) for name in names if config.get(name))


def _rope_types(parameters: Mapping[str, Any]) -> list[str]:
    """The one of a flat table, or one a kind of layer."""
    nested = [value for value in parameters.values() if isinstance(value, Mapping)]
    return [str(table.get("rope_type", "default")) for table in nested or [parameters]]


def _layer_normed(shape: Shape, config: Mapping[str, Any], eps: str) -> Description:
    """GPT-2 and GPT-NeoX."""
    return Description(
        shape=shape,
        layers=(LayerKind(shape.d_head**-0.5),) * shape.n_layers,
        activation=min(_activations(config)),
        norm="LN",
        final_norm="LN",
        eps=config[eps],
    )


def _rms_normed(shape: Shape, config: Mapping[str, Any]) -> Description:
    """Llama, Mistral, Qwen and Gemma."""
    described = Description(
        shape=shape,
        layers=_layers(shape, config),
        activation=min(_activations(config)),
        norm="RMS",
        final_norm="RMS",
        eps=config["rms_norm_eps"],
        single_norm=True,
        single_softmax=True,
    )
    if not shape.family.startswith("gemma"):
        return described
    return replace(
        described,
        norm_offset=True,
        score_cap=config.get("attn_logit_softcapping"),
        logit_cap=config.get("final_logit_softcapping"),
    )


def _layers(shape: Shape, config: Mapping[str, Any]) -> tuple[LayerKind, ...]:
    """Mistral's window holds for all layers, that of the others for those that say so; Gemma-3's
    layers without a window turn by a table of their own."""
    scale = float(config.get("query_pre_attn_scalar") or shape.d_head) ** -0.5
    window = config.get("sliding_window")
    plain = "sliding_attention" if shape.family == "mistral" else "full_attention"
    kinds = config.get("layer_types") or (plain,) * shape.n_layers
    return tuple(
        LayerKind(
            scale,
            window if kind == "sliding_attention" else None,
            int(shape.family == "gemma3_text" and kind == "full_attention"),
        )
        for kind in kinds
    )
