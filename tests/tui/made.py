"""Run folders in every state, made by hand from what runs/ documents: no engine had a part."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from interp_dsl.plan.algebra import Literal
from interp_dsl.plan.tasks import Claim, Plan
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.schema import score_table

WHEN = datetime(2026, 11, 20, 10, 15, 0)
START = WHEN.timestamp()
N = 32
VERSIONS = {"interp-dsl": "0.1.0", "python": "3.11.7", "torch": "2.13.0"}
TEXT = """# Which heads continue a repeated sequence?
model   m       = bundled("induction-2l")
dataset repeats = repeated_tokens(pairs=32, half=24, seed=0)
metric  gap     = logit_diff()

step noising = patch heads from repeats.corrupt into repeats.clean measure gap, kl()
step circuit = search edges by acdc(threshold=0.1)
  from repeats.corrupt into repeats.clean measure gap

expect noising[L0H0].gap < 0
expect noising[L1H3].gap > 0
"""
TASKS = [
    {"id": "model:m", "kind": "LoadModel", "step": None, "total": None},
    {"id": "data:repeats", "kind": "BuildData", "step": None, "total": None},
    {"id": "forward:1", "kind": "Forward", "step": None, "total": None},
    {"id": "forward:2", "kind": "Forward", "step": None, "total": None},
    {"id": "sweep:noising", "kind": "Sweep", "step": "noising", "total": None},
    {"id": "search:circuit", "kind": "Search", "step": "circuit", "total": None},
]
HOSTILE = "[red]L0H0[/] \x1b[31m\u202e\n[@click=app.quit]x[/]"


def begun(root: Path, stem: str = "induction", when: datetime = WHEN) -> RunFolder:
    """A folder with text and plan, and nothing done."""
    folder = RunFolder.create(root, stem, when)
    folder.write_experiment(TEXT)
    claims = tuple(
        Claim(text, Literal(True)) for text in ("noising[L0H0].gap < 0", "noising[L1H3].gap > 0")
    )
    folder.write_plan(Plan((), claims, params=(("size", 8),)))
    folder.update_manifest(file="/experiments/induction.interp", params={"size": 8})
    return folder


class Writer:
    """Appends events whose times count up from START, whatever the clock says."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder, self.now = folder, START

    def __call__(self, kind: str, after: float = 0.1, **fields: Any) -> None:
        self.now += after
        line = json.dumps({"time": round(self.now, 3), "event": kind, **fields})
        with self.folder.log.path.open("a", encoding="utf-8") as log:
            log.write(line + "\n")


def worked(folder: RunFolder, shards: int = 3) -> Writer:
    """Events of a run that is in the middle of its first step."""
    tell = Writer(folder)
    tell("run_started", tasks=TASKS, resumed=False)
    tell("imported", what=["torch"], seconds=2.5)
    tell("task_started", task="model:m", step=None, total=None)
    tell("task_finished", 1.25, task="model:m", step=None, seconds=1.25, memory=None, reused=False)
    tell("task_started", task="data:repeats", step=None, total=None)
    end = {"step": None, "memory": 3_000_000, "reused": False}
    tell("task_finished", task="data:repeats", seconds=0.1, **end)
    for number in (1, 2):
        tell("task_started", task=f"forward:{number}", step=None, total=N)
        tell("progress", task=f"forward:{number}", done=N, total=N)
        tell("task_finished", task=f"forward:{number}", seconds=0.2, **end)
    tell("task_started", task="sweep:noising", step="noising", total=8)
    for done in range(1, shards + 1):
        tell("progress", 0.5, task="sweep:noising", done=done, total=8)
        rows = [row for row in scores() if row["metric"] == "gap"][:done]
        keys = ("unit", "metric", "effect", "low", "high")
        leading = sorted(rows, key=lambda row: -abs(row["effect"]))
        tell("top", step="noising", rows=[{k: row[k] for k in keys} for row in leading])
    return tell


def scores(shift: float = 0.0) -> list[dict[str, Any]]:
    """Eight heads, two metrics; `shift` moves the effects on `gap`."""
    effects = (-20.25, -5.18, 0.0, -0.02, -9.58, -7.8, -7.76, 6.11)
    rows = []
    for metric, scale in (("gap", 1.0), ("kl", 0.125)):
        for i, found in enumerate(effects):
            effect = found * scale + (shift if metric == "gap" else 0.0)
            rows.append(
                {
                    "unit": f"L{i // 4}H{i % 4}",
                    "layer": i // 4,
                    "head": i % 4,
                    "position": "all",
                    "metric": metric,
                    "base": 18.9,
                    "value": 18.9 + effect,
                    "effect": effect,
                    "normalized": effect / -31.25 if metric == "gap" else None,
                    "low": effect - 1.5,
                    "high": effect + 1.25,
                    "n": N,
                    "skipped": False,
                }
            )
    return rows


def write_noising(folder: RunFolder, shift: float = 0.0, step: str = "noising") -> None:
    held = scores(shift)
    spread = np.sin(np.arange(N))
    values = np.array([row["value"] for row in held])[:, None] + spread
    folder.write_table(step, score_table(held))
    folder.write_tensors(step, {"base": np.full((len(held), N), 18.9), "value": values})
    folder.finish_step(step, f"key of {step}")


def write_circuit(folder: RunFolder) -> None:
    edges = [("embed", "L0H1", "v"), ("L0H1", "L1H0", "k"), ("L1H0", "logits", "logits")]
    table = {
        "source": [e[0] for e in edges],
        "target": [e[1] for e in edges],
        "channel": [e[2] for e in edges],
        "kept": [True, True, False],
        "order": [3, 2, 1],
        "effect": [None, None, None],
        "score": [0.5, 0.25, 0.0625],
        "margin": [0.4, 0.15, -0.0375],
        "evaluated": [True, True, True],
    }
    types = {"effect": pl.Float64()}
    folder.write_table("circuit", pl.DataFrame(table, schema_overrides=types))
    folder.finish_step("circuit", "key of circuit")


CLAIMS = [
    {"text": "noising[L0H0].gap < 0", "ok": True, "value": -20.25, "low": -21.75, "high": -19.0}
    | {"message": "", "file": "induction.interp", "line": 9},
    {"text": "noising[L1H3].gap > 10", "ok": False, "value": 6.11, "low": 4.61, "high": 7.36}
    | {"message": "noising[L1H3].gap is 6.11", "file": "induction.interp", "line": 10},
]


def done(root: Path, when: datetime = WHEN, shift: float = 0.0) -> RunFolder:
    """A run that ended well: a step's scores, a circuit, one claim true and one false."""
    folder = begun(root, when=when)
    assert folder.acquire()
    tell = worked(folder, shards=8)
    end: dict[str, Any] = {"memory": 48_000_000, "reused": False}
    tell("task_finished", task="sweep:noising", step="noising", seconds=4.0, **end)
    write_noising(folder, shift)
    tell("task_started", task="search:circuit", step="circuit", total=40)
    for judged in range(1, 41):
        about = {"threshold": 0.1, "done": judged, "total": 40, "kept": 42 - judged}
        tell("edges", step="circuit", score=1.0 - judged**2 / 4000, **about)
        tell("progress", 0.05, task="search:circuit", done=judged, total=40)
    tell("task_finished", task="search:circuit", step="circuit", seconds=6.0, **end)
    write_circuit(folder)
    for claim in CLAIMS:
        tell("claim", **claim)
    folder.write_claims(CLAIMS)
    tell("run_finished", status="done", seconds=12.5, imports=2.5)
    folder.release("done")
    return _settled(folder)


def running(root: Path) -> RunFolder:
    """A run in its first step, written by this process; `release` it."""
    folder = begun(root)
    assert folder.acquire()
    folder.update_manifest(pid=4242, host="gpu-07", versions=VERSIONS)
    worked(folder)
    return folder


def died(root: Path) -> RunFolder:
    """A run whose process is gone."""
    folder = running(root)
    folder.log.close()
    folder._lock.release()
    return folder


def failed(root: Path) -> RunFolder:
    """A run that ran out of memory."""
    folder = running(root)
    tell = Writer(folder)
    tell.now = START + 9
    found = {"code": "E642", "message": "the device has no memory left for one row"}
    more = {"notes": ["step noising, line 6"], "help": "give it fewer pairs"}
    tell("failed", diagnostics=[found | more])
    tell("run_finished", status="failed", seconds=3.5, imports=2.5)
    folder.release("failed")
    return _settled(folder)


def empty(root: Path) -> RunFolder:
    """A run that has not begun."""
    return begun(root)


def huge(root: Path, rows: int = 100_000) -> RunFolder:
    """A finished run with a table of so many rows."""
    folder = begun(root, "huge")
    assert folder.acquire()
    at = np.arange(rows)
    effect = np.sin(at * 0.37) * np.exp(-(at % 997) / 200)
    layer, head = at % 48, at // 48 % 64
    table = pl.DataFrame(
        {
            "unit": [f"L{a}H{b}" for a, b in zip(layer.tolist(), head.tolist(), strict=True)],
            "layer": layer,
            "head": head,
            "index": pl.Series([None] * rows, dtype=pl.Int64),
            "position": [str(p) for p in (at // (48 * 64)).tolist()],
            "metric": ["gap"] * rows,
            "base": np.full(rows, 3.0),
            "value": 3.0 + effect,
            "effect": effect,
            "normalized": effect / -2.5,
            "low": effect - 0.25,
            "high": effect + 0.25,
            "n": np.full(rows, N),
            "skipped": np.zeros(rows, dtype=bool),
        }
    )
    folder.write_table("sweep", table)
    folder.finish_step("sweep", "key of sweep")
    tell = Writer(folder)
    tell("run_started", tasks=[{"id": "sweep:sweep", "kind": "Sweep", "step": "sweep"}])
    tell("task_finished", task="sweep:sweep", step="sweep", seconds=60.0, reused=False)
    tell("run_finished", status="done", seconds=61.0, imports=2.5)
    folder.release("done")
    return _settled(folder)


def hostile(root: Path) -> RunFolder:
    """A run whose data tries to steer the terminal and the markup."""
    folder = begun(root, "hostile")
    assert folder.acquire()
    rows = scores()
    for row in rows:
        row["unit"] = f"{HOSTILE}{row['unit']}"
        row["metric"] = f"[bold]{row['metric']}"
    folder.write_table("noising", score_table(rows))
    folder.finish_step("noising", "key")
    tell = worked(folder)
    short = {k: rows[0][k] for k in ("unit", "metric", "effect", "low", "high")}
    tell("top", step="[b]noising", rows=[short])
    tell("note", text=f"a note {HOSTILE}")
    tell("claim", text=f"claim {HOSTILE}", ok=False, value=None, low=None, high=None, message="")
    tell("failed", diagnostics=[{"code": None, "message": HOSTILE, "notes": [HOSTILE]}])
    tell("run_finished", status="failed", seconds=1.0)
    folder.release("failed")
    return _settled(folder)


def _settled(folder: RunFolder) -> RunFolder:
    """Times of the manifest that do not depend on when it was made."""
    about = {"started": None, "finished": None, "pid": 4242, "host": "gpu-07"}
    folder.update_manifest(**about, versions=VERSIONS)
    return folder


STATES: dict[str, Callable[[Path], RunFolder]] = {
    "empty": empty,
    "running": running,
    "failed": failed,
    "died": died,
    "done": done,
    "huge": huge,
    "hostile": hostile,
}
