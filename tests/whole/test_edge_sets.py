"""Some of a model's edges from the text to the tables: what all of them have; the rest stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import interp_dsl

PROGRAM = """
model m = bundled("induction-2l")
dataset d = repeated_tokens(pairs=6, half=8)
metric gap = logit_diff()
units every_ = edges
units some   = {embed -> (heads layers 0), L0H0 -> {L1H0, L1H1.k, logits}} | (L1H0 -> logits)
step whole  = patch edges from d.corrupt into d.clean measure gap
step all_in = attribute edges by eap() from d.corrupt into d.clean measure gap
step quick  = attribute some by eap(verify=top(3)) from d.corrupt into d.clean measure gap
units large  = edges where whole.gap.effect < -1
step strong = attribute large by eap() from d.corrupt into d.clean measure gap
step inner  = patch edges layers 0..1 from d.corrupt into d.clean measure gap
step plain  = search edges by acdc(threshold=0.1) from d.corrupt into d.clean measure kl()
step same   = search every_ by acdc(threshold=0.1) from d.corrupt into d.clean measure kl()
step found  = search some by acdc(threshold=[0.05, 0.3]) from d.corrupt into d.clean measure kl()
step best   = search some by top_edges(by=quick, n=5) from d.corrupt into d.clean measure kl()
step fewer  = search large by greedy(n=2) from d.corrupt into d.clean measure kl()
step check  = evaluate best on d.clean with d.corrupt measure kl(), faithfulness()
"""


def test_some_edges(tmp_path: Path) -> None:
    (tmp_path / "x.interp").write_text(PROGRAM)
    run = interp_dsl.run(tmp_path / "x.interp", out=tmp_path / "run")

    def scores(step: str, column: str = "effect") -> dict[str, float]:
        rows = run.scores(step)
        return dict(zip(rows["unit"], rows[column], strict=True))

    whole, estimates, some = scores("whole"), scores("all_in"), scores("quick")
    assert len(estimates) == len(whole) == 81 and len(some) == 4 * 3 + 3 + 1 + 1 + 1
    for step in ("quick", "strong"):
        for unit, effect in scores(step).items():
            assert effect == pytest.approx(estimates[unit], abs=1e-6)
    assert set(scores("strong")) == {unit for unit, effect in whole.items() if effect < -1}
    verified = {unit: v for unit, v in scores("quick", "verified").items() if v is not None}
    assert len(verified) == 3
    for unit, effect in verified.items():
        assert effect == pytest.approx(whole[unit], abs=1e-4)
    assert set(scores("inner")) == {u for u in whole if "embed" not in u and "logits" not in u}

    plain, same = run.scores("plain"), run.scores("same")
    assert plain.equals(same)
    for step, n in (("found", 2), ("best", 1), ("fewer", 1)):
        table = run.scores(step)
        names = np.array([*map(edge, table.iter_rows(named=True))])
        searched = np.isin(names, [*(some if step != "fewer" else scores("strong"))])
        assert len(table) == 81 * n
        kept = table["kept"].to_numpy()
        assert kept[~searched].all() and 0 < kept[searched].sum() < searched.sum()
        assert not table["evaluated"].to_numpy()[~searched].any()
        for column in ("order", "effect", "score", "margin"):
            assert table[column].is_null().to_numpy()[~searched].all()
    assert run.circuit("best").size == 81 - len(some) + 5
    assert run.circuit("best").method.options["among"] == len(some)
    assert run.circuit("fewer").size == 81 - len(scores("strong")) + 2


def edge(row: dict[str, str]) -> str:
    dot = f".{row['channel']}" if row["channel"] in "qkv" else ""
    return f"{row['source']} -> {row['target']}{dot}"
