"""Edges changed under interventions, against hooks that hold the interventions in every pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from interp_dsl.models.edits import Edit
from interp_dsl.models.executor import Pass
from interp_dsl.plan.algebra import Explicit, FromRun, Intervention, Mean, Travel, Zero
from interp_dsl.plan.names import hops
from interp_dsl.plan.places import Site
from interp_dsl.plan.tasks import Sweep, Variant
from tests.circuits.models import executor_of

from .plans import CLEAN, CORRUPT, END, run, unit
from .test_edge_sweep import DATA, Hooks, edges, plan
from .test_paths import EVERYTHING, split, written

CUT = Intervention(Explicit((unit("head", 0, 2), unit("mlp_out", 0, at=END))), Zero())
MEANT = Intervention(Explicit((unit("head", 1, 3),)), Mean(CLEAN), through_z=True)
UNDER = (CUT, MEANT)


class Held:
    """An executor in whose every pass the interventions hold."""

    def __init__(self, name: str) -> None:
        self.inner = executor_of(name)
        self.facts = self.inner.facts
        tokens = torch.from_numpy(DATA.sides["clean"].tokens)
        site = Site("z", 1)
        mean = self.inner.forward(tokens, None, sites=(site,)).sites[site][:, :, 3].mean(0)
        zero = torch.zeros(self.facts.shape.d_model).double()
        last = EVERYTHING[:, -1:]
        self.context = [
            edit(Site("head", 0), 2, EVERYTHING, zero.expand(*EVERYTHING.shape, -1)),
            edit(Site("mlp_out", 0), 0, last, zero.expand(*last.shape, -1)),
            edit(site, 3, EVERYTHING, mean.expand(DATA.n, -1, -1)),
        ]

    def forward(
        self, tokens: Tensor, reads: None, edits: Sequence[Edit] = (), sites: Any = ()
    ) -> Pass:
        return self.inner.forward(tokens, reads, [*self.context, *edits], sites)


def edit(site: Site, index: int, positions: Tensor, value: Tensor) -> Edit:
    rows, valid = torch.arange(DATA.n), torch.ones_like(positions, dtype=torch.bool)
    return Edit(site, rows, torch.full((DATA.n,), index), positions, valid, value)


PATHS = [
    "L0H1 -> L1H2.k",
    "embed -> L0H2",
    "L0H2 -> logits",
    "L0H1 -> L1H3.k -> logits",
    "embed -> L0.mlp -> L1H0.v -> logits",
]


@pytest.mark.parametrize("name", ["plain", "gpt2"])
def test_interventions_hold_at_every_node(name: str, tmp_path: Path) -> None:
    hooks = Hooks(Held(name))  # type: ignore[arg-type]
    hooks.other = Hooks(executor_of(name)).other
    wanted = []
    for path in PATHS:
        value = hooks.other
        *inner, final = hops(path)
        for hop, then in pairwise([*inner, final]):
            node = then.partition(" -> ")[0]
            value = value | {node: written(hooks, split(hop), value, node)}
        wanted.append(hooks.values(split(final), value))
    measured = replace(CLEAN, under=UNDER)
    sites = (Site("z", 1),)
    made = plan([edges(path) for path in PATHS], into=measured, sites=sites)
    ran = run(made, executor_of(name), tmp_path / "a", d=DATA)
    np.testing.assert_allclose(ran.values, torch.stack(wanted), atol=2e-5)
    np.testing.assert_allclose(ran.table["base"][0], hooks.gap("clean").mean(), atol=2e-5)
    np.testing.assert_allclose(ran.table["effect"][3], 0, atol=1e-6)
    assert np.abs(ran.table["effect"]).max() > 1e-3
    frozen = with_sweep(made, travel=Travel(("mlps",), ("norms", "patterns")))
    late, whole = (
        run(with_sweep(frozen, late=late), executor_of(name), tmp_path / f"f{late}", d=DATA)
        for late in (True, False)
    )
    np.testing.assert_allclose(late.values, whole.values, atol=1e-5)


def test_the_source_may_be_under_some_too(tmp_path: Path) -> None:
    hooks, held = Hooks(executor_of("plain")), Hooks(Held("plain"))  # type: ignore[arg-type]
    source = FromRun(replace(CORRUPT, under=UNDER))
    made = plan([edges(path) for path in PATHS[:3]], source, sites=(Site("z", 1),), other=None)
    ran = run(made, executor_of("plain"), tmp_path, d=DATA)
    wanted = torch.stack([hooks.values(split(path), held.other) for path in PATHS[:3]])
    np.testing.assert_allclose(ran.values, wanted, atol=2e-5)


def test_a_row_for_each_intervention(tmp_path: Path) -> None:
    """Two variants in one step are what each is alone."""
    units = [edges(path) for path in PATHS]
    runs = [CLEAN, replace(CLEAN, under=(CUT,)), replace(CLEAN, under=UNDER)]
    made = plan(units, sites=(Site("z", 1),), into=runs[-1], shard=2)
    variants = tuple(Variant(r, None, (("under", str(i)),)) for i, r in enumerate(runs))
    forwards = [t for t in made.tasks if t.id.startswith("f")]
    more = tuple(replace(forwards[0], id=f"f9{i}", run=r) for i, r in enumerate(runs))
    several = with_sweep(made, variants=variants)
    several = replace(several, tasks=(*several.tasks[:-1], *more, several.tasks[-1]))
    together = run(several, executor_of("plain"), tmp_path / "a", d=DATA)
    assert together.table["under"].to_list() == [str(i) for i in range(3) for _ in PATHS]
    for i, one in enumerate(runs):
        alone = run(
            plan(units, sites=(Site("z", 1),), into=one),
            executor_of("plain"),
            tmp_path / f"b{i}",
            d=DATA,
        )
        rows = slice(i * len(PATHS), (i + 1) * len(PATHS))
        np.testing.assert_allclose(together.values[rows], alone.values, atol=1e-6)


def with_sweep(made: Any, **fields: Any) -> Any:
    sweep = made.tasks[-1]
    assert isinstance(sweep, Sweep)
    return replace(made, tasks=(*made.tasks[:-1], replace(sweep, **fields)))
