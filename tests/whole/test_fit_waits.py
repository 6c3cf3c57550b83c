"""Where a training step of a dictionary waits for the device. Behind its first step, and besides
the points of its curve, a fit goes on without the host knowing a number, but for what is listed.

What a backward pass does is not seen on the processor. It is where CUDA watches by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from tests.whole.test_waits import ADDRESSES

COUNTS = {
    "interp_dsl.dictionaries.dying:_Count.of": "a count sets out for the processor's memory",
    "interp_dsl.dictionaries.dying:_Count.read": "one that set out some steps ago is read",
}
THROUGH = {
    "interp_dsl.engine.harvest:Harvest.text": "which tokens are text; the host has them",
    "interp_dsl.engine.harvest:Harvest._activations": "no copy where one device has all models",
    "interp_dsl.engine.forwards:Bench.forward": "which examples; the host has them",
    "interp_dsl.engine.splice:splice": "which tokens are text; the host has them",
    "interp_dsl.models.edits:apply": ADDRESSES["interp_dsl.models.edits:apply"],
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
step sae = fit {architecture}(width={width}, {options}, batch={inputs},
                              {more})
           on resid_pre layers 0 of d until tokens={tokens}
"""
FITS = {
    "relu": ("relu", 32, "l1=0.01"),
    "gated": ("gated", 32, "l1=0.01"),
    "jumprelu": ("jumprelu", 32, "target=4"),
    "topk, dense": ("topk", 32, "k=2"),
    "topk, sparse": ("topk", 128, "k=2"),
    "topk, dense, rounded": ("topk", 32, 'k=2, dtype="bfloat16"'),
    "gated, rounded": ("gated", 32, 'l1=0.01, dtype="bfloat16"'),
    "batch_topk, dense": ("batch_topk", 32, "k=2"),
    "batch_topk, sparse": ("batch_topk", 128, "k=2"),
    "matryoshka, dense": ("matryoshka", 32, "k=2"),
    "matryoshka, sparse": ("matryoshka", 128, "k=2"),
}


class Watch:
    """Every step but the first and the last, which are points of the curve."""

    def __init__(self, patched: pytest.MonkeyPatch, allowed: dict[str, str]) -> None:
        self.waits, self.steps = Waits(allowed), 0
        self._step = fit._step
        patched.setattr(fit, "POINTS", 1)
        patched.setattr(fit, "has_room", lambda harvest: False)
        for name in ("_blocks", "through_model"):
            patched.setattr(fit, name, partial(self.turns, getattr(fit, name)))
        patched.setattr(fit, "_step", self.step)
        patched.setattr(processor, "has", lambda x: False)

    @contextmanager
    def watching(self) -> Iterator[None]:
        with watch("error"), self.waits:
            yield

    def turns(self, made: Callable[..., Any], *given: Any) -> Iterator[Turn | None]:
        turns = made(*given)
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


def fitted(fit_of: tuple[str, int, str], more: str, watched: Watch, folder: Path) -> dict[str, Any]:
    """The last row of the curve of a fit whose steps were watched."""
    model, tokens = tiny("gpt2"), STEPS * INPUTS
    architecture, width, options = fit_of
    given = {"architecture": architecture, "width": width, "options": options}
    text = PROGRAM.format(
        folder=model, inputs=INPUTS, tokens=tokens, more=more.format(tokens=tokens), **given
    )
    (folder / "x.interp").write_text(text)
    run = partial(interp_dsl.run, out=folder / "run", allow=[model], device=here())
    row: dict[str, Any] = run(folder / "x.interp").folder.read_table("sae").row(-1, named=True)
    assert watched.steps == row["step"] - 1 > 20
    return row


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("name", FITS)
def test_what_a_step_waits_for_is_listed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On CUDA any other wait is an error."""
    watched = Watch(monkeypatch, COUNTS)
    last = fitted(FITS[name], "buffer={tokens}, dead_after=64", watched, tmp_path)
    if "k=" in FITS[name][2]:
        assert watched.waits.found == COUNTS.keys()
        assert last["dead"] > 0 and last["penalty"] > 0  # AuxK had something to do
    else:
        assert not watched.waits.found


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("objective", ["kl", "ce"])
def test_what_a_step_through_the_model_waits_for_is_listed(
    objective: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watch(monkeypatch, THROUGH)
    more = f'objective="{objective}", downstream=0.1'
    fitted(FITS["topk, sparse"], more, watched, tmp_path)
    assert watched.waits.found == THROUGH.keys()
