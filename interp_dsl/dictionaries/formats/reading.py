"""The tensors of a peer's folder, brought to the one convention of `Dictionary`:

f = act((x - b_dec) W_enc + b_enc) and x̂ = f W_dec + b_dec, all in float32; of a transcoder b_in in
the place of the first b_dec.

What a peer does otherwise is folded into the tensors, exactly: with c = b_dec W_enc, an encoder
that reads x itself has b_enc + c here; with n the lengths of decoder rows, features that are
counted in units of them are those of W_enc n, b_enc n and W_dec / n."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from interp_dsl.dictionaries.dictionary import Dictionary
from interp_dsl.dictionaries.formats.config import Config, NotUnderstood, formats, read_config

Tensors = dict[str, Tensor]
SHAPES = {
    "W_enc": ("d_in", "d_sae"),
    "W_dec": ("d_sae", "d_out"),
    "b_dec": ("d_out",),
    "b_in": ("d_in",),
    "W_skip": ("d_out", "d_in"),
}


def read(folder: Path) -> tuple[Dictionary, Config]:
    """The dictionary of a folder. Raises NotUnderstood where it holds none that has a counterpart
    here, or tensors that are not what its configuration says."""
    config = read_config(folder)
    held = _tensors(folder / formats()[config.format].weights)
    try:
        tensors = _READERS[config.format](held, config)
    except KeyError as error:
        raise NotUnderstood(f"the tensor {error} is missing") from None
    _check(tensors, config)
    return Dictionary(config.architecture, tensors, config.k), config


def _tensors(path: Path) -> Tensors:
    try:
        if path.suffix == ".pt":
            held = torch.load(path, map_location="cpu", weights_only=True)
        else:
            held = load_file(path)
    except (SafetensorError, RuntimeError, ValueError, EOFError, UnpicklingError) as error:
        reason = str(error).partition("\n")[0]
        raise NotUnderstood(f"{path.name} can't be read: {reason}") from None
    return {name: value.float() for name, value in held.items() if isinstance(value, Tensor)}


def _check(tensors: Tensors, config: Config) -> None:
    d_in, d_out = config.d_in, config.d_out or config.d_in
    sizes = {"d_in": d_in, "d_sae": config.d_sae, "d_out": d_out}
    for name, tensor in tensors.items():
        wanted = tuple(sizes[axis] for axis in SHAPES.get(name, ("d_sae",)))
        if tuple(tensor.shape) != wanted:
            raise NotUnderstood(
                f"{name} is {list(tensor.shape)}, and {list(wanted)} by the configuration"
            )
        if not bool(tensor.isfinite().all()):
            raise NotUnderstood(f"{name} holds numbers that are not finite")


def _saelens(held: Tensors, config: Config) -> Tensors:
    tensors = {name: held[name] for name in ("W_enc", "W_dec", "b_dec")}
    if config.architecture == "gated":
        tensors |= {name: held[name] for name in ("b_gate", "b_mag", "r_mag")}
    else:
        tensors["b_enc"] = held["b_enc"]
    if config.architecture == "jumprelu":
        tensors["threshold"] = held["threshold"].clamp_min(0)  # what is kept is above 0 as well
    if config.d_out is not None:  # of a transcoder, which reads x itself
        skip = {"W_skip": held["W_skip"]} if config.has_skip else {}
        return {**tensors, **skip, "b_in": torch.zeros(config.d_in)}
    if not config.raw.get("apply_b_dec_to_input", True):
        tensors = reading_the_input(tensors)
    if config.raw.get("rescale_acts_by_decoder_norm", False):
        tensors = in_decoder_lengths(tensors)
    return tensors


def _dictionary_learning(held: Tensors, config: Config) -> Tensors:
    match config.named:
        case "AutoEncoder":
            tensors = _linear(held, held["bias"])
            return in_decoder_lengths(tensors)  # as its own loader has it
        case "AutoEncoderNew":
            return reading_the_input(_linear(held, held["decoder.bias"]))
        case "AutoEncoderTopK":
            return _linear(held, held["b_dec"])
        case "BatchTopKSAE":
            tensors = _linear(held, held["b_dec"])
            return {**tensors, "threshold": _threshold(held, config)}
        case "MatryoshkaBatchTopKSAE":
            return {**_plain(held), "threshold": _threshold(held, config)}
        case "JumpReluAutoEncoder":
            tensors = {**_plain(held), "threshold": _threshold(held, config)}
            return reading_the_input(tensors)
    return {
        "W_enc": held["encoder.weight"].T.contiguous(),
        "W_dec": held["decoder.weight"].T.contiguous(),
        "b_dec": held["decoder_bias"],
        "b_gate": held["gate_bias"],
        "b_mag": held["mag_bias"],
        "r_mag": held["r_mag"],
    }


def _sparsify(held: Tensors, config: Config) -> Tensors:
    return {
        "W_enc": held["encoder.weight"].T.contiguous(),
        "W_dec": held["W_dec"],
        "b_enc": held["encoder.bias"],
        "b_dec": held["b_dec"],
    }


_READERS: dict[str, Callable[[Tensors, Config], Tensors]] = {
    "saelens": _saelens,
    "dictionary_learning": _dictionary_learning,
    "sparsify": _sparsify,
}


def _linear(held: Tensors, b_dec: Tensor) -> Tensors:
    """Of two linear layers."""
    return {
        "W_enc": held["encoder.weight"].T.contiguous(),
        "W_dec": held["decoder.weight"].T.contiguous(),
        "b_enc": held["encoder.bias"],
        "b_dec": b_dec,
    }


def _plain(held: Tensors) -> Tensors:
    return {name: held[name] for name in ("W_enc", "W_dec", "b_enc", "b_dec")}


def _threshold(held: Tensors, config: Config) -> Tensor:
    """One for each feature, where a file has one for all; -1 is none yet."""
    return held["threshold"].clamp_min(0).expand(config.d_sae).clone()


# ---- folding


def without_shift(tensors: Tensors) -> Tensors:
    """Of a transcoder that reads x itself, where ours reads x - b_in."""
    shift = tensors["b_in"]
    found = {n: t for n, t in tensors.items() if n != "b_in"}
    found["b_enc"] = tensors["b_enc"] - shift @ tensors["W_enc"]
    if "W_skip" in tensors:
        found["b_dec"] = tensors["b_dec"] - tensors["W_skip"] @ shift
    return found


def reading_the_input(tensors: Tensors) -> Tensors:
    """Of an encoder that reads x itself, where ours reads x - b_dec."""
    shift = tensors["b_dec"] @ tensors["W_enc"]
    if "r_mag" in tensors:
        return {
            **tensors,
            "b_gate": tensors["b_gate"] + shift,
            "b_mag": tensors["b_mag"] + shift * tensors["r_mag"].exp(),
        }
    return {**tensors, "b_enc": tensors["b_enc"] + shift}


def in_decoder_lengths(tensors: Tensors) -> Tensors:
    """Features in units of their decoder rows' lengths, which become 1."""
    n = tensors["W_dec"].norm(dim=1)
    if bool((n == 0).any()):
        raise NotUnderstood("W_dec has rows of zeros, and features are counted in their lengths")
    return {
        **tensors,
        "W_enc": tensors["W_enc"] * n,
        "b_enc": tensors["b_enc"] * n,
        "W_dec": tensors["W_dec"] / n[:, None],
    }
