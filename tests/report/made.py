"""Run folders written file by file, as the documentation says what they hold: no writer of the
package has a hand in them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from safetensors.numpy import save_file

TEXT = """\
# Which heads matter?
model   m    = bundled("ioi-3l")
dataset ioi  = task("ioi-3l", n=8)
metric  gap  = logit_diff()

step who  = patch heads from ioi.corrupt into ioi.clean
            measure gap, kl()
step flow = patch resid_post at S2, END from ioi.corrupt into ioi.clean measure gap
step wire = search edges by acdc(threshold=0.1) from ioi.corrupt into ioi.clean measure kl()
step test = evaluate wire on ioi measure faithfulness(), gap

expect who[L0H1].gap < -1
expect test.faithfulness > 0.95
"""
NUMBERS = ("base", "value", "effect", "normalized", "low", "high")
EFFECTS = {(0, 0): 0.5, (0, 1): -2.0, (1, 0): 0.0, (1, 1): 1.0}
EDGES = [
    ("embed", "L0H1", "v", True, 0.25),
    ("L0H1", "L1H0", "k", True, -0.75),
    ("L0H1", "L1H0", "q", False, 0.01),
    ("L1H0", "logits", "logits", True, 0.5),
]


def score(unit: str, metric: str, effect: float | None, **more: Any) -> dict[str, Any]:
    """A row with the documented columns; an effect has an interval half a unit wide."""
    row: dict[str, Any] = {
        "unit": unit, "layer": None, "head": None, "index": None, "position": "all",
        "metric": metric, "base": 3.0, "value": None, "effect": effect, "normalized": None,
        "low": None, "high": None, "n": 8, "skipped": False,
    }  # fmt: skip
    if effect is not None:
        row |= {"value": 3 + effect, "low": effect - 0.25, "high": effect + 0.25}
    return row | more


def frame(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    types: dict[str, Any] = dict.fromkeys(NUMBERS, pl.Float64)
    types |= dict.fromkeys(("layer", "head", "index", "n"), pl.Int64)
    types |= dict.fromkeys(("unit", "position", "metric"), pl.String)
    return pl.DataFrame(rows, schema_overrides=types, infer_schema_length=None)


def heads() -> pl.DataFrame:
    return frame(
        [
            score(f"L{layer}H{head}", metric, effect * scale, layer=layer, head=head)
            for metric, scale in (("gap", 1.0), ("kl", 0.1))
            for (layer, head), effect in EFFECTS.items()
        ]
    )


def streams() -> pl.DataFrame:
    places = [(layer, at) for layer in (0, 1) for at in ("S2", "END")]
    return frame(
        [
            score(f"L{n}.resid_post", "gap", 1.5 * i - 2, layer=n, position=at, skipped=i == 3)
            for i, (n, at) in enumerate(places)
        ]
    )


def edges() -> pl.DataFrame:
    names = ("source", "target", "channel", "kept", "effect")
    rows = [
        dict(zip(names, edge, strict=True)) | {"order": i, "score": 0.1, "margin": 0.2}
        for i, edge in enumerate(EDGES)
    ]
    order = (*names[:4], "order", "effect", "score", "margin")
    return pl.DataFrame([{k: r[k] for k in order} | {"evaluated": True} for r in rows])


def circuit_json() -> dict[str, Any]:
    print_of = {"name": "ioi-3l", "sha256": "ab" * 32}
    return {
        "format": "interp circuit", "version": 1, "model": print_of, "data": None,
        "graph": {"n_layers": 2, "n_heads": 2, "n_edges": 30},
        "method": {"name": "acdc", "options": {}}, "thresholds": [0.1], "metric": "kl",
        "ablation": "ioi.corrupt", "edges": edges().to_dicts(),
    }  # fmt: skip


def vocabulary(texts: dict[int, str]) -> dict[str, np.ndarray[Any, Any]]:
    """The texts of tokens as a run keeps them."""
    said = [text.encode() for text in texts.values()]
    return {
        "vocabulary": np.array(list(texts), np.int32),
        "vocabulary.text": np.frombuffer(b"".join(said), np.uint8),
        "vocabulary.end": np.cumsum([len(text) for text in said]).astype(np.int64),
    }


def pairs(path: Path, label: str = "S2", texts: dict[int, str] | None = None) -> None:
    """Two pairs of five tokens, the second of four; they differ at the third. The answer is token
    0, a wrong one 2."""
    clean = np.array([[0, 5, 6, 7, 8], [0, 6, 5, 7, 1]])
    corrupt = clean.copy()
    corrupt[:, 2] = 9
    lengths = np.array([5, 4])
    held: dict[str, np.ndarray[Any, Any]] = {}
    rng = np.random.default_rng(0)
    for side, tokens in (("clean", clean), ("corrupt", corrupt)):
        held |= {f"{side}.tokens": tokens, f"{side}.lengths": lengths, f"{side}.read": lengths - 1}
        held[f"{side}.label.{label}"] = np.array([[2, 3], [2, 3]])
        held[f"{side}.top_ids"] = np.tile(np.arange(10, dtype=np.int32), (2, 5, 1))
        held[f"{side}.top_logits"] = np.tile(np.linspace(9, 0, 10).astype(np.float16), (2, 5, 1))
        for layer in range(2):
            raw = rng.random((2, 3, 5, 5))
            held[f"{side}.pattern.{layer}"] = (raw / raw.sum(-1, keepdims=True)).astype(np.float16)
    held["answer"], held["wrong"] = np.array([[0], [0]]), np.array([[2, -1], [2, -1]])
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(held | (vocabulary(texts) if texts else {}), path)


CLAIMS: list[dict[str, Any]] = [
    {"text": "who[L0H1].gap < -1", "ok": True, "value": -2.0, "low": -2.25, "high": -1.75,
     "message": "who[L0H1].gap is -2 [-2.25, -1.75]", "file": "examples/made.interp", "line": 12},
    {"text": "test.faithfulness > 0.95", "ok": False, "value": 0.9, "low": None, "high": None,
     "message": "test.faithfulness is 0.9", "file": "examples/made.interp", "line": 13},
]  # fmt: skip


def write(folder: Path, **manifest: Any) -> Path:
    """A whole run: two sweeps, a search, an evaluation, pairs, claims; no plan."""
    folder.mkdir(parents=True)
    (folder / "experiment.interp").write_text(TEXT)
    about = {
        "stem": "made", "status": "done", "created": "2026-11-20T10:15:00.5",
        "file": "/home/u/made.interp", "params": {"size": 8},
        "seeds": {"bootstrap": 3, "ioi": 0}, "device": "cpu",
        "versions": {"python": "3.11.7", "torch": None},
        "models": {"m": {"fingerprint": "ab" * 32, "executor": "compiled", "difference": 5.27e-7,
                         "remark": None}},
        "data": {"ioi": {"fingerprint": "cd" * 32, "n": 8},
                 "told": {"dataset": "someone/stories", "config": "small", "split": "test",
                          "revision": "ab12"},
                 "mine": {"dataset": "/home/u/mine", "revision": None}},
        "seconds": {"imports": 1.5, "work": 0.25},
        "steps": {name: {"key": f"key of {name}"} for name in ("who", "flow", "wire", "test")},
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(about | manifest))
    (folder / "claims.json").write_text(json.dumps(CLAIMS))
    (folder / "events.jsonl").write_text('{"time": 1, "event": "note", "text": "kept 2 pairs"}\n')
    tables = folder / "tables"
    tables.mkdir()
    heads().write_parquet(tables / "who.parquet")
    streams().write_parquet(tables / "flow.parquet")
    edges().write_parquet(tables / "wire.parquet")
    (folder / "wire.circuit.json").write_text(json.dumps(circuit_json()))
    values = [("faithfulness", 0.9), ("gap", 2.5)]
    frame(
        [score("circuit", name, None, value=v, low=v - 0.1, high=v + 0.1) for name, v in values]
    ).write_parquet(tables / "test.parquet")
    pairs(folder / "tensors" / "pairs.ioi.safetensors")
    return folder
