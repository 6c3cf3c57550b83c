"""Tensors of a model of plain weights: read, checked against the configuration, completed."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from interp_dsl.models import native_config
from interp_dsl.models.errors import failure, nearest
from interp_dsl.models.files import Files, read_json
from interp_dsl.models.native_config import NativeConfig

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Source:
    """A model of plain weights as read: its configuration and exactly the `expected` tensors."""

    config: NativeConfig
    tensors: Tensors


# Buffers that old checkpoints store beside their weights.
BUFFERS = re.compile(r"blocks\.\d+\.attn\.(mask|IGNORE|rotary_sin|rotary_cos)")


def read(path: Path) -> Tensors:
    """The tensors of a .safetensors file, or of a PyTorch file by `weights_only=True`, so that no
    code in it runs. Raises InterpError E455."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise failure("E455", f"there is no weights file {path}", exit_code=3) from None
    except pickle.UnpicklingError:
        raise failure(
            "E455",
            f"{path} holds more than tensors, and reading it could run code",
            help="save the state_dict as a .safetensors file",
            exit_code=3,
        ) from None
    except Exception as error:
        raise failure(
            "E455", f"{path} is not a readable weights file", notes=(str(error),), exit_code=3
        ) from error
    if not isinstance(content, Mapping) or not all(
        isinstance(value, Tensor) for value in content.values()
    ):
        raise failure("E455", f"{path} does not map names to tensors", exit_code=3)
    return {str(name): tensor for name, tensor in content.items()}


def source(found: Files) -> Source:
    """A model of plain weights, read and checked. Raises InterpError E451-E455."""
    config = native_config.parse(read_json(found.config), found.config)
    if found.tensors is None:
        raise failure(
            "E455",
            f"{found.folder} holds no weights that go with {found.config.name}, or several",
            help="name the file of tensors, or call it model.safetensors",
            exit_code=3,
        )
    return Source(config, complete(read(found.tensors), config, found.tensors))


def expected(config: NativeConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of the model, in TransformerLens's layout."""
    shape = config.shape
    names: dict[str, tuple[int, ...]] = {"embed.W_E": (shape.d_vocab, shape.d_model)}
    if shape.positional == "standard":
        names["pos_embed.W_pos"] = (shape.n_ctx, shape.d_model)
    for layer in range(shape.n_layers):
        block = _attention(config) | _mlp(config) | _norm(config, "ln1")
        if not shape.attn_only:
            block |= _norm(config, "ln2")
        names |= {f"blocks.{layer}.{name}": size for name, size in block.items()}
    names |= _norm(config, "ln_final", is_final=True)
    names["unembed.W_U"] = (shape.d_model, shape.d_vocab_out)
    names["unembed.b_U"] = (shape.d_vocab_out,)
    return names


def _attention(config: NativeConfig) -> dict[str, tuple[int, ...]]:
    shape = config.shape
    names: dict[str, tuple[int, ...]] = {}
    for letter, heads in (("Q", shape.n_heads), ("K", shape.n_kv_heads), ("V", shape.n_kv_heads)):
        names[f"attn.W_{letter}"] = (heads, shape.d_model, shape.d_head)
        names[f"attn.b_{letter}"] = (heads, shape.d_head)
    names["attn.W_O"] = (shape.n_heads, shape.d_head, shape.d_model)
    names["attn.b_O"] = (shape.d_model,)
    return names


def _mlp(config: NativeConfig) -> dict[str, tuple[int, ...]]:
    shape = config.shape
    if shape.attn_only:
        return {}
    names: dict[str, tuple[int, ...]] = {
        "mlp.W_in": (shape.d_model, shape.d_mlp),
        "mlp.W_out": (shape.d_mlp, shape.d_model),
    }
    if shape.gated:
        return names | {"mlp.W_gate": (shape.d_model, shape.d_mlp)}
    names |= {"mlp.b_in": (shape.d_mlp,), "mlp.b_out": (shape.d_model,)}
    if config.act_fn == "solu_ln":
        names |= {"mlp.ln.w": (shape.d_mlp,), "mlp.ln.b": (shape.d_mlp,)}
    return names


def _norm(config: NativeConfig, name: str, is_final: bool = False) -> dict[str, tuple[int, ...]]:
    kind = config.normalization
    if kind in ("LNPre", "RMSPre") or (kind is None and not (is_final and config.final_rms)):
        return {}
    size: tuple[int, ...] = (config.shape.d_model,)
    is_rms = kind == "RMS" or (is_final and config.final_rms)
    return {f"{name}.w": size} | ({} if is_rms else {f"{name}.b": size})


def complete(given: Mapping[str, Tensor], config: NativeConfig, path: Path) -> Tensors:
    """Exactly the expected tensors, in their own dtypes: biases that are not given are zero, a
    tied W_U is W_E transposed. Raises InterpError E454 that lists all that does not fit."""
    sizes = expected(config)
    found = {name: tensor for name, tensor in given.items() if not BUFFERS.fullmatch(name)}
    if config.tied and "unembed.W_U" not in found and "embed.W_E" in found:
        found["unembed.W_U"] = found["embed.W_E"].T.contiguous()
    missing = [name for name in sizes if name not in found and not _is_bias(name)]
    extra = [name for name in found if name not in sizes]
    wrong = [
        f"{name} is {list(found[name].shape)}, expected {list(size)}"
        for name, size in sizes.items()
        if name in found and tuple(found[name].shape) != size
    ]
    if missing or extra or wrong:
        raise _misfit(path, missing, extra, wrong)
    dtype = found["embed.W_E"].dtype
    return {
        name: found[name] if name in found else torch.zeros(size, dtype=dtype)
        for name, size in sizes.items()
    }


def _is_bias(name: str) -> bool:
    return name.rsplit(".", 1)[-1].startswith("b")


def _misfit(path: Path, missing: list[str], extra: list[str], wrong: list[str]) -> Exception:
    notes = [f"missing: {_listed(missing)}"] if missing else []
    notes += [f"not expected: {_listed(extra)}"] if extra else []
    notes += [f"of another shape: {_listed(wrong)}"] if wrong else []
    close = nearest(extra[0], missing) if extra and missing else None
    return failure(
        "E454",
        f"the tensors in {path.name} do not fit its configuration",
        notes=notes,
        help=f"is {extra[0]} meant as {close}?"
        if close
        else "correct config.json, or rename the tensors in TransformerLens's style",
        exit_code=3,
    )


def _listed(names: list[str], limit: int = 12) -> str:
    rest = f", and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + rest
