"""Where a training step of a dictionary waits for the device. Behind its first step, and besides
the points of its curve, a fit goes on without the host knowing a number, but for what is listed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import interp_dsl
from interp_dsl.dictionaries import processor
from interp_dsl.engine import fit
from interp_dsl.engine.fitting import Turn
from tests.devices import here
from tests.models.checkpoints import tiny
from tests.waits import Waits, watch

COUNTS = {
    "interp_dsl.dictionaries.dying:_Count.of": "a count sets out for the processor's memory",
    "interp_dsl.dictionaries.dying:_Count.read": "one that set out some steps ago is read",
}
STEPS, INPUTS = 30, 16
PROGRAM = """
model m = checkpoint("{folder}")
dataset d = template(n=6) {{
  clean   "When {{A@IO}} and {{B@S1}} went to the {{place}}, {{B@S2}} gave a drink to{{@END}}"
  answer  " {{A}}"
  where   A, B in ["Mary", "John", "Anna", "Paul"]
  where   place in ["store", "garden"]
}}
step sae = fit {architecture}(width={width}, {options}batch={inputs}, objective="kl",
                              dead_after=64)
           on resid_pre layers 1 of d until tokens={tokens}
"""
FITS = {
    "relu": ("relu", 32, "l1=0.01, "),
    "gated": ("gated", 32, "l1=0.01, "),
    "jumprelu": ("jumprelu", 32, "target=4, "),
    "topk, dense": ("topk", 32, "k=2, "),
    "topk, sparse": ("topk", 128, "k=2, "),
    "batch_topk, dense": ("batch_topk", 32, "k=2, "),
    "batch_topk, sparse": ("batch_topk", 128, "k=2, "),
    "matryoshka, dense": ("matryoshka", 32, "k=2, "),
    "matryoshka, sparse": ("matryoshka", 128, "k=2, "),
}


class Watch:
    """Every step but the first and the last, which are points of the curve."""

    def __init__(self, patched: pytest.MonkeyPatch, allowed: dict[str, str]) -> None:
        self.waits, self.steps = Waits(allowed), 0
        self.through_model, self._step = fit.through_model, fit._step
        patched.setattr(fit, "POINTS", 1)
        patched.setattr(fit, "has_room", lambda harvest: False)
        patched.setattr(fit, "through_model", self.turns)
        patched.setattr(fit, "_step", self.step)
        patched.setattr(processor, "has", lambda x: False)

    @contextmanager
    def watching(self) -> Iterator[None]:
        with watch("error"), self.waits:
            yield

    def turns(self, *given: Any) -> Iterator[Turn | None]:
        turns = self.through_model(*given)
        yield next(turns)
        while True:
            with self.watching():
                turn = next(turns, self)
            if turn is self:
                return
            yield turn

    def step(self, task: Any, fitting: Any, *given: Any) -> None:
        if fitting.done in (0, task.steps - 1):
            return self._step(task, fitting, *given)
        self.steps += 1
        with self.watching():
            return self._step(task, fitting, *given)


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("name", FITS)
def test_what_a_step_waits_for_is_listed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On CUDA any other wait is an error."""
    model, (architecture, width, options) = tiny("gpt2"), FITS[name]
    text = PROGRAM.format(
        folder=model,
        architecture=architecture,
        width=width,
        options=options,
        inputs=INPUTS,
        tokens=STEPS * INPUTS,
    )
    (tmp_path / "x.interp").write_text(text)
    watched = Watch(monkeypatch, COUNTS)
    found = interp_dsl.run(
        tmp_path / "x.interp", out=tmp_path / "run", allow=[model], device=here()
    )
    print(watched.waits.found, found.folder.read_table("sae"))
    last = found.folder.read_table("sae").row(-1, named=True)
    assert watched.steps == STEPS - 2
    if "k=" in options:
        assert watched.waits.found == COUNTS.keys()
        assert last["dead"] > 0 and last["penalty"] > 0  # AuxK had something to do
    else:
        assert not watched.waits.found
