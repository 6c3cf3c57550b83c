"""The tables of fits: what the judge found, and how the engines compare at equal numbers of
features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby, pairwise
from statistics import mean
from typing import Any

from case import BY_COUNT
from racing import aligned, outside

Row = dict[str, Any]
HEAD = ("architecture", "engine", "sparsity", "lr", "seed", "L0", "FVU", "loss recovered", "dead")
LEVELS = (16, 32, 64, 128)


def printed(result: dict[str, Any]) -> str:
    """A race's results as text."""
    rows = sorted(result["rows"], key=lambda r: (_place(r["architecture"]), r["engine"]))
    tables = [aligned([HEAD, *map(_row, rows)])]
    tables += [_at_equal(name, list(held)) for name, held in groupby(rows, _architecture)]
    return "\n\n".join([_title(result), *tables]) + "\n" + "\n".join(outside(result["engines"]))


def _title(result: dict[str, Any]) -> str:
    tokens = result["steps"] * result["batch"]
    versions = {
        package: version
        for one in result["engines"].values()
        for package, version in one["versions"].items()
    }
    return (
        f"512 → {result['width']:,}, {tokens:,} activations of text-1l-512's neurons once, in "
        f"{result['steps']:,} steps of {result['batch']:,}\n"
        + ", ".join(f"{package} {version}" for package, version in versions.items())
    )


def _architecture(row: Row) -> str:
    return str(row["architecture"])


def _place(name: str) -> int:
    return ("topk", "batch_topk", "relu", "jumprelu").index(name)


def _row(row: Row) -> tuple[str, ...]:
    return (
        row["architecture"],
        row["engine"],
        f"{row['sparsity']:g}",
        "own" if row["lr"] is None else f"{row['lr']:g}",
        str(row["seed"]),
        f"{row['l0']:.1f}",
        f"{row['fvu']:.4f}",
        f"{row['ce_loss_score']:.4f}",
        f"{row['dead']:.1%}",
    )


def _at_equal(architecture: str, rows: Sequence[Row]) -> str:
    """FVU and loss recovered of an architecture at equal L0: with its number given, means over
    seeds; else between two fits of an engine, linearly in log L0."""
    by_engine = {
        f"{engine}, lr {'own' if rate is None else f'{rate:g}'}": list(held)
        for (engine, rate), held in groupby(
            sorted(rows, key=lambda r: (r["engine"], r["lr"] or 0)),
            lambda r: (r["engine"], r["lr"]),
        )
    }
    if architecture in BY_COUNT:
        lines = [
            (e, f"{len(h)}", _mean(h, "l0"), _mean(h, "fvu"), _mean(h, "ce_loss_score"))
            for e, h in by_engine.items()
        ]
        return aligned([(architecture, "fits", "L0", "FVU", "loss recovered"), *lines])
    head = (f"{architecture}: FVU, loss recovered at", *(f"L0 {level}" for level in LEVELS))
    lines = [
        (engine, *(_between(held, level) for level in LEVELS)) for engine, held in by_engine.items()
    ]
    return aligned([head, *lines])


def _mean(rows: Sequence[Row], name: str) -> str:
    return f"{mean(r[name] for r in rows):.4f}"


def _between(rows: Sequence[Row], level: float) -> str:
    """At a number of features that two fits enclose."""
    for low, high in pairwise(sorted(rows, key=lambda r: r["l0"])):
        if low["l0"] <= level <= high["l0"]:
            share = math.log(level / low["l0"]) / math.log(high["l0"] / low["l0"])
            return ", ".join(
                f"{low[name] + share * (high[name] - low[name]):.4f}"
                for name in ("fvu", "ce_loss_score")
            )
    return "–"
