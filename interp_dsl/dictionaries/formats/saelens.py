"""SAELens: cfg.json and sae_weights.safetensors, of version 6 and, where it says the same in other
words, before.

W_enc [d_in, d_sae], W_dec [d_sae, d_in], b_dec, b_enc; threshold (jumprelu); b_gate, b_mag, r_mag
(gated). batch_topk and matryoshka are saved as jumprelu. Transcoders, of relu and jumprelu, have
W_dec [d_sae, d_out], b_dec [d_out] and, with a skip connection, W_skip [d_out, d_in];
`hook_name_out` in the metadata says what they rebuild."""

from __future__ import annotations

from typing import Any

from interp_dsl.dictionaries.formats.config import Config, NotUnderstood, Raw, refuse, text, whole

_ARCHITECTURES = {"standard": "relu", "topk": "topk", "jumprelu": "jumprelu", "gated": "gated"}
NAMES = {ours: theirs for theirs, ours in _ARCHITECTURES.items()}
TRANSCODERS = {
    ("relu", False): "transcoder",
    ("relu", True): "skip_transcoder",
    ("jumprelu", False): "jumprelu_transcoder",
    ("jumprelu", True): "jumprelu_skip_transcoder",
}
"""Of what encodes so, without and with a skip connection."""
_TRANSCODERS = {name: key for key, name in TRANSCODERS.items()}
_OLD_NAMES = {
    "hook_point": "hook_name",
    "hook_point_head_index": "hook_head_index",
    "activation_fn_str": "activation_fn",
}
_NONE = ("none", False)


def understood(raw: Raw, folder: str) -> Config:
    """The configuration of a cfg.json."""
    raw = {_OLD_NAMES.get(name, name): value for name, value in raw.items()}
    named = raw.get("architecture", "standard")
    k = raw.get("k")
    if named == "standard" and raw.get("activation_fn") not in (None, "relu"):
        named, k = _before_6(raw)
    ours, has_skip = _TRANSCODERS.get(named, (_ARCHITECTURES.get(named), False))
    if ours is None:
        raise NotUnderstood(f"`architecture` is {named!r}, which is not understood", _why(named))
    _refuse_input_norms(raw)
    refuse(raw, "finetuning_scaling_factor", False)
    refuse(raw, "reshape_activations", "none", "hook_z")
    about = {**raw, **(raw.get("metadata") or {})}
    refuse(about, "hook_head_index", *range(10_000))
    return Config(
        "saelens",
        named,
        ours,
        whole(raw, "d_in"),
        whole(raw, "d_sae"),
        whole({"k": k}, "k") if named == "topk" else None,
        raw,
        hook=text(about, "hook_name"),
        head=about.get("hook_head_index"),
        d_out=whole(raw, "d_out") if named in _TRANSCODERS else None,
        hook_out=text(about, "hook_name_out"),
        has_skip=has_skip,
    )


def _before_6(raw: Raw) -> tuple[str, Any]:
    """Before version 6 topk was a standard SAE with another function."""
    refuse(raw, "activation_fn", "topk")
    return "topk", (raw.get("activation_fn_kwargs") or {}).get("k")


def _refuse_input_norms(raw: Raw) -> None:
    """What is done to each input for itself can't be folded into weights, and what was done to all
    alike should have been."""
    value = raw.get("normalize_activations")
    if value is None or value in _NONE:
        return
    raise NotUnderstood(
        f"`normalize_activations` is {value!r}, which is not understood",
        "SAELens folds a scale or whitening of all inputs into the weights when it saves a "
        "finished SAE: this seems to be a checkpoint of training"
        if value in ("expected_average_only_in", "covariance_whitening", True)
        else None,
    )


def _why(named: object) -> str:
    known = ", ".join((*_ARCHITECTURES, *_TRANSCODERS))
    return f"understood are {known}; batchtopk and matryoshka are among them once finished"
