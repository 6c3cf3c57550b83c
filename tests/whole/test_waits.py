"""Where the batches of a sweep wait for the device. After the first batch, which makes ready what
all need, a pass and its metrics run without the host knowing a number, but for what is listed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import interp_dsl
from interp_dsl import session
from interp_dsl.engine.forwards import Bench
from interp_dsl.plan.starts import WHOLE
from interp_dsl.plan.tasks import Plan, Sweep
from tests.devices import here
from tests.models.checkpoints import tiny
from tests.waits import Waits, watch

# What looks at addresses: no wait where they lie in the processor's memory (models/edits.py).
ADDRESSES = {
    "interp_dsl.engine.edits:Editor.edits": "numbers made addresses",
    "interp_dsl.engine.packed:Packed.rows": "numbers made addresses",
    "interp_dsl.engine.forwards:Bench.first_read": "the first position that is read",
    "interp_dsl.models.edits:_block": "whether all rows change the same neighbours",
    "interp_dsl.models.edits:apply": "whether any entry is padding",
    "interp_dsl.models.edits:flat": "which entries are no padding",
    "interp_dsl.models.compiled.taps:in_window": "which entries lie in what is computed",
    "interp_dsl.models.compiled.heads:_outputs": "how many entries a head has",
    "interp_dsl.models.compiled.heads:_unique": "which heads are changed",
    "interp_dsl.models.compiled.heads:_covers": "whether a head of each row is changed everywhere",
    "interp_dsl.models.compiled.heads:_with_changed_rows": "how many rows change a head",
    "interp_dsl.models.compiled.prefix:Groups.of": "how many rows an example has at most",
    "interp_dsl.models.compiled.executor:CompiledExecutor._walk": "where logits are read",
    "interp_dsl.models.compiled.executor:CompiledExecutor._check_position": "a start too late",
}
CHECKS = {
    "interp_dsl.engine.edits:Editor._piece": "whether any entry is padding",
    "interp_dsl.engine.edits:Editor._check_blocked": "whether a query keeps a key: an error if not",
    "interp_dsl.engine.sources:Elsewhere._pair": "whether the two sides have the same positions",
    "interp_dsl.engine.means:Means._inside": "whether a position has a mean: an error if not",
    "interp_dsl.engine.metrics:Meter._loss": "whether the model has an output for every token",
}
CONSTANTS = {"interp_dsl.models.compiled.activations:_tanh_gelu_": "a number made a tensor"}
ALLOWED = ADDRESSES | CHECKS | CONSTANTS
PROGRAM = """
model m = checkpoint("{folder}")
dataset d = template(n=6) {{
  clean   "When {{A@IO}} and {{B@S1}} went to the {{place}}, {{B@S2}} gave a drink to{{@END}}"
  corrupt "When {{A@IO}} and {{B@S1}} went to the {{place}}, {{C@S2}} gave a drink to{{@END}}"
  answer  " {{A}}"
  wrong   " {{B}}"
  where   A, B, C in ["Mary", "John", "Anna", "Paul"]
  where   place in ["store", "garden"]
}}
step who = patch {units} from {source} into d.clean measure {metrics}
"""
SWEEPS = (
    ("heads at END", "d.corrupt", "logit_diff(), kl()"),
    ("resid_pre at each", "d.corrupt", "logit_diff()"),
    ("patterns", "d.corrupt", "logit_diff()"),
    ("heads", "mean(d.corrupt)", "prob()"),
    ("heads at S2", "noise(std=0.5)", "logit_diff()"),
    ("heads", "resample(d.clean)", "loss()"),
    ("L0.mlp[3..9]", "zero", "logit_diff()"),
    ("patterns at S1 -> END", "blocked", "logit_diff()"),
)
ROWS = 8


def small_batches(plan: Plan) -> Plan:
    few = replace(WHOLE, rows=ROWS)
    tasks = (replace(t, packing=few) if isinstance(t, Sweep) else t for t in plan.tasks)
    return replace(plan, tasks=tuple(tasks))


def found(sweep: tuple[str, str, str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Run a sweep, every batch but the first under watch."""
    units, source, metrics = sweep
    model = tiny("gpt2")
    text = PROGRAM.format(folder=model, units=units, source=source, metrics=metrics)
    (folder / "x.interp").write_text(text)
    planned, measure, waits = session.plan_of, Bench.measure, Waits(ALLOWED)
    batches: Iterator[int] = iter(range(10_000))

    def watched(bench: Bench, *arguments: Any, **options: Any) -> Any:
        with ExitStack() as watching:
            if next(batches):
                watching.enter_context(watch("error"))
                watching.enter_context(waits)
            return measure(bench, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(session, "plan_of", lambda *given: small_batches(planned(*given)))
        patched.setattr(Bench, "measure", watched)
        run = partial(interp_dsl.run, out=folder / "run", allow=[model], device=here())
        run(folder / "x.interp")
    assert next(batches) > 2
    return waits.found


@pytest.mark.usefixtures("device")
def test_what_a_batch_waits_for_is_listed(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On CUDA any other wait is an error."""
    seen: set[str] = set()
    for sweep in SWEEPS:
        seen |= found(sweep, tmp_path_factory.mktemp("sweep"), monkeypatch)
    assert seen and seen <= ALLOWED.keys()
