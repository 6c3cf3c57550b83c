"""A dictionary in a peer's files: the inverse of reading.py."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from interp_dsl.dictionaries.dictionary import Dictionary
from interp_dsl.dictionaries.formats.config import NotUnderstood, formats
from interp_dsl.dictionaries.formats.reading import without_shift
from interp_dsl.dictionaries.formats.saelens import NAMES, TRANSCODERS

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Origin:
    """What a file tells besides: the model's name, the TransformerLens hook and its head, the
    layer, the kind of place (`resid_post`), the architecture that was trained, the hook of what a
    transcoder rebuilds."""

    model: str | None = None
    hook: str | None = None
    head: int | None = None
    layer: int | None = None
    kind: str | None = None
    trained: str | None = None
    onto: str | None = None


def encoded(dictionary: Dictionary, name: str, origin: Origin) -> dict[str, bytes]:
    """The files of a format, by name. Raises NotUnderstood where it holds no such dictionary."""
    if dictionary.is_transcoder and name != "saelens":
        raise NotUnderstood(f"{name} has no transcoder of these places", _instead(dictionary))
    config, tensors = _WRITERS[name](dictionary, origin)
    form = formats()[name]
    whole = {key: t.float().cpu().contiguous() for key, t in tensors.items()}
    return {
        form.config: (json.dumps(config, indent=2) + "\n").encode(),
        form.weights: _pickled(tensors) if form.weights.endswith(".pt") else save(whole),
    }


def _pickled(tensors: Tensors) -> bytes:
    import io

    buffer = io.BytesIO()
    torch.save({key: t.cpu().contiguous() for key, t in tensors.items()}, buffer)
    return buffer.getvalue()


def _saelens(dictionary: Dictionary, origin: Origin) -> tuple[dict[str, Any], Tensors]:
    trained = {"training_architecture": origin.trained} if origin.trained else {}
    config: dict[str, Any] = {
        "d_in": dictionary.d_in,
        "d_sae": dictionary.d_sae,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": not dictionary.is_transcoder,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {
            "model_name": origin.model,
            "hook_name": origin.hook,
            "hook_head_index": origin.head,
            **trained,
        },
        "architecture": _named(dictionary),
    }
    if dictionary.is_transcoder:
        config["d_out"] = dictionary.d_out
        config["metadata"]["hook_name_out"] = origin.onto
        return config, without_shift(dict(dictionary.tensors))
    if dictionary.activation == "topk":
        config |= {"k": dictionary.k, "rescale_acts_by_decoder_norm": False}
    return config, dict(dictionary.tensors)


def _named(dictionary: Dictionary) -> str:
    """SAELens' word for an architecture."""
    if not dictionary.is_transcoder:
        return NAMES[dictionary.activation]
    key = dictionary.activation, "W_skip" in dictionary.tensors
    if key not in TRANSCODERS:
        raise NotUnderstood(
            f"SAELens has no transcoder that is {dictionary.activation}", _instead(dictionary)
        )
    return TRANSCODERS[key]


def _instead(dictionary: Dictionary) -> str:
    """What can be written where a transcoder cannot."""
    skips = "W_skip" in dictionary.tensors
    if (dictionary.activation, skips) in TRANSCODERS:
        return "write it as saelens"
    if dictionary.k is None:
        like = f"jumprelu(width={dictionary.d_sae}, …)"
    else:
        like = f"batch_topk(width={dictionary.d_sae}, k={dictionary.k}, …)"
    known = TRANSCODERS["jumprelu", skips]
    return f"fit {like} in its place, which is written for SAELens as {known}"


def _dictionary_learning(dictionary: Dictionary, origin: Origin) -> tuple[dict[str, Any], Tensors]:
    named, tensors = _CLASSES[dictionary.activation](dictionary)
    place = origin.kind and f"{origin.kind}_layer_{origin.layer}"
    trainer: dict[str, Any] = {
        "dict_class": named,
        "activation_dim": dictionary.d_in,
        "dict_size": dictionary.d_sae,
        "layer": origin.layer,
        "lm_name": origin.model,
        "submodule_name": origin.hook if origin.head is not None else place,
    }
    if dictionary.k is not None:
        trainer["k"] = dictionary.k
    return {"trainer": trainer, "buffer": None}, tensors


def _relu(dictionary: Dictionary) -> tuple[str, Tensors]:
    linear = _linear(dictionary.tensors)
    return "AutoEncoder", {"bias": linear.pop("b_dec"), **linear}


def _topk(dictionary: Dictionary) -> tuple[str, Tensors]:
    scalars = {
        "k": torch.tensor(dictionary.k, dtype=torch.int),
        "threshold": torch.tensor(-1.0),
    }
    return "AutoEncoderTopK", {**_linear(dictionary.tensors), **scalars}


def _jumprelu(dictionary: Dictionary) -> tuple[str, Tensors]:
    """Its encoder reads x itself."""
    t = dictionary.tensors
    return "JumpReluAutoEncoder", {**t, "b_enc": t["b_enc"] - t["b_dec"] @ t["W_enc"]}


def _gated(dictionary: Dictionary) -> tuple[str, Tensors]:
    t = dictionary.tensors
    return "GatedAutoEncoder", {
        "decoder_bias": t["b_dec"],
        "r_mag": t["r_mag"],
        "gate_bias": t["b_gate"],
        "mag_bias": t["b_mag"],
        "encoder.weight": t["W_enc"].T,
        "decoder.weight": t["W_dec"].T,
    }


_CLASSES: dict[str, Callable[[Dictionary], tuple[str, Tensors]]] = {
    "relu": _relu,
    "topk": _topk,
    "jumprelu": _jumprelu,
    "gated": _gated,
}


def _linear(t: Mapping[str, Tensor]) -> Tensors:
    return {
        "b_dec": t["b_dec"],
        "encoder.weight": t["W_enc"].T,
        "encoder.bias": t["b_enc"],
        "decoder.weight": t["W_dec"].T,
    }


def _sparsify(dictionary: Dictionary, origin: Origin) -> tuple[dict[str, Any], Tensors]:
    if dictionary.activation != "topk":
        raise NotUnderstood(
            f"sparsify has topk alone, and this is {dictionary.activation}",
            "write it as saelens or dictionary_learning",
        )
    config = {
        "activation": "topk",
        "expansion_factor": max(1, dictionary.d_sae // dictionary.d_in),
        "normalize_decoder": False,
        "num_latents": dictionary.d_sae,
        "k": dictionary.k,
        "multi_topk": False,
        "skip_connection": False,
        "transcode": False,
        "d_in": dictionary.d_in,
    }
    t = dictionary.tensors
    return config, {
        "encoder.weight": t["W_enc"].T,
        "encoder.bias": t["b_enc"],
        "W_dec": t["W_dec"],
        "b_dec": t["b_dec"],
    }


_WRITERS: dict[str, Callable[[Dictionary, Origin], tuple[dict[str, Any], Tensors]]] = {
    "saelens": _saelens,
    "dictionary_learning": _dictionary_learning,
    "sparsify": _sparsify,
}
