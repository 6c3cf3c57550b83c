"""Models that come as Hugging Face checkpoints, or from Python: wrapped by the bridge."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from traceback import extract_tb
from typing import Any

import torch

from interp_dsl.models import files, hf_config
from interp_dsl.models.errors import failure
from interp_dsl.models.facts import facts, kind_of, name_of, path_of, with_bos
from interp_dsl.models.hooked import HookedExecutor
from interp_dsl.models.imports import timed
from interp_dsl.models.options import PROCESSING
from interp_dsl.models.own import own_function
from interp_dsl.models.precision import Precision
from interp_dsl.models.shape import ModelFacts, Shape

# Fields that transformers heeds otherwise than TransformerLens's bridge or we do, of a family or of
# all; and the values for which all compute the same.
UNHEEDED: Mapping[tuple[str | None, str], tuple[Any, ...]] = {
    ("gpt2", "scale_attn_weights"): (True,),
    ("gemma3_text", "attn_logit_softcapping"): (None,),
    (None, "is_causal"): (True,),
}


def transformers_model(
    spec: Mapping[str, Any], device: torch.device, precision: Precision, trusted: bool
) -> HookedExecutor:
    """A `checkpoint` or `pretrained` model. `device_map` (a word of DEVICE_MAPS, or a mapping of
    transformers' module names to devices) goes before `device`. Raises InterpError E451,
    E456-E458, E462, E463."""
    processing, known = _processing(spec), facts(spec)
    folder, name = _location(spec)
    bridge = _boot(spec, folder, name, device, precision.dtype, trusted)
    _check_heeded(bridge.original_model.config.to_dict(), name)
    if any(weight.is_meta for weight in bridge.parameters()):
        raise _not_spread(name, "not all of its weights have a place in memory")
    if processing == "compatibility":
        bridge.enable_compatibility_mode(disable_warnings=True)
    known = known or with_bos(bridge_facts(bridge, name, folder), spec)
    return HookedExecutor(bridge, known, processing=processing, tf32=precision.tf32)


def python_model(
    spec: Mapping[str, Any], device: torch.device, precision: Precision, trusted: bool
) -> HookedExecutor:
    """What `python("module:function")` returns: a TransformerBridge. `folder` is where the module
    is looked for first. Raises InterpError E458, E459."""
    target = str(spec["target"])
    if not trusted:
        raise _untrusted(f'python("{target}") runs code')
    timed("transformer_lens.model_bridge")
    from transformer_lens.model_bridge import TransformerBridge

    bridge = _call(target, spec.get("folder"))
    if not isinstance(bridge, TransformerBridge):
        raise failure(
            "E459",
            f'python("{target}") returned a {type(bridge).__name__}, not a TransformerBridge',
            help="wrap the model: TransformerBridge.boot_transformers(…) or boot_native(…)",
        )
    bridge.to(device=device, dtype=precision.dtype)
    known = bridge_facts(bridge, target, None)
    return HookedExecutor(bridge, with_bos(known, spec), tf32=precision.tf32)


def bridge_facts(bridge: Any, name: str, folder: Path | None) -> ModelFacts:
    """The facts of a bridge of any architecture, from its own configuration."""
    config = getattr(bridge.original_model, "config", None)
    raw = {} if config is None else config.to_dict()
    shape = hf_config.shape_of(raw) or shape_of_bridge(bridge)
    tokenizer = files.tokenizer_in(folder) if folder else None
    return ModelFacts(
        name,
        shape,
        tokenizer,
        hf_config.bos_of(raw, {}),
        hf_config.pad_of(raw),
        folder,
        hf_config.eos_of(raw),
    )


def shape_of_bridge(bridge: Any) -> Shape:
    """The shape as TransformerLens understood the model. The MLP's width is read from its weights
    where it can be: the bridge's configuration guesses it for some families (OPT)."""
    cfg = bridge.cfg
    mlp = None if cfg.attn_only else getattr(bridge.blocks[0], "mlp", None)
    w_out = getattr(mlp, "W_out", None)
    d_mlp = w_out.shape[0] if isinstance(w_out, torch.Tensor) and w_out.ndim == 2 else cfg.d_mlp
    positional = cfg.positional_embedding_type
    out = cfg.d_vocab_out if cfg.d_vocab_out > 0 else cfg.d_vocab
    return Shape(
        n_layers=cfg.n_layers,
        n_heads=cfg.n_heads,
        n_kv_heads=cfg.n_key_value_heads or cfg.n_heads,
        d_model=cfg.d_model,
        d_head=cfg.d_head,
        d_mlp=0 if cfg.attn_only else d_mlp,
        d_vocab=cfg.d_vocab,
        d_vocab_out=out,
        n_ctx=cfg.n_ctx,
        positional=positional if positional in ("standard", "rotary") else "none",
        causal=cfg.attention_dir == "causal",
        parallel=bool(cfg.parallel_attn_mlp),
        gated=bool(cfg.gated_mlp),
        post_norms=bool(cfg.use_normalization_before_and_after),
        family=cfg.architecture or "native",
    )


def _processing(spec: Mapping[str, Any]) -> str:
    processing = str(spec.get("processing") or "none")
    if processing not in PROCESSING:
        raise failure(
            "E462",
            f"there is no processing called {processing}",
            notes=(
                "none: the weights as they are; compatibility: layer norms folded, weights centred",
            ),
        )
    return processing


def _location(spec: Mapping[str, Any]) -> tuple[Path | None, str]:
    """The folder to load from, None where the hub is to be asked, and the model's name."""
    if kind_of(spec) == "pretrained":
        snapshot = files.cached_snapshot(name_of(spec), spec.get("revision") or "main")
        complete = snapshot is not None and files.has_weights(snapshot)
        return (snapshot if complete else None), name_of(spec)
    folder = path_of(spec)
    files.read_json(folder / "config.json")
    if not files.has_weights(folder):
        raise failure(
            "E455",
            f"{folder} has a config.json and no weights",
            help="name the folder that save_pretrained wrote, with model.safetensors in it",
            exit_code=3,
        )
    return folder, folder.name


def _boot(
    spec: Mapping[str, Any],
    folder: Path | None,
    name: str,
    device: torch.device,
    dtype: torch.dtype,
    trusted: bool,
) -> Any:
    timed("transformer_lens.model_bridge")
    from transformer_lens.model_bridge import TransformerBridge
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    spread = spec.get("device_map")
    try:
        return TransformerBridge.boot_transformers(
            str(folder) if folder else name,
            device=None if spread else device,
            device_map=spread,
            dtype=dtype,
            tokenizer=_stand_in_tokenizer(),
            trust_remote_code=trusted,
            revision=None if folder else spec.get("revision"),
        )
    except Exception as error:
        if spread and isinstance(error, ValueError):
            raise _not_spread(name, str(error)) from error
        raise _boot_failure(error, name, folder) from error


def _check_heeded(config: Mapping[str, Any], name: str) -> None:
    """Raises InterpError E457 for a configuration of which something else would be computed."""
    fields = hf_config.text_config(config)
    notes = tuple(
        f"{field} is {fields[field]!r}, which is not heeded here as transformers heeds it"
        for (family, field), values in UNHEEDED.items()
        if family in (None, fields.get("model_type"))
        and field in fields
        and fields[field] not in values
    )
    if notes:
        raise failure("E457", f"TransformerLens cannot load {name}", notes=notes, exit_code=3)


def _not_spread(name: str, why: str) -> Exception:
    return failure(
        "E463",
        f"{name} cannot be spread over devices this way",
        notes=(why.strip().splitlines()[0],),
        help="take dtype=bfloat16, more GPUs, or one device with device=",
        exit_code=3,
    )


def _boot_failure(error: Exception, name: str, folder: Path | None) -> Exception:
    if "trust_remote_code" in str(error):
        return _untrusted(f"{name} brings Python code of its own")
    if folder is None and isinstance(error, OSError):
        return files.not_given(name, error)
    said = str(error).strip().splitlines() or [f"{type(error).__name__} at: {_where(error)}"]
    return failure("E457", f"TransformerLens cannot load {name}", notes=(said[0],), exit_code=3)


def _where(error: Exception) -> str:
    """The line of code that an error comes from, which says what an assertion does not."""
    frames = extract_tb(error.__traceback__)
    return frames[-1].line or "" if frames else ""


def _untrusted(reason: str) -> Exception:
    return failure(
        "E458",
        f"{reason}, which needs --trust",
        help="run with --trust if you know where the file comes from and have read the code",
    )


def _stand_in_tokenizer() -> Any:
    """The bridge wants a tokenizer and would load the checkpoint's own; it is only given ids."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(WordLevel({"<unk>": 0}, unk_token="<unk>"))
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", eos_token="<unk>")


def _call(target: str, folder: str | None) -> Any:
    """module:function, called without arguments."""
    try:
        return own_function(target, folder)()
    except (ImportError, AttributeError, ValueError) as error:
        raise failure(
            "E459",
            f'python("{target}") could not be called',
            notes=(str(error),),
            help='write python("module:function"), a function without arguments',
        ) from error
