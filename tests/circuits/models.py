"""Models in double precision for tests of circuits."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from interp_dsl.models.compiled.choice import compile_bridged, compile_native
from interp_dsl.models.compiled.executor import CompiledExecutor
from interp_dsl.models.compiled.forward import Compiled
from interp_dsl.models.load import load
from interp_dsl.models.precision import Precision
from tests.models.checkpoints import NATIVE, tiny, tiny_native


@cache
def double(name: str) -> Compiled:
    """A model of tests.models.checkpoints, float64 in every part."""
    kind, folder = ("weights", tiny_native) if name in NATIVE else ("checkpoint", tiny)
    hooked = load({"kind": kind, "folder": str(folder(name))}, "cpu", "float64", executor="hooked")
    if hooked.source is None:
        model = compile_bridged(hooked).model
    else:
        model = compile_native(
            hooked.source, hooked.facts, hooked.device, Precision(hooked.dtype)
        ).model
    description = replace(model.description, single_norm=False, single_softmax=False)
    return Compiled(description, model.weights)


@cache
def executor_of(name: str) -> CompiledExecutor:
    """Its plain executor, in float64; its logits are rounded to float32."""
    kind, folder = ("weights", tiny_native) if name in NATIVE else ("checkpoint", tiny)
    hooked = load({"kind": kind, "folder": str(folder(name))}, "cpu", executor="hooked")
    return CompiledExecutor(double(name), hooked.facts, "")
