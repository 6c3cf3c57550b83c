"""What a batch of tests held goes as soon as the next begins, without the garbage collector."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch

from interp_dsl.circuits import absorbed
from interp_dsl.circuits.acdc import discover
from interp_dsl.circuits.flow import Flow
from interp_dsl.circuits.rules import Rules
from tests.circuits.test_exact import LAST, setting


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
