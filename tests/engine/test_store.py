"""Activations kept on disk give the numbers that the model gives, and spare its passes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from interp_dsl.engine import activations
from interp_dsl.engine.execute import execute
from interp_dsl.plan.dictionaries import Fit
from interp_dsl.plan.tasks import Plan

from .plans import folder_in
from .test_ends import TRANSCODER
from .test_fit import NEURONS, _fit, _one, _plan, _same, _text
from .test_resume import Dies
from .tiny import Given, Tiny

ONE = _one("topk", k=2)


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some forty rows a file, of some two hundred."""
    monkeypatch.setattr(activations, "ROWS", 40)


def _stored(plan: Plan, place: Path) -> Plan:
    tasks = (replace(t, store=str(place)) if isinstance(t, Fit) else t for t in plan.tasks)
    return replace(plan, tasks=tuple(tasks))


@pytest.mark.parametrize("one", [ONE, TRANSCODER], ids=["plain", "transcoder"])
def test_a_stored_fit_is_the_fit_that_passes_its_data(tmp_path: Path, one) -> None:
    plan, store = _plan(one, tokens=800), tmp_path / "acts"
    first, second, plain = Tiny(), Tiny(), Tiny()
    kept = _fit(_stored(plan, store), tmp_path / "a", first)
    read = _fit(_stored(plan, store), tmp_path / "b", second)
    _same(_fit(plan, tmp_path / "c", plain), kept)
    _same(kept, read)
    assert (first.rows, second.rows) == (30, 0) and plain.rows > 60
    notes = [[e["text"] for e in f.events() if e["event"] == "note"] for f in (kept, read)]
    assert f"sae: activations are kept in {store}" in notes[0]
    assert f"sae: activations are read from {store}" in notes[1]


def test_files_hold_the_text_in_the_order_of_the_data(tmp_path: Path) -> None:
    _fit(_stored(_plan(ONE), tmp_path / "acts"), tmp_path / "a")
    files = sorted((tmp_path / "acts").glob("*/*.safetensors"))
    assert len(files) > 3
    held = torch.cat([load_file(f)["activations"] for f in files])
    tokens = torch.from_numpy(_text().sides["text"].tokens)
    found = Tiny().forward(tokens, None, sites=(NEURONS.site,)).sites[NEURONS.site]
    np.testing.assert_allclose(held, found[..., 0][tokens != 0].float(), atol=1e-6)


def test_only_what_is_missing_is_passed_and_a_broken_off_store_goes_on(tmp_path: Path) -> None:
    plan, store = _stored(_plan(ONE), tmp_path / "acts"), tmp_path / "acts"
    folder = folder_in(tmp_path / "a")
    with pytest.raises(RuntimeError, match="lost"):
        execute(plan, folder, loaders=Given(Dies(12, RuntimeError("lost")), d=_text()))
    begun = len(list(store.glob("*/*.safetensors")))
    again = Tiny()
    execute(plan, folder, loaders=Given(again, d=_text()))
    assert begun > 0 and 0 < again.rows < 30
    _same(_fit(_plan(ONE), tmp_path / "b"), folder)
    files = sorted(store.glob("*/*.safetensors"))
    files[1].unlink()
    third = Tiny()
    _same(_fit(plan, tmp_path / "c", third), folder)
    count = int(files[2].stem) - int(files[1].stem)
    assert third.rows == count


def test_another_model_or_other_data_is_kept_apart(tmp_path: Path) -> None:
    plan, store = _stored(_plan(ONE), tmp_path / "acts"), tmp_path / "acts"
    _fit(plan, tmp_path / "a")
    _fit(plan, tmp_path / "b", Tiny(seed=1))
    _fit(plan, tmp_path / "c", data=_text(seed=1))
    assert len(list(store.iterdir())) == 3
