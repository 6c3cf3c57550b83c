"""What a batch of tests holds: it goes as soon as the next begins, and is less where memory runs
out."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch

from interp_dsl.circuits import absorbed
from interp_dsl.circuits.acdc import discover
from interp_dsl.circuits.candidates import Candidates
from interp_dsl.circuits.flow import Flow
from interp_dsl.circuits.rules import Rules
from interp_dsl.circuits.suffix import Suffix
from tests.circuits.exact import LAST, setting


@pytest.mark.parametrize("absorbs", [False, True])
def test_a_flow_goes_with_its_batch(absorbs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(absorbed, "pays", lambda *sizes: absorbs)
    flows: list[weakref.ref[Flow]] = []
    most = 0
    begin = Flow.__init__

    def counted(flow: Flow, *about: object) -> None:
        nonlocal most
        begin(flow, *about)  # type: ignore[arg-type]
        flows.append(weakref.ref(flow))
        most = max(most, sum(one() is not None for one in flows))

    monkeypatch.setattr(Flow, "__init__", counted)
    gc.collect()
    gc.disable()
    try:
        with torch.no_grad():
            discover(setting("gpt2", reads=LAST).clean(), [0.02], Rules())
    finally:
        gc.enable()
    assert len(flows) > 10
    assert most <= 2


def test_fewer_are_tested_where_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    case = setting("gpt2", reads=LAST)
    (wanted,) = case.fast(0.02, Rules(batch=16))
    test, refused, done = Suffix.test, [], []

    def cramped(suffix: Suffix, candidates: Candidates) -> list[float]:
        if candidates.n > 3:
            refused.append(candidates.n)
            raise torch.OutOfMemoryError("CUDA out of memory")
        done.append(candidates.n)
        return test(suffix, candidates)

    monkeypatch.setattr(Suffix, "test", cramped)
    (found,) = case.fast(0.02, Rules(batch=16))
    assert refused and max(done) > 1
    assert (found.kept == wanted.kept).all()
    np.testing.assert_allclose(found.effect, wanted.effect, atol=1e-9)
    monkeypatch.setattr(Suffix, "test", lambda *_: _refuse())
    with pytest.raises(torch.OutOfMemoryError):
        case.fast(0.02, Rules(batch=16))


def _refuse() -> list[float]:
    raise torch.OutOfMemoryError("CUDA out of memory")
