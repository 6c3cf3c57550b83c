"""Changes along a direction from the text to the tables: estimates, verified ones, and patches. The
model has no norms, so that what leads to its logits is linear and an estimate exact."""

from __future__ import annotations

from pathlib import Path

import pytest

import interp_dsl

OVER = "from d.corrupt into d.clean along told, other measure gap"
PROGRAM = f"""
model m = bundled("induction-2l")
dataset d = repeated_tokens(pairs=6, half=8)
metric gap = logit_diff()
let told  = mean(L0.resid_post of d.clean at END) - mean(L0.resid_post of d.corrupt at B1)
let other = mean(L1.resid_post of d.corrupt at END)
units some = heads layers 0
step ends  = attribute heads -> logits by eap(verify=top(3)) {OVER}
step ended = patch heads -> logits {OVER}
step quick = attribute edges by eap(verify=top(80)) {OVER}
step whole = patch edges {OVER}
step heads1 = attribute heads layers 1 by atp() {OVER}
step site1 = attribute heads layers 1 by ig(steps=2, at=site) {OVER}
step exact = patch heads layers 1 {OVER}
step free  = patch heads -> logits from d.corrupt into d.clean measure gap
"""


def test_estimates_and_patches_along_a_direction(tmp_path: Path) -> None:
    (tmp_path / "x.interp").write_text(PROGRAM)
    run = interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "run")

    def scores(step: str, column: str = "effect") -> dict[str, float]:
        rows = run.scores(step)
        return dict(zip(rows["unit"], rows[column], strict=True))

    ended, free = scores("ended"), scores("free")
    assert scores("ends") == pytest.approx(ended, abs=1e-4)
    assert max(abs(ended[unit] - free[unit]) for unit in ended) > 0.1
    assert max(map(abs, ended.values())) > 0.1
    verified = {unit: v for unit, v in scores("quick", "verified").items() if v is not None}
    whole = scores("whole")
    assert len(verified) == 80
    for unit, effect in verified.items():
        assert effect == pytest.approx(whole[unit], abs=1e-4), unit
    for step in ("heads1", "site1"):
        assert scores(step) == pytest.approx(scores("exact"), abs=1e-4)
