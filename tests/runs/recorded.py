"""Run folders made by hand, as an engine would leave them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from interp_dsl.plan.tasks import Plan
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.schema import score_table

WHEN = datetime(2026, 11, 20, 10, 15, 0)
EFFECTS = {
    (0, 0): -1.25,
    (0, 1): -0.5,
    (0, 2): 0.0625,
    (0, 3): 0.0,
    (1, 0): 0.75,
    (1, 1): -0.125,
}
N = 4


def rows(shift: float = 0.0) -> list[dict[str, Any]]:
    """Two metrics of six heads; `shift` is added to every effect of `gap`."""
    found = []
    for metric, scale, moved in (("gap", 1.0, shift), ("kl", 0.1, 0.0)):
        for (layer, head), effect in EFFECTS.items():
            value = effect * scale + moved
            row = {"unit": f"L{layer}H{head}", "layer": layer, "head": head, "position": "all"}
            numbers = {"base": 3.0, "value": 3.0 + value, "effect": value}
            bounds = {"low": value - 0.25, "high": value + 0.25, "n": N}
            normal = {"normalized": value / -2.5 if metric == "gap" else None}
            found.append({**row, "metric": metric, **numbers, **bounds, **normal})
    return found


def record(root: Path, when: datetime = WHEN, shift: float = 0.0) -> RunFolder:
    """A finished run `ioi` with a sweep, an evaluation and a circuit's edges."""
    folder = RunFolder.create(root, "ioi", when)
    assert folder.acquire()
    folder.write_experiment('model m = bundled("ioi-3l")\n')
    folder.write_plan(Plan((), params=(("size", 8),)))
    folder.update_manifest(params={"size": 8}, device="cpu")
    write_noising(folder, shift)
    values = [
        {"unit": "circuit", "position": "all", "metric": name, "value": value, "n": N}
        for name, value in (("faithfulness", 0.9375), ("completeness", 0.5))
    ]
    folder.write_table("check", score_table(values))
    edges = {"source": ["embed", "L0H1"], "target": ["L0H1", "logits"], "score": [0.5, 0.25]}
    folder.write_table("circuit", pl.DataFrame(edges))
    for step in ("noising", "check", "circuit"):
        folder.finish_step(step, f"key of {step}")
    folder.write_claims(claims())
    folder.event("run_finished", status="done", seconds=1.5)
    folder.release("done")
    return folder


def write_noising(folder: RunFolder, shift: float) -> None:
    held = rows(shift)
    steps = np.array([-0.5, -0.25, 0.25, 0.5])
    values = np.array([row["value"] for row in held])[:, None] + steps
    folder.write_table("noising", score_table(held))
    folder.write_tensors("noising", {"base": np.full((len(held), N), 3.0), "value": values})


def claims() -> list[dict[str, Any]]:
    return [
        {
            "text": "noising[L0H0].gap < 0",
            "ok": True,
            "value": -1.25,
            "low": -1.5,
            "high": -1.0,
            "message": "",
            "file": "ioi.interp",
            "line": 9,
        },
        {
            "text": "check.faithfulness.value >= 0.95",
            "ok": False,
            "value": 0.9375,
            "low": None,
            "high": None,
            "message": "check.faithfulness.value is 0.9375",
            "file": "ioi.interp",
            "line": 10,
        },
    ]
