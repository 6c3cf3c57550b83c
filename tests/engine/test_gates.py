"""Gates with known answers (Heimersheim & Nanda 2024): what noising and denoising find in AND, OR
and in series."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from interp_dsl.data.types import Data
from interp_dsl.models.edits import Edit, apply
from interp_dsl.models.executor import Pass
from interp_dsl.plan.algebra import Combined, Explicit, FromRun, Grouped
from interp_dsl.plan.places import Site

from .plans import CLEAN, CORRUPT, run, sweep_plan, unit
from .tiny import Tiny, side, singles

Gate = Callable[[Tensor, Tensor], Tensor]


def gate_or(x: Tensor, y: Tensor) -> Tensor:
    return 1 - (1 - x - y).relu()


def gate_and(x: Tensor, y: Tensor) -> Tensor:
    return (x + y - 1).relu()


class Gated(Tiny):
    """Two heads carry a bit each, which a gate of two neurons joins; then two copies in series.
    The first logit is the outcome."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self.gate = gate

    def forward(
        self,
        tokens: Tensor,
        reads: Tensor | None,
        edits: Sequence[Edit] = (),
        sites: Sequence[Site] = (),
        mask: Tensor | None = None,
    ) -> Pass:
        held: dict[Site, Tensor] = {}

        def at(site: Site, x: Tensor) -> Tensor:
            held[site] = apply(x, [e for e in edits if e.site == site])
            return held[site]

        bits = tokens.double()[:, None, :, None].expand(-1, 2, -1, -1)
        x, y = at(Site("head", 0), bits)[:, -1, :, 0].unbind(1)
        out = self.gate(x, y)[:, None, None, None].expand(-1, 2, -1, -1)
        out = at(Site("mlp_out", 1), at(Site("mlp_out", 0), out))
        logits = torch.zeros(*tokens.shape, 11)
        logits[:, -1, 0] = out[:, -1, 0, 0].float()
        return Pass(logits if reads is None else logits[:, -1:], held)


BITS = Data(
    "bits",
    {"clean": side("clean", [[1, 1]] * 4), "corrupt": side("corrupt", [[0, 0]] * 4)},
    singles(*[0] * 4),
    singles(*[1] * 4),
)
X, Y = unit("head", 0, 0), unit("head", 0, 1)
INPUTS = Combined("|", Explicit((X, Y)), Grouped("together", Explicit((X, Y))))
SERIES = Explicit((unit("mlp_out", 0), unit("mlp_out", 1)))


@pytest.mark.parametrize(
    ("gate", "noising", "denoising"),
    [(gate_and, [-1, -1, -1], [0, 0, 1]), (gate_or, [0, 0, -1], [1, 1, 1])],
)
def test_what_noising_and_denoising_find(
    tmp_path: Path, gate: Gate, noising: list[int], denoising: list[int]
) -> None:
    for source, into, wanted in ((CORRUPT, CLEAN, noising), (CLEAN, CORRUPT, denoising)):
        plan = sweep_plan(
            INPUTS, FromRun(source), into=into, other=source, sites=(Site("head", 0),)
        )
        ran = run(plan, Gated(gate), tmp_path / into.side, d=BITS)
        assert ran.table["effect"].to_list() == wanted
        assert ran.table["normalized"].to_list() == [abs(w) for w in wanted]
        assert ran.table["low"].to_list() == ran.table["high"].to_list() == wanted


@pytest.mark.parametrize(("source", "into"), [(CORRUPT, CLEAN), (CLEAN, CORRUPT)])
def test_in_series_each_is_the_whole(tmp_path: Path, source, into) -> None:
    plan = sweep_plan(SERIES, FromRun(source), into=into, other=source)
    ran = run(plan, Gated(gate_and), tmp_path, d=BITS)
    assert ran.table["normalized"].to_list() == [1, 1]
