"""The most valuable test: the optimised plan on the compiled forward gives the numbers of the plain
one, in which every step makes its own forward passes, from the beginning, one unit at a time, by
hooks over TransformerLens's bridge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interp_dsl.check import check_source
from interp_dsl.check.lower import lower
from interp_dsl.data.build import build
from interp_dsl.data.types import Data
from interp_dsl.engine.execute import execute
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.language.source import Source
from interp_dsl.models.compiled.executor import CompiledExecutor
from interp_dsl.models.executor import Executor
from interp_dsl.models.load import load
from interp_dsl.models.shape import ModelFacts
from interp_dsl.plan.passes import PASSES
from interp_dsl.plan.starts import WHOLE
from interp_dsl.plan.tasks import Plan, Sweep
from interp_dsl.runs.folder import RunFolder
from tests.devices import here
from tests.models.checkpoints import HF, tiny

NAMES = '["Mary", "John", "Anna", "Paul"]'
PRELUDE = """
dataset ioi = template(n=6, seed={seed}) {{
  clean   "When {{A@IO}} and {{B@S1}} went to the {{place}}, {{B@S2}} gave a drink to{{@END}}"
  corrupt "When {{A@IO}} and {{B@S1}} went to the {{place}}, {{C@S2}} gave a drink to{{@END}}"
  answer  " {{A}}"
  wrong   " {{B}}"
  where   A, B, C in {names}
  where   place in {places}
}}
metric gap = logit_diff()
let    r   = mean(L0.resid_post of ioi.clean at S2) - mean(L0.resid_post of ioi.corrupt at S2)
step   cut = ablate {{L0H1}} with zero
"""
UNITS = (
    "heads", "queries", "keys", "values", "patterns", "resid_pre", "resid_post", "attn_out",
    "mlps", "embed", "{L0H1, L1H2.k, L1.mlp}", "pairs({L0H0, L1H1, L1.mlp})", "L1.mlp[3..6]",
    "together(heads layers 1)", "{L0H1.q_input, L0H1.k_input}", "{L0.mlp_in, L1H0.v_input}",
)  # fmt: skip
POSITIONS = (
    "",
    "at END",
    "at S2, END",
    "at together(S1, END)",
    "at S2.first",
    "at 2",
    "at each",
    "at all - first",
)
SOURCES = (
    "ioi.corrupt", "zero", "mean(ioi.corrupt, per=all)", "resample(ioi.clean, seed=2)",
    "noise(std=0.5)", "0.3", "(ioi.corrupt under cut)",
)  # fmt: skip
ENDS = ("", "under cut", "along r")


@dataclass(frozen=True)
class Fixed:
    """Loads one executor, chosen beforehand."""

    executor: Executor

    def model(self, spec: Mapping[str, Any], device: str, trusted: bool) -> Executor:
        return self.executor

    def data(
        self, name: str, spec: Mapping[str, Any], facts: ModelFacts | None, trusted: bool
    ) -> Data:
        return build(name, spec, facts)


@cache
def executors(name: str, layers: int, device: str) -> tuple[Path, Executor, Executor]:
    folder = tiny(name, layers)
    spec = {"kind": "checkpoint", "folder": str(folder)}
    compiled = load(spec, device, executor="compiled")
    assert isinstance(compiled, CompiledExecutor)
    return folder, load(spec, device, executor="hooked"), compiled


def plain(plan: Plan) -> Plan:
    """One unit a batch and a shard."""
    return replace(
        plan,
        tasks=tuple(
            replace(t, packing=replace(WHOLE, rows=6, shard=1)) if isinstance(t, Sweep) else t
            for t in plan.tasks
        ),
    )


def table(plan: Plan, executor: Executor, folder: Path) -> pl.DataFrame | tuple[str, ...]:
    """The step's table, or the codes of what the data forbids."""
    run = RunFolder.create(folder, "test", datetime(2026, 1, 1))
    try:
        outcome = execute(plan, run, loaders=Fixed(executor))
    except InterpError as error:
        return tuple(d.code for d in error.diagnostics)
    assert outcome.status == "done"
    return run.read_table("who")


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("name", HF)
@settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    units=st.sampled_from(UNITS),
    positions=st.sampled_from(POSITIONS),
    source=st.sampled_from(SOURCES),
    end=st.sampled_from(ENDS),
    seed=st.integers(0, 3),
    ragged=st.booleans(),
    layers=st.integers(1, 3),
    chosen=st.one_of(st.just(PASSES), st.lists(st.sampled_from(PASSES), unique=True)),
)
def test_optimised_equals_plain(
    name: str,
    units: str,
    positions: str,
    source: str,
    end: str,
    seed: int,
    ragged: bool,
    layers: int,
    chosen: Sequence[Callable[[Plan], Plan]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """With all passes, and with any of them."""
    folder, hooked, compiled = executors(name, layers, here())
    into = "into ioi.clean" if not source.startswith("ioi.clean") else "into ioi.corrupt"
    text = f'model m = checkpoint("{folder}")' + PRELUDE.format(
        seed=seed, names=NAMES, places='["store", "old garden"]' if ragged else '["store"]'
    )
    text += f"step who = patch {units} {positions} from {source} {into} {end} measure gap, kl()\n"
    checked = check_source(Source(text), allow=[folder])
    if checked.experiment is None:  # not every combination means something
        assert {d.code for d in checked.diagnostics} <= {
            "E306",
            "E201",
            "E302",
            "E411",
            "E413",
            "E300",
        }
        return
    optimised = lower(checked.experiment)
    for a_pass in filter(chosen.__contains__, PASSES):
        optimised = a_pass(optimised)
    work = tmp_path_factory.mktemp("runs")
    ours = table(optimised, compiled, work / "a")
    reference = table(plain(lower(checked.experiment)), hooked, work / "b")
    if isinstance(ours, tuple) or isinstance(reference, tuple):
        assert ours == reference, (ours, reference)
        # Prompts unlike each other, no direction, a position that a shorter prompt lacks.
        assert ours in (("E632",), ("E633",), ("E413",))
        return
    keys = ["unit", "position", "metric"]
    assert ours.select(keys).equals(reference.select(keys))
    for column in ("base", "value", "effect", "low", "high"):
        difference = (ours[column] - reference[column]).abs().max()
        assert difference < 2e-5 * max(1.0, float(reference["base"].abs().max())), column
