"""Training as a device does it, without looking at a number, against training as a processor does:
the same features, the same numbers to rounding. Here both are computed by the processor."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from interp_dsl.dictionaries import processor
from interp_dsl.dictionaries.architectures import (
    Architecture,
    BatchTopK,
    Gated,
    JumpRelu,
    Matryoshka,
    Relu,
    TopK,
)
from interp_dsl.dictionaries.codes import Dense, Sparse, batch_top_k, top_k
from interp_dsl.dictionaries.dying import EVERY, Dying
from interp_dsl.dictionaries.ends import Ends, Itself, Onto
from interp_dsl.dictionaries.schedules import Schedule
from interp_dsl.dictionaries.selection import Known
from interp_dsl.dictionaries.training import Settings, Trainer
from tests.dictionaries.planted import features, mixtures

ALL: dict[str, Architecture] = {
    "relu": Relu(0.01, "unit"),
    "relu, weighted": Relu(0.1, "weighted"),
    "jumprelu": JumpRelu(0.05, bandwidth=0.1, threshold=0.1),
    "jumprelu to a target": JumpRelu(0.5, target=4.0, bandwidth=0.4, threshold=0.1),
    "gated": Gated(0.1),
} | {
    f"{made.__name__}, {'sparse' if sparse else 'dense'}, {k_aux} of the dead": made(
        2, alpha=0.5, k_aux=k_aux, sparse=sparse
    )
    for made in (TopK, BatchTopK, Matryoshka)
    for sparse in (False, True)
    for k_aux in (2, 50)
}
STEPS, ROWS, WIDTH, DEAD_AFTER = 60, 32, 48, 256


Device = Callable[[bool], None]


@pytest.fixture
def as_device(monkeypatch: pytest.MonkeyPatch) -> Device:
    """Says whether tensors count as a device's."""
    return lambda on: monkeypatch.setattr(processor, "has", lambda x: not on)


def trained(
    made: Architecture, ends: Ends, dtype: torch.dtype
) -> tuple[Trainer, list[dict[str, float]]]:
    generator = torch.Generator().manual_seed(0)
    known = features(12, 8)
    onto = None if ends.is_tied else torch.randn(8, 5, generator=generator).to(dtype)
    batches = [mixtures(known, ROWS, generator, 0.3).to(dtype) for _ in range(STEPS)]
    for x in batches:  # of which no two rows are equal
        x += 1e-2 * torch.randn(x.shape, generator=generator)
    clip = 1.0 if dtype == torch.float32 else 0.0  # the fused step of Adam scales by float32 alone
    settings = Settings(WIDTH, 3e-3, clip, dead_after=DEAD_AFTER, scale=1.7)
    torch.set_default_dtype(dtype)
    try:
        first = batches[0], None if onto is None else batches[0] @ onto
        trainer = Trainer(made, settings, Schedule(STEPS), first[0], ends, first[1])
        bias = trainer.params["b_enc" if "b_enc" in trainer.params else "b_gate"]
        bias[:6] = -0.4  # some that can come back
        told = []
        for x in batches:
            figures = trainer.step(x, None if onto is None else x @ onto)
            told.append({"loss": figures.loss, "dead": figures.n_dead, **figures.terms})
    finally:
        torch.set_default_dtype(torch.float32)
    return trainer, told


@pytest.mark.parametrize(
    ("dtype", "near"),
    [(torch.float64, 1e-9), (torch.float32, 2e-4)],  # where what is nearly equal may be chosen
)
@pytest.mark.parametrize("ends", [Itself(), Onto(True)], ids=["itself", "onto"])
@pytest.mark.parametrize("name", ALL)
def test_training_is_the_same(
    name: str, ends: Ends, dtype: torch.dtype, near: float, as_device: Device
) -> None:
    as_device(False)
    wanted, told = trained(ALL[name], ends, dtype)
    as_device(True)
    found, also_told = trained(ALL[name], ends, dtype)
    assert [each["dead"] for each in also_told] == [each["dead"] for each in told]
    for one, other in zip(also_told, told, strict=True):
        for term in one.keys() | other.keys():
            assert one.get(term, 0.0) == pytest.approx(other.get(term, 0.0), rel=near, abs=near)
    assert found.params["decoder"].dtype == dtype
    for key, value in wanted.state().items():
        torch.testing.assert_close(found.state()[key], value, atol=near, rtol=near, msg=key)
    if getattr(ALL[name], "alpha", 0):
        assert sum(each.get("auxk", 0) > 0 for each in told) > STEPS / 4
        assert len({each["dead"] for each in told}) > 2


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("rows", "width", "k"), [(9, 64, 2), (6, 41, 30), (4, 16, 16), (2, 8, 99)])
def test_the_same_features_are_on(rows: int, width: int, k: int, as_device: Device) -> None:
    """Also where fewer are above 0 than are asked for, or none is in a row."""
    pre = drawn(1, rows, width)
    pre[1] = -pre[1].abs()
    for select in (top_k, lambda pre, k, sparse: batch_top_k(Known(pre), k, sparse)):
        as_device(False)
        wanted = select(pre, k, False)
        as_device(True)
        dense, sparse = select(pre, k, False), select(pre, k, True)
        assert isinstance(wanted, Dense) and isinstance(dense, Dense)
        assert torch.equal(dense.values, wanted.values)
        assert isinstance(sparse, Sparse)
        spread = torch.zeros_like(pre).index_put_((sparse.row, sparse.index), sparse.values)
        assert torch.equal(spread, wanted.values)
        assert len(sparse.values) == rows * min(k, width)
        before = [int((sparse.row < i).sum()) for i in range(rows)]
        assert sparse.row.tolist() == sorted(sparse.row.tolist())
        assert sparse.offsets.tolist() == before


@pytest.mark.parametrize("made", [TopK(2), BatchTopK(2), Matryoshka(2)], ids=lambda a: a.name)
@pytest.mark.parametrize("sparse", [False, True])
def test_a_loss_of_what_is_no_number_is_none(made: TopK, sparse: bool, as_device: Device) -> None:
    as_device(True)
    x = drawn(0, 16, 8)
    trainer = Trainer(replace(made, sparse=sparse), Settings(32, 1e-2), Schedule(5), x)
    assert math.isfinite(trainer.step(x).loss)
    x[3, 2] = torch.nan
    assert math.isnan(trainer.step(x).loss) and math.isnan(trainer.step(drawn(0, 16, 8)).loss)


@pytest.mark.parametrize("dead_after", [1, 40, 300, 10**7])
@pytest.mark.parametrize("grows", [False, True])
def test_what_may_be_dead_is_never_fewer_than_are(dead_after: int, grows: bool) -> None:
    """Features that fire more and more seldom, and all of which fire now and then; batches that
    stay equal or grow."""
    generator = torch.Generator().manual_seed(0)
    chance = torch.logspace(0, -3, 50)
    silent, counted = torch.zeros(50, dtype=torch.int64), Dying(dead_after)
    told, dead = [], []
    for step in range(200):
        inputs = 4 + (step // 20 if grows else 0)
        told.append(counted.most(silent, inputs, step))
        dead.append(int((silent >= dead_after).sum()))
        silent = torch.where(torch.rand(50, generator=generator) < chance, 0, silent + inputs)
    assert all(most >= n for most, n in zip(told, dead, strict=True))
    if not grows and dead_after == 10**7:
        assert not any(told)
    if not grows and dead_after == 300:
        assert max(dead) > 0 and told[0] == 0
        assert np.mean(told[2 * EVERY :]) < np.mean(dead[2 * EVERY :]) + 10


@pytest.mark.parametrize("made", [TopK(2), Matryoshka(2)], ids=lambda a: a.name)
@pytest.mark.parametrize("at", [5, EVERY, 3 * EVERY + 1, 4 * EVERY])
def test_a_restored_state_goes_on_to_the_same_numbers(
    made: TopK, at: int, as_device: Device
) -> None:
    """To the last bit: what is known of the dead is a part of the state. One without it, of a
    processor, is taken up too."""
    as_device(True)
    batches = [mixtures(features(12, 8), ROWS, torch.Generator().manual_seed(i)) for i in range(50)]

    def new() -> Trainer:
        return Trainer(made, Settings(WIDTH, 1e-2, dead_after=256), Schedule(50), batches[0])

    def go_on(state: dict[str, Tensor]) -> Trainer:
        trainer = new()
        trainer.restore(state)
        for x in batches[at:]:
            trainer.step(x)
        return trainer

    whole = new()
    for i, x in enumerate(batches):
        if i == at:
            state = {k: v.clone() for k, v in whole.state().items()}
        whole.step(x)
    resumed = go_on(state)
    assert whole.state().keys() == resumed.state().keys()
    for name, value in whole.state().items():
        assert torch.equal(value, resumed.state()[name]), name
    other = go_on({k: v for k, v in state.items() if k != "dying"})
    for name, value in other.state().items():
        torch.testing.assert_close(value, whole.state()[name], atol=1e-4, rtol=1e-4, msg=name)
    assert whole.dead.any()
