"""Circuits made by hand and by chance."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl

from interp_dsl.runs.circuit import Circuit, Fingerprint, GraphSize, Method
from interp_dsl.runs.circuit_table import EDGE_COLUMNS
from interp_dsl.runs.schema import polars_types

MODEL = Fingerprint("ioi-3l", "ab" * 32)
DATA = Fingerprint("ioi", "cd" * 32)

Edge = tuple[str, str, str, float | None]


def table(edges: Iterable[Edge], kept: bool = True) -> pl.DataFrame:
    """Tested edges with their effects, in the order given."""
    rows: list[dict[str, Any]] = [
        {"source": s, "target": t, "channel": c, "kept": kept, "order": i, "effect": effect,
         "score": 0.5, "margin": None if effect is None else abs(effect), "evaluated": True}
        for i, (s, t, c, effect) in enumerate(edges)
    ]  # fmt: skip
    columns = {name: [row[name] for row in rows] for name in EDGE_COLUMNS}
    return pl.DataFrame(columns, schema=polars_types(EDGE_COLUMNS))


def circuit(
    edges: Iterable[Edge] | pl.DataFrame, graph: GraphSize | None = None, **fields: Any
) -> Circuit:
    """A circuit of these edges, found by ACDC."""
    held = edges if isinstance(edges, pl.DataFrame) else table(edges)
    about: dict[str, Any] = {
        "method": Method("acdc", {"threshold": 0.02, "order": "reverse"}),
        "model": MODEL,
        "data": DATA,
        "metric": "kl",
        "ablation": "ioi.corrupt",
        "thresholds": (0.02,),
    }
    return Circuit(held, graph or GraphSize(3, 4, 305), **{**about, **fields})


INDUCTION: list[Edge] = [
    ("L1H1", "logits", "logits", 0.91),
    ("L1.mlp", "logits", "logits", -0.12),
    ("embed", "L1H1", "v", 0.33),
    ("embed", "L1H1", "q", 0.27),
    ("L0H2", "L1H1", "k", 0.75),
    ("embed", "L0H2", "v", 0.4),
    ("pos_embed", "L0H2", "q", 0.05),
    ("pos_embed", "L0H2", "k", -0.21),
    ("L1H1", "L1.mlp", "mlp", 0.08),
]


def by_chance(n_layers: int, n_heads: int, n_edges: int, seed: int, used: float = 0.4) -> Circuit:
    """A circuit of so many edges between a share of the nodes, effects of both signs."""
    rng = np.random.default_rng(seed)
    names = ["embed", "pos_embed"]
    for layer in range(n_layers):
        names += [f"L{layer}H{h}" for h in range(n_heads) if rng.random() < used]
        names += [f"L{layer}.mlp"] if rng.random() < used + 0.2 else []
    names.append("logits")
    every = [e for t in names for s in names for e in _between(s, t)]
    chosen = rng.permutation(len(every))[:n_edges]
    sizes = rng.normal(size=len(every)) * rng.exponential(size=len(every))
    edges = [(*every[i], float(sizes[i])) for i in sorted(chosen)]
    return circuit(edges, GraphSize(n_layers, n_heads, 32_491))


def _between(source: str, target: str) -> list[tuple[str, str, str]]:
    if _level(source) >= _level(target):
        return []
    channels = ["logits"] if target == "logits" else ["mlp"] if "mlp" in target else ["q", "k", "v"]
    return [(source, target, channel) for channel in channels]


def _level(name: str) -> float:
    if "embed" in name:
        return -1.0
    if name == "logits":
        return 1e6
    layer = name[1:].partition("H")[0].partition(".")[0]
    return int(layer) + (0.5 if "mlp" in name else 0.0)
