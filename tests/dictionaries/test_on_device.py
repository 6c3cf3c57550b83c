"""Training as a device does it, without looking at a number, against training as a processor does:
the same features, the same numbers to rounding. Here both are computed by the processor."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from interp_dsl.dictionaries import dying, processor, selection
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
from interp_dsl.dictionaries.selection import Known, largest, largest_of_batch
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


@pytest.fixture
def as_device(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    return lambda on: monkeypatch.setattr(processor, "has", lambda x: not on)


def trained(made: Architecture, ends: Ends, dtype: torch.dtype) -> tuple[Trainer, list[dict]]:
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


@pytest.mark.parametrize(("dtype", "near"), [(torch.float64, 1e-9), (torch.float32, 2e-4)])
@pytest.mark.parametrize("ends", [Itself(), Onto(True)], ids=["itself", "onto"])
@pytest.mark.parametrize("name", ALL)
def test_training_is_the_same(name, ends, dtype, near, as_device) -> None:
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
