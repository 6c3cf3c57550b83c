"""sparsify: cfg.json and sae.safetensors in a folder that has the name of the module.

encoder.weight [d_sae, d_in], encoder.bias, W_dec [d_sae, d_in], b_dec."""

from __future__ import annotations

from interp_dsl.dictionaries.formats.config import Config, Raw, refuse, whole


def understood(raw: Raw, folder: str) -> Config:
    """The configuration of a cfg.json; `folder` is the module's name."""
    refuse(raw, "activation", "topk")
    refuse(raw, "transcode", False)
    refuse(raw, "skip_connection", False)
    d_in = whole(raw, "d_in")
    if raw.get("num_latents"):
        d_sae = whole(raw, "num_latents")
    else:
        d_sae = d_in * whole(raw, "expansion_factor")
    return Config("sparsify", "topk", "topk", d_in, d_sae, whole(raw, "k"), raw, module=folder)
