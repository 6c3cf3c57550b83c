"""A run with dictionaries, made by hand from what the language's page says of their tables: `sae`
is read in every way, `many[k=4]` by densities alone, `many[k=16]` not at all."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

import interp_dsl
from interp_dsl.plan.tasks import Plan
from interp_dsl.runs.schema import ABLATION_COLUMNS

STEPS = 8
N = 1_000
TEXT = """\
model   m    = bundled("text-1l-512")
dataset text = task("text-1l-512", n=100)
let     seen = text where index < 90
let     held = text where index >= 90

step sae  = fit topk(width=32, k=2) on neurons layers 0 of seen until tokens=4096
step many = fit topk(width=32, k=[4, 16]) on neurons layers 0 of seen until tokens=4096

step fires = inspect features(sae) by examples(top=2, intervals=2) on held
step often = inspect features(sae) by density() on held
step rare  = inspect features(many[k=4]) by density() on held

step writes = inspect sae[0..3] by logits(top=3)
step near   = inspect sae[0..3] by nearest(top=2)
step beside = inspect sae[0..3] by cofiring(top=2) on held
step lost   = inspect sae[0..3] by ablation() on held
"""


@cache
def plan() -> Plan:
    """The plan of TEXT."""
    return interp_dsl.plan(TEXT)


def points(labels: Sequence[str | None], steps: int = STEPS) -> list[dict[str, Any]]:
    """Rows of a training table: a dictionary's loss is 1 / (its number + training step)."""
    return [
        {
            "dictionary": label,
            "step": at,
            "tokens": 512 * (at + 1),
            "loss": 1 / (i + at + 1),
            "mse": 0.75 / (i + at + 1),
            "penalty": 0.25 / (i + at + 1),
            "l0": 2.0 + i,
            "fvu": 0.5 / (at + 1),
            "dead": at // 3,
            "lr": 2e-3,
        }
        for at in range(steps)
        for i, label in enumerate(labels)
    ]


def training(labels: Sequence[str | None] = (None,)) -> pl.DataFrame:
    return pl.DataFrame(points(labels), schema_overrides={"dictionary": pl.String})


CONTEXTS: dict[int, list[tuple[int | None, float, str, str, str]]] = {
    0: [
        (None, 4.0, "class Reader:\n    ", "def", " read(self, path"),
        (None, 3.0, "    return x\n\n", "def", " close("),
        (2, 3.0, "    return x\n\n", "def", " close("),
        (1, 1.0, "# a note on ", "define", "d names"),
    ],
    2: [
        (None, 2.5, "if x", " ==", " 1:"),
        (2, 2.5, "if x", " ==", " 1:"),
        (1, 0.5, "a", " !=", " b"),
    ],
    5: [(None, 0.25, "", "12", "3]"), (2, 0.25, "", "12", "3]")],
}
"""Where features fire: interval, activation, before, token, after. 1, 3 and 4 do not."""


def examples(contexts: dict[int, Any] = CONTEXTS) -> pl.DataFrame:
    rows = [
        {
            "feature": feature,
            "interval": interval,
            "activation": activation,
            "share": activation / max(one[1] for one in held),
            "prompt": 7,
            "position": 10 + i,
            "before": before,
            "token": token,
            "after": after,
        }
        for feature, held in contexts.items()
        for i, (interval, activation, before, token, after) in enumerate(held)
    ]
    return pl.DataFrame(rows, schema_overrides={"interval": pl.Int64})


DENSITIES = (0.25, 0.0, 0.02, 0.0, 0.0, 0.0005)


def density(values: Sequence[float] = DENSITIES) -> pl.DataFrame:
    """A mean of 1 and a maximum of 8 times the density, where a feature fires at all."""
    return pl.DataFrame(
        {
            "feature": range(len(values)),
            "density": values,
            "mean": [1.0 if v else None for v in values],
            "maximum": [8 * v if v else None for v in values],
            "alignment": [0.5] * len(values),
            "n": [N] * len(values),
        }
    )


WORDS = (" self", "\n", "日本", "def", " return", "x")


def logits() -> pl.DataFrame:
    """Of features 0 to 3: each adds 3, 2, 1 to three words, and takes as much from three others."""
    rows = [
        {
            "feature": feature,
            "end": end,
            "rank": rank,
            "id": (feature + sign * rank) % len(WORDS),
            "token": WORDS[(feature + sign * rank) % len(WORDS)],
            "logit": sign * (4.0 - rank),
        }
        for feature in range(4)
        for end, sign in (("top", 1), ("bottom", -1))
        for rank in (1, 2, 3)
    ]
    return pl.DataFrame(rows)


def nearest() -> pl.DataFrame:
    """Features 0 to 3 in a ring."""
    rows = [
        {"feature": i, "other": (i + by) % 4, "cosine": cosine}
        for i in range(4)
        for by, cosine in ((1, 0.75), (3, 0.5))
    ]
    return pl.DataFrame(rows)


def cofiring() -> pl.DataFrame:
    """0 and 2 fire together."""
    rows = [
        {
            "feature": i,
            "other": 2 - i,
            "jaccard": 0.25,
            "pearson": 0.5,
            "cosine": 0.6,
            "lift": 3.0,
            "lift_low": 2.0,
            "sufficiency": 0.4,
            "necessity": 0.4,
            "support": 40,
            "n": N,
        }
        for i in (0, 2)
    ]
    return pl.DataFrame(rows)


def ablation() -> pl.DataFrame:
    """Of features 0 to 3; 1 and 3 do not fire."""
    fires = {"activation": 1.0, "low": 0.01, "high": 0.09, "kl": 0.03, "after": 0.002}
    never = dict.fromkeys(("activation", "loss", "low", "high", "kl", "after"))
    rows = [
        {"feature": i, "prompts": 4, "n": 12, "loss": 0.05 + 0.01 * i, **fires, "n_after": 30}
        if i in (0, 2)
        else {"feature": i, "prompts": 0, "n": 0, **never, "n_after": 0}
        for i in range(4)
    ]
    return pl.DataFrame(rows).select([*ABLATION_COLUMNS])


def write_tables(folder: Path) -> None:
    tables = folder / "tables"
    tables.mkdir(exist_ok=True)
    training().write_parquet(tables / "sae.parquet")
    training(("k=4", "k=16")).write_parquet(tables / "many.parquet")
    examples().write_parquet(tables / "fires.parquet")
    density().write_parquet(tables / "often.parquet")
    density((0.5, 0.004)).write_parquet(tables / "rare.parquet")
    logits().write_parquet(tables / "writes.parquet")
    nearest().write_parquet(tables / "near.parquet")
    cofiring().write_parquet(tables / "beside.parquet")
    ablation().write_parquet(tables / "lost.parquet")
