"""A sweep held against the loop written by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from interp_dsl.data.types import Data
from interp_dsl.plan.places import Positions, Target, Unit

from .loop import New, activations, gaps, where
from .plans import (
    run,
)
from .tiny import Tiny, pairs

S = Positions("label", label="S")
DATA = pairs()
MODEL = Tiny()
SIDES = DATA.sides
HELD = {name: [activations(MODEL, s, i) for i in range(DATA.n)] for name, s in DATA.sides.items()}


def from_corrupt(example: int, target: Target, k: int, p: int, old: Tensor) -> Tensor:
    theirs = HELD["corrupt"][example][target.site]
    there = where(target.positions, SIDES["corrupt"], example)[k]
    found = theirs[0, there, target.index] if target.index is not None else theirs[0, there]
    if target.positions.kind != "entry":
        return found
    keys = where(target.positions.parts[0], SIDES["clean"], example)
    return old.scatter(0, torch.tensor(keys), found[keys])


def assert_equals_loop(
    tmp_path: Path, plan, units: list[Unit], new: New, data: Data = DATA, first=None
) -> None:
    ran = run(plan, MODEL, tmp_path, d=data)
    wanted = [gaps(MODEL, data, data.sides["clean"], u, new, first) for u in units]
    assert [(r["unit"], r["position"]) for r in ran.rows()] == [
        (u.place, u.position) for u in units
    ]
    np.testing.assert_allclose(ran.values, wanted, atol=2e-5)
