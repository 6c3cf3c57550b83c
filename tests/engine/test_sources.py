"""What places are set to, against the same by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from interp_dsl.data.types import Data
from interp_dsl.engine.statistics import generator
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.plan.algebra import (
    Constant,
    Explicit,
    FromRun,
    LinearVector,
    Mean,
    MeanVector,
    Noise,
    Resample,
    Run,
    ToVector,
    Zero,
)
from interp_dsl.plan.places import ALL, Positions, Site, Target
from interp_dsl.plan.tasks import BuildData

from .loop import where
from .parity import DATA, HELD, MODEL, SIDES, S, assert_equals_loop, from_corrupt
from .plans import (
    CLEAN,
    CORRUPT,
    HEADS,
    LAST,
    run,
    sweep_plan,
    unit,
)
from .tiny import pairs

UNITS = [unit("head", 0, 0), unit("resid_pre", 1, at=S), unit("neuron", 0, 3, LAST)]


def source_case(name: str):
    """A source, and by hand what it sets a place to."""
    stacked = {site: torch.cat([h[site] for h in HELD["corrupt"]]) for site in HELD["corrupt"][0]}
    clean, corrupt = SIDES["clean"].tokens, torch.from_numpy(SIDES["corrupt"].tokens)
    template = torch.from_numpy(DATA.template)
    drawn = torch.randint(0, DATA.n - 1, (DATA.n,), generator=generator(3, "resample"))
    drawn += drawn >= torch.arange(DATA.n)

    def noise(i: int, t: Target, p: int) -> Tensor:
        like = HELD["clean"][0][t.site].shape[1:]
        return 0.5 * torch.randn(like, generator=generator(3, t.site, i))[p, t.index or 0]

    def tokens(i: int, t: Target, p: int) -> Tensor:
        return stacked[t.site][corrupt == int(clean[i, p])][:, t.index or 0].mean(0)

    cases = {
        "zero": (Zero(), lambda i, t, k, p, old: old * 0),
        "constant": (Constant(1.5), lambda i, t, k, p, old: old * 0 + 1.5),
        "noise": (Noise(0.5, 3), lambda i, t, k, p, old: old + noise(i, t, p)),
        "resample": (
            Resample(CORRUPT, 3),
            lambda i, t, k, p, old: from_corrupt(int(drawn[i]), t, k, p, old),
        ),
        "position": (
            Mean(CORRUPT),
            lambda i, t, k, p, old: stacked[t.site][:, p, t.index or 0].mean(0),
        ),
        "template": (
            Mean(CORRUPT, "template"),
            lambda i, t, k, p, old: stacked[t.site][template == template[i]][
                :, p, t.index or 0
            ].mean(0),
        ),
        "all": (
            Mean(CORRUPT, "all"),
            lambda i, t, k, p, old: stacked[t.site][:, :, t.index or 0].mean((0, 1)),
        ),
        "token": (Mean(CORRUPT, "token"), lambda i, t, k, p, old: tokens(i, t, p)),
    }
    return cases[name]


@pytest.mark.parametrize(
    "name", ["zero", "constant", "noise", "resample", "position", "template", "all"]
)
def test_every_source(tmp_path: Path, name: str) -> None:
    source, new = source_case(name)
    assert_equals_loop(tmp_path, sweep_plan(Explicit(tuple(UNITS)), source), UNITS, new)


def test_mean_by_token(tmp_path: Path) -> None:
    source, new = source_case("token")
    units = [unit("head", 0, 0, LAST), unit("resid_pre", 1, at=LAST)]
    assert_equals_loop(tmp_path, sweep_plan(Explicit(tuple(units)), source), units, new)


def test_mean_by_label(tmp_path: Path) -> None:
    def new(example: int, target: Target, k: int, p: int, old: Tensor) -> Tensor:
        corrupt = SIDES["corrupt"]
        rows = [
            HELD["corrupt"][i][target.site][0, where(target.positions, corrupt, i)[k]]
            for i in range(DATA.n)
        ]
        return torch.stack(rows).mean(0)[target.index or 0]

    units = [unit("head", 0, 0, S), unit("mlp_out", 0, None, S)]
    plan = sweep_plan(Explicit(tuple(units)), Mean(CORRUPT, "label"))
    assert_equals_loop(tmp_path, plan, units, new)


def uneven(sizes: int) -> Data:
    """The pairs with a label U whose number of tokens differs from prompt to prompt."""
    labels = {"U": np.array([(1, 2 + i % sizes) for i in range(DATA.n)])}
    return replace(DATA, sides={k: replace(s, labels=labels) for k, s in SIDES.items()})


@pytest.mark.parametrize(
    ("per", "sizes", "at", "code"),
    [
        ("position", 2, LAST, "E634"),
        ("template", 3, LAST, "E634"),
        ("label", 2, Positions("label", label="U"), "E635"),
        ("label", 1, ALL, "E635"),
    ],
)
def test_a_mean_of_prompts_that_do_not_align(
    tmp_path: Path, per: str, sizes: int, at: Positions, code: str
) -> None:
    plan = sweep_plan(Explicit((unit("head", 0, 0, at),)), Mean(CORRUPT, per))
    with pytest.raises(InterpError, match=code) as caught:
        run(plan, MODEL, tmp_path, d=uneven(sizes))
    assert "per=token" in str(caught.value.diagnostics[0].help)
    assert caught.value.exit_code == 1, "the run failed; the text is good"


def test_a_mean_by_template_of_templates_that_align_within(tmp_path: Path) -> None:
    plan = sweep_plan(Explicit((unit("head", 0, 0, LAST),)), Mean(CORRUPT, "template"))
    ran = run(plan, MODEL, tmp_path, d=uneven(2))
    assert ran.outcome.status == "done"


def test_a_vector_and_its_span(tmp_path: Path) -> None:
    here = Target(Site("resid_pre", 1), None, S)
    means = [
        torch.stack(
            [HELD[n][i][here.site][0, p, 0] for i in range(DATA.n) for p in where(S, s, i)]
        ).mean(0)
        for n, s in SIDES.items()
    ]
    difference = LinearVector(((1.0, MeanVector(CLEAN, here)), (-2.0, MeanVector(CORRUPT, here))))
    direction = means[0] - 2 * means[1]
    units = [unit("resid_pre", 1, at=S)]
    kept = (here.site,)
    plan = sweep_plan(Explicit(tuple(units)), ToVector(difference), sites=kept)
    assert_equals_loop(tmp_path, plan, units, lambda i, t, k, p, old: direction)

    span = torch.stack([direction, means[0]], 1)
    onto = span @ torch.linalg.inv(span.T @ span) @ span.T
    plan = sweep_plan(
        Explicit(tuple(units)), FromRun(CORRUPT), along=(difference, MeanVector(CLEAN, here))
    )
    assert_equals_loop(
        tmp_path / "along",
        plan,
        units,
        lambda i, t, k, p, old: old + onto @ (from_corrupt(i, t, k, p, old)[0] - old),
    )


def test_directions_that_depend_on_each_other_are_an_error(tmp_path: Path) -> None:
    mean = MeanVector(CLEAN, Target(Site("resid_pre", 1)))
    plan = sweep_plan(
        Explicit((unit("resid_pre", 1),)),
        FromRun(CORRUPT),
        along=(mean, LinearVector(((2.0, mean),))),
    )
    with pytest.raises(InterpError, match="E633"):
        run(plan, MODEL, tmp_path, d=DATA)


def test_resampling_one_example_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InterpError, match="E630"):
        run(sweep_plan(HEADS, Resample(CORRUPT)), MODEL, tmp_path, d=pairs(n=1))


def test_other_data_with_fewer_examples_is_an_error(tmp_path: Path) -> None:
    elsewhere = Run("m", "e", "clean")
    plan = sweep_plan(HEADS, FromRun(elsewhere))
    plan = replace(plan, tasks=(*plan.tasks[:2], BuildData("e", "e", {}, "m"), *plan.tasks[2:]))
    with pytest.raises(InterpError, match="E631"):
        run(plan, MODEL, tmp_path, d=DATA, e=pairs(n=3))
