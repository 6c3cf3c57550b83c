"""Features looked at from a file: what is lost without them is what `ablate` measures, and steps
are taken over where nothing has changed."""

from __future__ import annotations

import numpy as np
import pytest

import interp_dsl
from interp_dsl.runs.folder import RunFolder

TEXT = """model   m    = bundled("induction-2l")
dataset d    = repeated_tokens(pairs=24, half=12, seed=0)
step sae    = fit topk(width=48, k=6, batch=64, lr=5e-3) on L0.resid_post of d.clean until tokens=6k
step lost   = inspect sae[0..15] by ablation(prompts=24) on d.clean
step off    = ablate sae[0..15] at all - first with zero on d.clean measure loss(), kl()
step often  = inspect sae[0..15] by density() on d.clean
step writes = inspect sae[0..15] by logits(top=3)
step near   = inspect features(sae) by nearest(top=2)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    place = tmp_path_factory.mktemp("features")
    path = place / "x.interp"
    path.write_text(TEXT)
    return RunFolder(interp_dsl.run(path, runs=place, device="cpu").path)


def test_losses_are_those_that_ablate_measures(run: RunFolder) -> None:
    """Prompts on which a feature is not on lose nothing; every other token counts once, in one
    mean or the other."""
    lost, off = run.read_table("lost"), run.read_table("off")
    values = run.read_tensors("off")
    changes = (values["value"] - values["base"]).astype(float)
    is_loss = (off["metric"] == "loss").to_numpy()
    known = dict(zip(off["index"].to_numpy()[is_loss], changes[is_loss], strict=True))
    length = run.read_table("often")["n"][0] / 24  # tokens that a prompt predicts
    for row in lost.to_dicts():
        total = row["n"] * row["loss"] + row["n_after"] * row["after"]
        assert total == pytest.approx(float(known[row["feature"]].sum()) * length, rel=2e-3)
    assert lost["n"].min() > 0 and lost["after"].abs().max() > 1e-4


def test_a_second_run_takes_all_over(run: RunFolder) -> None:
    place = run.path.parent
    again = RunFolder(interp_dsl.run(place / "x.interp", runs=place, device="cpu").path)
    for step in ("lost", "writes", "near"):
        assert again.read_table(step).equals(run.read_table(step))
        assert "taken_from" in again.step_facts(step)
    np.testing.assert_array_equal(
        again.read_tensors("writes")["histogram"], run.read_tensors("writes")["histogram"]
    )
