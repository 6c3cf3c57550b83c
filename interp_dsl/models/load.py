"""From a specification to a model that runs: `load(spec)`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from interp_dsl.models import files, native, weights
from interp_dsl.models.errors import failure, nearest
from interp_dsl.models.facts import facts, kind_of, name_of, path_of, with_bos
from interp_dsl.models.hooked import HookedExecutor

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}
PROCESSING = ("raw", "compat")


def load(
    spec: Mapping[str, Any],
    device: str = "auto",
    dtype: str | None = None,
    trusted: bool = False,
) -> HookedExecutor:
    """The model that `spec` names (see facts.py), in eval mode with frozen weights.

    `device` auto takes a GPU where there is one. `dtype` (else the option `dtype`, else float32)
    is a name of torch's. Options of checkpoint and pretrained: `revision`, `processing` (raw, or
    compat: layer norms folded, weights centred), `remote_code` (needs `trusted`, as any `python`
    model does). Raises InterpError E450-E462."""
    place = resolve_device(device)
    precision = resolve_dtype(dtype or spec.get("dtype"))
    match kind_of(spec):
        case "bundled":
            return _native(
                files.bundled_files(name_of(spec), spec.get("step")), spec, place, precision
            )
        case "weights":
            return _native(files.weights_files(path_of(spec)), spec, place, precision)
        case "python":
            return python_model(spec, place, dtype and precision, trusted)
        case _:
            return transformers_model(spec, place, precision, trusted)


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
    found: files.Files, spec: Mapping[str, Any], device: torch.device, dtype: torch.dtype
) -> HookedExecutor:
    source = weights.source(found)
    known = facts(spec)
    assert known is not None
    return HookedExecutor(native.boot(source, device, dtype), known, source)
