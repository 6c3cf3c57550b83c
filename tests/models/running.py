"""What the tests of executors share."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.models.edits import Edit
from interp_dsl.models.hooked import HookedExecutor
from interp_dsl.models.load import load
from interp_dsl.models.sites import missing
from interp_dsl.plan.places import HEAD_SITES, RESIDUAL_SITES, Site, Target
from tests.models.checkpoints import HF, NATIVE, tiny, tiny_native

MODELS = (*HF, *NATIVE)


@cache
def executor(name: str) -> HookedExecutor:
    kind = "weights" if name in NATIVE else "checkpoint"
    folder = tiny_native(name) if name in NATIVE else tiny(name)
    return load({"kind": kind, "folder": str(folder)}, device="cpu")


def sites_of(model: HookedExecutor) -> list[Site]:
    """Every site that can be edited."""
    shape = model.facts.shape
    layered = [
        Site(kind, layer)
        for layer in range(shape.n_layers)
        for kind in (*RESIDUAL_SITES, *HEAD_SITES, "neuron")
    ]
    sites = [Site("embed"), Site("pos_embed"), *layered]
    return [site for site in sites if missing(Target(site, 0), shape) is None]


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
