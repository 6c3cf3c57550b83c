"""What the tests of executors share."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.models.compiled.choice import compile_bridged, compile_native
from interp_dsl.models.compiled.executor import CompiledExecutor
from interp_dsl.models.edits import Edit
from interp_dsl.models.hooked import HookedExecutor
from interp_dsl.models.load import load
from interp_dsl.models.precision import Precision
from interp_dsl.models.sites import missing
from interp_dsl.plan.places import HEAD_SITES, INPUT_SITES, RESIDUAL_SITES, Site, Target
from tests.devices import from_cpu, here
from tests.models.checkpoints import HF, NATIVE, tiny, tiny_native

MODELS = (*HF, *NATIVE)


def spec(name: str) -> dict[str, str]:
    """The specification of a small model."""
    if name in NATIVE:
        return {"kind": "weights", "folder": str(tiny_native(name))}
    return {"kind": "checkpoint", "folder": str(tiny(name))}


def executor(name: str) -> HookedExecutor:
    """The hooked executor of a small model on the test's device."""
    return _executor(name, here())


@cache
def _executor(name: str, device: str) -> HookedExecutor:
    return from_cpu(load(spec(name), device))


def compiled(name: str) -> CompiledExecutor:
    """The compiled one, compared with nothing."""
    return _compiled(name, here())


@cache
def _compiled(name: str, device: str) -> CompiledExecutor:
    return compiled_of(_executor(name, device))


def compiled_of(hooked: HookedExecutor) -> CompiledExecutor:
    if hooked.source is None:
        return from_cpu(compile_bridged(hooked))
    precision = Precision(hooked.dtype, hooked.tf32)
    return from_cpu(compile_native(hooked.source, hooked.facts, hooked.device, precision))


def sites_of(model: HookedExecutor, inputs: bool = True) -> list[Site]:
    """Every site that can be edited; the heads' own `inputs` too, for which the bridge computes
    otherwise."""
    shape = model.facts.shape
    layered = [
        Site(kind, layer)
        for layer in range(shape.n_layers)
        for kind in (*RESIDUAL_SITES, *HEAD_SITES, "neuron")
    ]
    sites = [Site("embed"), Site("pos_embed"), *layered]
    here = [site for site in sites if missing(Target(site, 0), shape) is None]
    return [s for s in here if s.kind not in INPUT_SITES or (inputs and model.shows(s))]


def prompts(model: HookedExecutor, n: int, length: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, model.facts.shape.d_vocab, (n, length), generator=generator)


def everywhere(site: Site, x: Tensor, values: Tensor) -> Edit:
    """Set all entries of a site: x and values [B, T, index, width]."""
    batch, length, count, width = x.shape
    rows = torch.arange(batch).repeat_interleave(count)
    index = torch.arange(count).repeat(batch)
    positions = torch.arange(length).expand(batch * count, length)
    value = values.permute(0, 2, 1, 3).reshape(batch * count, length, width)
    return Edit(site, rows, index, positions, torch.ones_like(positions, dtype=torch.bool), value)


def failing(spec: dict[str, Any], **options: Any) -> Diagnostic:
    """What loading is refused with."""
    with pytest.raises(InterpError) as caught:
        load(spec, **{"device": "cpu", **options})
    return caught.value.diagnostics[0]
