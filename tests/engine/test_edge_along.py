"""Edges changed in one direction only, against hooks that add the projection."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from interp_dsl.plan.algebra import MeanVector
from interp_dsl.plan.names import hops
from interp_dsl.plan.places import Site, Target
from tests.circuits.models import executor_of

from .plans import CLEAN, CORRUPT, END, run
from .test_edge_sweep import DATA, Hooks, edges, plan
from .test_paths import split, written

SITE = Site("resid_post", 0)
ALONG = tuple(MeanVector(side, Target(SITE, None, END)) for side in (CLEAN, CORRUPT))


def projected(
    hooks: Hooks, ablated: dict[str, Tensor], base: dict[str, Tensor]
) -> dict[str, Tensor]:
    """What senders write, moved only in the plane of the two mean vectors, by least squares."""
    means = []
    for side in ("clean", "corrupt"):
        tokens = torch.from_numpy(DATA.sides[side].tokens)
        held = hooks.executor.forward(tokens, None, sites=(SITE,)).sites[SITE]
        means.append(held.reshape(*tokens.shape, -1)[:, -1].mean(0))
    plane = torch.stack(means, 1)

    def moved(name: str) -> Tensor:
        change = ablated[name] - base[name]
        weights = torch.linalg.lstsq(plane, change.flatten(0, -2).T).solution
        return base[name] + (plane @ weights).T.view_as(change)

    return {name: moved(name) for name in ablated}


def test_only_the_component_is_changed(tmp_path: Path) -> None:
    hooks = Hooks(executor_of("plain"))
    names = ["L0H1 -> L1H3.v", "embed -> L0.mlp", "L0H2 -> logits"]
    path = "L0H1 -> L1H3 -> logits"
    both = ("embed -> L0.mlp", "L0.mlp -> L1.mlp")
    units = [*map(edges, names), edges(path), edges(*both)]
    made = plan(units, along=ALONG, sites=(SITE,))
    ran = run(made, executor_of("plain"), tmp_path, d=DATA)
    flat = projected(hooks, hooks.other, hooks.base)
    wanted = [hooks.values(split(name), flat) for name in names]
    value = flat
    *inner, final = hops(path)
    for hop, then in pairwise([*inner, final]):
        node = then.partition(" -> ")[0]
        value = value | {node: written(hooks, split(hop), value, node)}
    wanted.append(hooks.values(split(final), value))
    np.testing.assert_allclose(ran.values[:4], torch.stack(wanted), atol=2e-5)

    now = written(hooks, split(both[0]), flat, "L0.mlp")
    late = projected(hooks, {"L0.mlp": hooks.other["L0.mlp"]}, {"L0.mlp": now})
    edits = [
        hooks.edit(*split(both[0])[0], flat, everywhere()),
        hooks.edit(
            *split(both[1])[0],
            {"L0.mlp": hooks.base["L0.mlp"] + late["L0.mlp"] - now},
            everywhere(),
        ),
    ]
    np.testing.assert_allclose(ran.values[4], hooks.gap("clean", edits), atol=2e-5)
    whole = run(plan(units), executor_of("plain"), tmp_path / "whole", d=DATA)
    assert np.abs(whole.values - ran.values).max() > 1e-3


def everywhere() -> Tensor:
    return torch.arange(DATA.sides["clean"].tokens.shape[1]).expand(DATA.n, -1)
