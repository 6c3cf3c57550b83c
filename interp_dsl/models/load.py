"""From a specification to a model that runs: `load(spec)`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from interp_dsl.models import files, native, weights
from interp_dsl.models.checkpoint import python_model, transformers_model
from interp_dsl.models.compiled import choice
from interp_dsl.models.compiled.executor import CompiledExecutor
from interp_dsl.models.errors import failure, nearest
from interp_dsl.models.facts import facts, kind_of, name_of, path_of
from interp_dsl.models.hooked import HookedExecutor

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}


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
    (else the option, else float32) is a name of torch's. The option `processing` of checkpoint and
    pretrained: none, or compatibility (layer norms folded, weights centred). A `python` model, and
    code that a checkpoint brings, run only when `trusted`. `executor`: auto takes the compiled one
    where it covers the model and gives the same as the hooked one, by a comparison that is kept
    and under `verify` made again; else the hooked one with a `remark`. Raises InterpError
    E450-E462; E605, E608 where compiled is insisted on and not to be had."""
    place = resolve_device(str(spec.get("device") or device))
    precision = resolve_dtype(dtype or spec.get("dtype"))
    match kind_of(spec):
        case "bundled" | "weights":
            return _native(spec, place, precision, executor, verify)
        case "python":
            return choice.from_python(python_model(spec, place, precision, trusted), executor)
        case _:
            hooked = transformers_model(spec, place, precision, trusted)
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
    try:
        place = torch.device(device)
        torch.empty(1, device=place)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise failure(
            "E461",
            f"there is no device {device} here",
            notes=(str(error).splitlines()[0],),
            help="use auto, cpu, cuda or cuda:N",
            exit_code=3,
        ) from None
    return place


def resolve_dtype(name: str | None) -> torch.dtype:
    """Raises InterpError E461 for a name that is none of float32, bfloat16, float16, float64."""
    if name is None:
        return torch.float32
    if name not in DTYPES:
        close = nearest(name, DTYPES)
        raise failure(
            "E461",
            f"{name} is no precision that a model can run in",
            notes=("known: " + ", ".join(DTYPES),),
            help=f"did you mean {close}?" if close else None,
        )
    return DTYPES[name]


def _native(
    spec: Mapping[str, Any],
    device: torch.device,
    dtype: torch.dtype,
    executor: choice.Choice,
    verify: bool,
) -> CompiledExecutor | HookedExecutor:
    known = facts(spec)
    assert known is not None
    source = native_source(spec)

    def boot() -> HookedExecutor:
        return HookedExecutor(native.boot(source, device, dtype), known, source)

    return choice.native(source, known, device, dtype, boot, executor, verify)
