"""A run with all that maps, circuit and prompt show, made by hand from the documented schema."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from interp_dsl.plan.algebra import Finding, FromRun, Metric, MetricCall, Run
from interp_dsl.plan.tasks import CircuitOf, EvaluateCircuit, Plan
from interp_dsl.runs.circuit import Circuit
from interp_dsl.runs.circuit_file import circuit_path
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.schema import score_table
from tests.runs.circuits import INDUCTION, circuit
from tests.tui.made import WHEN, Writer

Arrays = dict[str, NDArray[Any]]
WORDS = [
    "<bos>", "When", " Mary", " and", " John", " went", ",", " gave", " to", " Anna", " the", "\n",
]  # fmt: skip
CLEAN = [[0, 1, 2, 3, 4, 5, 6, 4, 7, 8], [0, 1, 4, 3, 9, 5, 6, 9, 7, 8]]
CORRUPT = [[0, 1, 2, 3, 4, 5, 6, 9, 7, 8], [0, 1, 4, 3, 9, 5, 6, 2, 7, 8]]
LABELS = {"IO": (2, 3), "S1": (4, 5), "S2": (7, 8), "END": (9, 10)}
ANSWERS, WRONGS = [[2], [4]], [[4], [9]]
N_LAYERS, N_HEADS, N, TOP = 3, 4, 32, 5


def vocabulary(words: Sequence[str] = WORDS) -> Arrays:
    """Texts of tokens as runs keep them."""
    data = [word.encode() for word in words]
    return {
        "vocabulary": np.arange(len(words), dtype=np.int32),
        "vocabulary.text": np.frombuffer(b"".join(data), dtype=np.uint8),
        "vocabulary.end": np.cumsum([len(word) for word in data]),
    }


def side(name: str, tokens: Sequence[Sequence[int]], seed: int, patterns: bool = True) -> Arrays:
    """One side of the pairs: top logits and attention are drawn."""
    rng, ids = np.random.default_rng(seed), np.array(tokens)
    n, width = ids.shape
    top = np.stack([[rng.permutation(len(WORDS))[:TOP] for _ in range(width)] for _ in range(n)])
    held: Arrays = {
        f"{name}.tokens": ids,
        f"{name}.lengths": np.full(n, width),
        f"{name}.read": np.full(n, width - 1),
        f"{name}.top_ids": top.astype(np.int32),
        f"{name}.top_logits": -np.sort(-rng.normal(5, 4, (n, width, TOP))).astype(np.float16),
    }
    held |= {f"{name}.label.{label}": np.tile(at, (n, 1)) for label, at in LABELS.items()}
    for layer in range(N_LAYERS) if patterns else ():
        drawn = np.tril(rng.exponential(size=(n, N_HEADS, width, width)) ** 3)
        drawn /= drawn.sum(-1, keepdims=True)
        held[f"{name}.pattern.{layer}"] = drawn.astype(np.float16)
    return held


def write_pairs(folder: RunFolder, patterns: bool = True, texts: bool = True) -> Arrays:
    held = side("clean", CLEAN, 0, patterns) | side("corrupt", CORRUPT, 1, patterns)
    held |= {"answer": np.array(ANSWERS), "wrong": np.array(WRONGS)}
    held |= vocabulary() if texts else {}
    folder.write_tensors("pairs.ioi", held)
    return held


def recording(tokens: Sequence[Sequence[int]], layer: int, seed: int = 5) -> Arrays:
    """What `record patterns layers LAYER` keeps of prompts."""
    rng, ids = np.random.default_rng(seed), np.array(tokens)
    n, width = ids.shape
    held: Arrays = {"tokens": ids, "lengths": np.full(n, width)}
    for head in range(N_HEADS):
        drawn = np.tril(rng.exponential(size=(n, width, width)))
        held[f"L{layer}H{head}.pattern"] = (drawn / drawn.sum(-1, keepdims=True)).astype("float32")
        held[f"L{layer}H{head}.pattern.positions"] = np.tile(np.arange(width), (n, 1))
    return held


def heads(positions: Sequence[str] = ("END",), scale: float = 1.0) -> list[dict[str, Any]]:
    """Scores of all heads at positions, for two metrics."""
    rng = np.random.default_rng(7)
    rows = []
    for metric, unit in (("gap", 1.0), ("kl", 0.1)):
        for position in positions:
            for at in range(N_LAYERS * N_HEADS):
                layer, head = divmod(at, N_HEADS)
                effect = round(float(rng.normal() ** 3) * scale * unit, 4)
                rows.append(_row(f"L{layer}H{head}", layer, head, position, metric, effect))
    return rows


def _row(
    unit: str, layer: int, head: int | None, position: str, metric: str, effect: float
) -> dict[str, Any]:
    bounds = {"low": effect - 0.25, "high": effect + 0.25, "n": N, "skipped": False}
    more = {"base": 10.0, "value": 10.0 + effect, "effect": effect, "normalized": effect / -12}
    place = {"unit": unit, "layer": layer, "head": head, "position": position, "metric": metric}
    return {**place, **more, **bounds}


def stream() -> list[dict[str, Any]]:
    """Scores of the residual stream at labels; nothing at S1."""
    rows = []
    for layer in range(N_LAYERS):
        for position, effect in (("S2", -1.5), ("END", 0.5 - 4.0 * layer)):
            rows.append(_row(f"L{layer}.resid_post", layer, None, position, "gap", effect))
    return rows


def write_circuits(folder: RunFolder) -> None:
    """`circuit`, of ACDC, and `sizes`, for two thresholds with their faithfulness in `curve`."""
    whole = circuit(INDUCTION)
    _write_circuit(folder, "circuit", {None: whole})
    small = whole.table.with_columns(kept=pl.col("effect") > 0.3)
    found = {0.02: whole, 0.3: circuit(small, thresholds=(0.3,))}
    _write_circuit(folder, "sizes", found)
    values = {0.02: 0.96875, 0.3: 0.75}
    rows = [
        {"unit": "circuit", "position": "all", "metric": "faithfulness", "value": y}
        | {"low": y - 0.0625, "high": y + 0.03125, "n": N, "threshold": threshold}
        for threshold, y in values.items()
    ]
    folder.write_table("curve", score_table(rows, {"threshold": "number"}))


def _write_circuit(folder: RunFolder, step: str, found: dict[float | None, Circuit]) -> None:
    tables = []
    for threshold, one in found.items():
        one.save(circuit_path(folder.path, step, threshold))
        more = [] if threshold is None else [pl.lit(threshold).alias("threshold")]
        tables.append(one.table.with_columns(more))
    folder.write_table(step, pl.concat(tables))


def plan() -> Plan:
    run, gap = Run("model:m", "data:ioi", "clean"), Metric("gap", MetricCall("logit_diff"))
    finding = (Finding("faithfulness", gap, "faithfulness"),)
    of = CircuitOf("sizes", (0.02, 0.3))
    return Plan((EvaluateCircuit("e:curve", "curve", of, run, FromRun(run), finding, run),))


STEPS = ("noising", "stream", "circuit", "sizes", "curve")


def bare(root: Path, stem: str = "viewed") -> RunFolder:
    """A finished run with nothing in it."""
    folder = RunFolder.create(root, stem, WHEN)
    folder.write_experiment("# made by hand\n")
    folder.write_plan(plan())
    return folder


def ended(folder: RunFolder, *steps: str) -> RunFolder:
    """The same with its steps finished and its process gone."""
    tell = Writer(folder)
    tell("run_started", tasks=[{"id": s, "kind": "Sweep", "step": s} for s in steps])
    for step in steps:
        tell("task_finished", task=step, step=step, seconds=1.0, memory=None, reused=False)
        folder.finish_step(step, f"key of {step}")
    tell("run_finished", status="done", seconds=5.0, imports=1.0)
    folder.update_manifest(status="done", pid=4242, host="gpu-07")
    return folder


def viewed(root: Path) -> RunFolder:
    folder = bare(root)
    folder.write_table("noising", score_table(heads()))
    folder.write_table("stream", score_table(stream()))
    write_circuits(folder)
    write_pairs(folder)
    return ended(folder, *STEPS)
