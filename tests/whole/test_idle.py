"""Units that cannot have an effect: which they are, worked out by hand, and that running them all
the same gives no effect."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from interp_dsl.check import check_source, plan_experiment
from interp_dsl.engine.execute import execute
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.language.source import Source
from interp_dsl.plan.tasks import Plan, Sweep
from interp_dsl.runs.folder import RunFolder

# One sentence: BOS 0, When 1 Mary 2 and 3 John 4 went 5 to 6 the 7 store 8 , 9 NAME 10 gave 11 a 12
# book 13 to 14. The prompts differ at 10; the answer is read at 14.
TEXT = """
model m = bundled("ioi-3l")
dataset ioi = prompts() {
  clean   "When Mary and John went to the store, John gave a book to"
  corrupt "When Mary and John went to the store, Paul gave a book to"
  answer  " Mary"
  wrong   " John"
}
step stream = patch resid_pre at each from ioi.corrupt into ioi.clean measure logit_diff()
step zeroed = ablate resid_post, keys layers 2 at each with zero on ioi.clean measure logit_diff()
step inputs = ablate {L2H0.q_input, L2H0.k_input, L2.mlp_in, L1.mlp_in} at each with zero
                on ioi.clean measure logit_diff()
"""


def run(plan: Plan, root: Path) -> RunFolder:
    folder = RunFolder.create(root, "idle", datetime(2026, 1, 1))
    assert execute(plan, folder).status == "done"
    return folder


def test_which_units_cannot_have_an_effect(tmp_path: Path) -> None:
    checked = check_source(Source(TEXT))
    assert checked.experiment, checked.diagnostics
    plan = plan_experiment(checked.experiment)
    sweeps = [t for t in plan.tasks if isinstance(t, Sweep)]
    assert all(t.skips for t in sweeps)
    everything = replace(
        plan,
        tasks=tuple(replace(t, skips=False) if isinstance(t, Sweep) else t for t in plan.tasks),
    )
    skipped, whole = run(plan, tmp_path / "a"), run(everything, tmp_path / "b")
    notes = [e["text"] for e in skipped.events() if e["event"] == "note"]
    # 3 layers x 10 positions before the difference; resid_post of the last layer but at 14.
    assert any("stream: 30 of 45 units" in n for n in notes), notes
    assert any("zeroed: 14 of 75 units" in n for n in notes), notes
    # What the last layer's queries and MLP read but at 14; its keys, and earlier layers, are seen.
    assert any("inputs: 28 of 60 units" in n for n in notes), notes
    for step, count in (("stream", 30), ("zeroed", 14), ("inputs", 28)):
        a, b = skipped.read_table(step), whole.read_table(step)
        assert a.select("unit", "position").equals(b.select("unit", "position"))
        assert (a["effect"] - b["effect"]).abs().max() < 1e-5
        assert (a["effect"] == 0).sum() >= 14 and not b["skipped"].any()
        assert a["skipped"].sum() == count
        assert (a.filter(a["skipped"])["effect"] == 0).all()
    assert skipped.read_table("stream")["effect"].abs().max() > 1


@pytest.mark.parametrize("skips", [True, False])
def test_a_mean_that_is_none_is_told_of_units_that_are_not_run_too(
    skips: bool, tmp_path: Path
) -> None:
    step = (
        "step off = patch {L2H1.q_input} at 2 from mean(ioi.corrupt, per=label) into ioi.clean "
        "measure logit_diff()"
    )
    checked = check_source(Source(f"{TEXT.partition('step')[0]}{step}"))
    assert checked.experiment, checked.diagnostics
    plan = plan_experiment(checked.experiment)
    tasks = (replace(t, skips=skips) if isinstance(t, Sweep) else t for t in plan.tasks)
    with pytest.raises(InterpError, match="E635"):
        run(replace(plan, tasks=tuple(tasks)), tmp_path)
