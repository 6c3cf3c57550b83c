"""The packed sweep against patching written by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from interp_dsl.data.types import Data
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.plan.algebra import (
    Blocked,
    Explicit,
    FromRun,
    Grouped,
    Intervention,
    Resample,
    Zero,
)
from interp_dsl.plan.places import ALL, EACH, Positions, Site, Target, Unit

from .loop import activations, gaps, setting, where
from .parity import DATA, MODEL, SIDES, S, assert_equals_loop, from_corrupt
from .plans import (
    CLEAN,
    CORRUPT,
    END,
    FIRST,
    HEADS,
    LAST,
    run,
    sweep_plan,
    unit,
)
from .tiny import SHAPE, Tiny, side, singles

PLACES = [
    unit("embed", None),
    *(unit(k, 1) for k in ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")),
    *(unit(k, 0, 1) for k in ("q", "k", "v", "z", "head", "pattern")),
    unit("neuron", 1, 7),
]


@pytest.mark.parametrize("place", PLACES, ids=lambda u: u.place)
def test_every_site(tmp_path: Path, place: Unit) -> None:
    units = [place, Unit((replace(place.targets[0], positions=S),))]
    plan = sweep_plan(Explicit(tuple(units)), FromRun(CORRUPT))
    assert_equals_loop(tmp_path, plan, units, from_corrupt)


POSITIONS = [
    ALL,
    FIRST,
    LAST,
    S,
    END,
    Positions("index", index=2),
    Positions("label", label="S", pick="first"),
    Positions("label", label="S", pick="last"),
    Positions("union", parts=(S, END, LAST)),
    Positions("minus", parts=(ALL, S)),
]


@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_every_position_in_one_batch_of_any_size(tmp_path: Path, rows: int) -> None:
    units = [unit("head", 0, 1, p) for p in POSITIONS]
    plan = sweep_plan(Explicit(tuple(units)), FromRun(CORRUPT), rows=rows, shard=4)
    assert_equals_loop(tmp_path, plan, units, from_corrupt)


def test_each_is_a_unit_a_position(tmp_path: Path) -> None:
    plan = sweep_plan(Explicit((unit("resid_pre", 1, at=EACH),)), FromRun(CORRUPT))
    units = [unit("resid_pre", 1, at=Positions("index", index=i)) for i in range(6)]
    assert_equals_loop(tmp_path, plan, units, from_corrupt)


def test_entries_of_a_pattern(tmp_path: Path) -> None:
    entries = [
        Positions("entry", parts=(S, END)),
        Positions("entry", parts=(FIRST, LAST)),
        Positions("entry", parts=(Positions("index", index=1), ALL)),
    ]
    units = [unit("pattern", 1, h, p) for p in entries for h in (0, 1)]
    plan = sweep_plan(Explicit(tuple(units)), FromRun(CORRUPT))
    assert_equals_loop(tmp_path, plan, units, from_corrupt)


def test_an_entry_for_each_pair_is_causal(tmp_path: Path) -> None:
    each = Positions("entry", parts=(EACH, Positions("minus", parts=(EACH, FIRST))))
    ran = run(
        sweep_plan(Explicit((unit("pattern", 0, 1, each),)), Blocked()), MODEL, tmp_path, d=DATA
    )
    assert ran.table["position"].to_list() == [
        f"{k} -> {q}" for q in range(1, 6) for k in range(q + 1)
    ]


def test_blocked_takes_the_key_out_before_the_softmax(tmp_path: Path) -> None:
    def blocked(example: int, target: Target, k: int, p: int, old: Tensor) -> Tensor:
        keys = where(target.positions.parts[0], SIDES["clean"], example)
        left = old.log().index_fill(0, torch.tensor(keys), -torch.inf)
        return left.softmax(0)

    units = [unit("pattern", i, 0, Positions("entry", parts=(S, END))) for i in (0, 1)]
    assert_equals_loop(tmp_path, sweep_plan(Explicit(tuple(units)), Blocked()), units, blocked)


def test_blocking_the_only_key_is_an_error(tmp_path: Path) -> None:
    alone = unit("pattern", 0, 0, Positions("entry", parts=(FIRST, FIRST)))
    with pytest.raises(InterpError, match="E636"):
        run(sweep_plan(Explicit((alone,)), Blocked()), MODEL, tmp_path, d=DATA)


def test_together_changes_all_at_once(tmp_path: Path) -> None:
    mixed = Explicit((unit("head", 0, 0), unit("head", 0, 1, S), unit("mlp_out", 1)))
    whole = Unit(tuple(t for u in mixed.units for t in u.targets))
    plan = sweep_plan(
        Grouped("together", mixed),
        FromRun(CORRUPT),
        sites=(Site("head", 0), Site("mlp_out", 1)),
    )
    assert_equals_loop(tmp_path, plan, [whole], from_corrupt)


def test_under_holds_in_base_and_value_and_comes_first(tmp_path: Path) -> None:
    cut = Intervention(Explicit((unit("head", 0, 0), unit("mlp_out", 1))), Zero())
    into = replace(CLEAN, under=(cut,))
    plan = sweep_plan(HEADS, FromRun(CORRUPT), into=into)
    both = Unit(tuple(t for u in cut.units.units for t in u.targets))
    first = [
        setting(both, SIDES["clean"], i, lambda i, t, k, p, old: old * 0) for i in range(DATA.n)
    ]
    assert_equals_loop(tmp_path, plan, list(HEADS.units), from_corrupt, first=first)
    ran = run(plan, MODEL, tmp_path / "base", d=DATA)
    nothing = gaps(
        MODEL, DATA, SIDES["clean"], unit("head", 0, 0), lambda i, t, k, p, old: old, first
    )
    np.testing.assert_allclose(ran.folder.read_tensors("who")["base"][0], nothing, atol=2e-5)


def test_ragged_prompts_are_patched_at_corresponding_places(tmp_path: Path) -> None:
    clean = [[1, 2, 3, 4], [5, 6, 7, 8, 9, 1], [2, 3, 4, 5, 6]]
    corrupt = [[9, 1, 2, 3, 4], [5, 6, 9], [2, 3, 9, 5, 6]]
    spots = {"clean": [(1, 2), (3, 4), (2, 3)], "corrupt": [(2, 3), (1, 2), (2, 3)]}
    data = Data(
        "ragged",
        {k: side(k, p, S=spots[k]) for k, p in (("clean", clean), ("corrupt", corrupt))},
        singles(1, 2, 3),
        singles(4, 5, 6),
    )
    held = [activations(MODEL, data.sides["corrupt"], i) for i in range(3)]

    def new(example: int, target: Target, k: int, p: int, old: Tensor) -> Tensor:
        there = where(target.positions, data.sides["corrupt"], example)[k]
        return held[example][target.site][0, there, target.index or 0]

    units = [unit("head", 0, 0, S), unit("resid_pre", 1, None, LAST)]
    plan = sweep_plan(Explicit(tuple(units)), FromRun(CORRUPT))
    assert_equals_loop(tmp_path, plan, units, new, data=data)
    with pytest.raises(InterpError, match="E411"):
        run(sweep_plan(HEADS, FromRun(CORRUPT)), MODEL, tmp_path / "all", d=data)
    resampled = sweep_plan(HEADS, Resample(CORRUPT))
    with pytest.raises(InterpError, match="E632"):
        run(resampled, MODEL, tmp_path / "resample", d=data)


def test_padding_is_hidden_from_a_model_that_sees_both_ways(tmp_path: Path) -> None:
    both_ways = Tiny(shape=replace(SHAPE, causal=False))
    data = Data(
        "ragged",
        {k: side(k, [[1, 2, 3], [4, 5, 6, 7, 8]]) for k in ("clean", "corrupt")},
        singles(1, 2),
        singles(3, 4),
    )
    ran = run(sweep_plan(HEADS, Zero()), both_ways, tmp_path, d=data)
    for values, u in zip(ran.values, HEADS.units, strict=True):
        wanted = gaps(both_ways, data, data.sides["clean"], u, lambda i, t, k, p, old: old * 0)
        np.testing.assert_allclose(values, wanted, atol=2e-5)


def test_a_mask_of_the_datas_own_is_used(tmp_path: Path) -> None:
    seen = np.ones((DATA.n, 6), dtype=bool)
    seen[:, 2] = False
    hidden = replace(DATA, sides={k: replace(s, mask=seen) for k, s in SIDES.items()})
    ran = run(sweep_plan(HEADS, FromRun(CLEAN)), MODEL, tmp_path, d=hidden)
    tokens = torch.from_numpy(SIDES["clean"].tokens)
    at = MODEL.run(tokens, lambda site, x: x, torch.from_numpy(seen))[:, -1]
    assert DATA.answers and DATA.wrongs
    wanted = [
        float(at[i, a.alternatives[0][0]] - at[i, w.alternatives[0][0]])
        for i, (a, w) in enumerate(zip(DATA.answers, DATA.wrongs, strict=True))
    ]
    np.testing.assert_allclose(ran.values[0], wanted, atol=2e-5)


def test_the_same_run_changes_nothing_and_the_whole_stream_is_the_other_run(
    tmp_path: Path,
) -> None:
    tokens = (torch.from_numpy(s.tokens) for s in SIDES.values())
    clean, corrupt = (MODEL.run(t, lambda site, x: x)[:, -1] for t in tokens)
    difference = clean - corrupt
    told_apart = replace(
        DATA,
        answers=singles(*difference.argmax(1).tolist()),
        wrongs=singles(*difference.argmin(1).tolist()),
    )
    for source, wanted in ((CLEAN, 0.0), (CORRUPT, 1.0)):
        units = Explicit((unit("resid_pre", 0), unit("resid_pre", 1)))
        ran = run(sweep_plan(units, FromRun(source)), MODEL, tmp_path / source.side, d=told_apart)
        assert ran.table["normalized"].to_list() == pytest.approx([wanted] * 2, abs=1e-6)
