"""A sweep of a trained model against transformer_lens.patching, cell by cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from transformer_lens import patching

from interp_dsl.data.build import build
from interp_dsl.models.load import load
from interp_dsl.plan.algebra import Explicit, FromRun
from interp_dsl.plan.places import ALL, EACH, Unit

from .plans import CORRUPT, LAST, run, sweep_plan, unit


def test_sweeps_equal_transformer_lens(tmp_path: Path) -> None:
    model = load({"kind": "bundled", "name": "induction-2l"}, "cpu")
    spec = {"kind": "repeated_tokens", "pairs": 4, "half": 8, "seed": 0}
    data = build("d", spec, model.facts)
    clean, corrupt = (torch.from_numpy(s.tokens) for s in data.sides.values())
    rows, read = torch.arange(data.n), torch.from_numpy(data.sides["clean"].read)
    assert data.answers and data.wrongs
    right, wrong = (
        torch.tensor([a.alternatives[0][0] for a in held]) for held in (data.answers, data.wrongs)
    )

    def gap(logits: torch.Tensor) -> torch.Tensor:
        at = logits[rows, read]
        return (at[rows, right] - at[rows, wrong]).mean()

    heads = Explicit(tuple(unit("head", i, h) for i in (0, 1) for h in range(4)))
    streams = Explicit(tuple(unit("resid_pre", i, None, EACH) for i in (0, 1)))
    _, cache = model.bridge.run_with_cache(corrupt)
    for units, theirs in (
        (heads, patching.get_act_patch_attn_head_out_all_pos),
        (streams, patching.get_act_patch_resid_pre),
    ):
        ran = run(sweep_plan(units, FromRun(CORRUPT), rows=50), model, tmp_path, d=data)
        wanted = theirs(model.bridge, clean, cache, gap)
        np.testing.assert_allclose(ran.table["value"], wanted.flatten(), atol=1e-4)

    whole = [
        unit("hook", None, None, ALL, "blocks.1.attn.hook_z"),
        Unit(tuple(unit("z", 1, h).targets[0] for h in range(4))),
        unit("hook", None, None, LAST, "blocks.1.hook_resid_pre"),
        unit("resid_pre", 1, None, LAST),
    ]
    ran = run(sweep_plan(Explicit(tuple(whole)), FromRun(CORRUPT)), model, tmp_path, d=data)
    assert np.abs(ran.table["effect"]).min() > 0.01
    np.testing.assert_allclose(ran.values[::2], ran.values[1::2], atol=1e-5)
