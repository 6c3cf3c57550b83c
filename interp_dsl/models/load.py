"""From a specification to a model that runs: `load(spec)`."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import Any

import torch

from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models import files, heap, native, weights
from interp_dsl.models.checkpoint import python_model, transformers_model
from interp_dsl.models.compiled import choice
from interp_dsl.models.compiled.executor import CompiledExecutor
from interp_dsl.models.errors import failure
from interp_dsl.models.facts import facts, kind_of, name_of, path_of
from interp_dsl.models.hooked import HookedExecutor
from interp_dsl.models.precision import Precision, resolve

DEVICES = ("cpu", "cuda", "mps")


def load(
    spec: Mapping[str, Any],
    device: str = "auto",
    dtype: str | None = None,
    trusted: bool = False,
    executor: choice.Choice = "hooked",
    verify: bool = False,
) -> CompiledExecutor | HookedExecutor:
    """The model that `spec` names (see facts.py), in eval mode with frozen weights.

    `device` (the option `device` goes before it): auto takes a GPU where there is one. `dtype`
    (else the option, else float32): see precision.py; tf32 on a device without it is float32, with
    a `remark`. Options of checkpoint and pretrained: `processing` is none, or compatibility (layer
    norms folded, weights centred); `device_map` spreads the model over devices. A `python` model,
    and code that a checkpoint brings, run only when `trusted`. `executor`: auto takes the compiled
    one where it covers the model and gives the same as the hooked one, by a comparison that is kept
    and under `verify` made again; else the hooked one with a `remark`. Raises InterpError
    E450-E463; E605, E608 where compiled is insisted on and not to be had."""
    place = resolve_device(str(spec.get("device") or device))
    heap.keep()
    asked = dtype or spec.get("dtype")
    precision = resolve(asked, place)
    loaded = _loaded(spec, place, precision, trusted, executor, verify)
    if isinstance(loaded, CompiledExecutor) and kind_of(spec) not in ("bundled", "weights"):
        gc.collect()  # the bridge, which refers to itself, holds the weights once more
    if asked == "tf32" and not precision.tf32:
        no_tf32 = f"{loaded.device} has no TF32: {loaded.facts.name} runs in float32"
        loaded.remark = "; ".join(filter(None, (no_tf32, loaded.remark)))
    return loaded


def _loaded(
    spec: Mapping[str, Any],
    device: torch.device,
    precision: Precision,
    trusted: bool,
    executor: choice.Choice,
    verify: bool,
) -> CompiledExecutor | HookedExecutor:
    match kind_of(spec):
        case "bundled" | "weights":
            return _native(spec, device, precision, executor, verify)
        case "python":
            return choice.from_python(python_model(spec, device, precision, trusted), executor)
        case _:
            hooked = transformers_model(spec, device, precision, trusted)
            return choice.bridged(hooked, executor, verify)


def native_source(spec: Mapping[str, Any]) -> weights.Source:
    """The configuration and tensors of a `bundled` or `weights` model, without TransformerLens.
    Raises InterpError E450-E455, E460."""
    if kind_of(spec) == "bundled":
        return weights.source(files.bundled_files(name_of(spec), spec.get("step")))
    return weights.source(files.weights_files(path_of(spec)))


def resolve_device(device: str) -> torch.device:
    """auto: cuda, then mps, then cpu. Raises InterpError E461 for one that is not there."""
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if device.partition(":")[0] not in DEVICES:
        raise _no_device(device, f"models run on {', '.join(DEVICES)}")
    if device.startswith("mps") and not torch.backends.mps.is_available():
        raise _no_device(device, "PyTorch finds no Metal device on this machine")
    try:
        place = torch.device(device)
        torch.empty(1, device=place)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise _no_device(device, str(error).splitlines()[0]) from None
    return place


def _no_device(device: str, why: str) -> InterpError:
    there = ["auto", "cpu", *(f"cuda:{n}" for n in range(torch.cuda.device_count()))]
    there += ["mps"] if torch.backends.mps.is_available() else []
    lacks_cuda = device.startswith("cuda") and torch.version.cuda is None
    remedy = "; for NVIDIA GPUs install a PyTorch that is built for CUDA" if lacks_cuda else ""
    return failure(
        "E461",
        f"there is no device {device} here",
        notes=(why,),
        help=f"use {' or '.join(there)}{remedy}",
        exit_code=3,
    )


def _native(
    spec: Mapping[str, Any],
    device: torch.device,
    precision: Precision,
    executor: choice.Choice,
    verify: bool,
) -> CompiledExecutor | HookedExecutor:
    known = facts(spec)
    assert known is not None
    source = native_source(spec)

    def boot() -> HookedExecutor:
        bridge = native.boot(source, device, precision.dtype)
        return HookedExecutor(bridge, known, source, tf32=precision.tf32)

    return choice.native(source, known, device, precision, boot, executor, verify)
