"""The training curves of dictionaries: by name, then by measure, values over the tokens seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

Point = tuple[float, float]
Curves = dict[str, list[Point]]

MEASURES = {
    "loss": "loss",
    "l0": "L0",
    "fvu": "FVU",
    "dead": "dead features",
}
"""What is drawn of a fit, and what it is called."""


def dictionary_name(step: str, label: str | None) -> str:
    """A dictionary as the language writes it: `sae`, or `sae[k=32]` among others."""
    return f"{step}[{label}]" if label else step


def step_of(dictionary: str) -> str:
    """The step that fits a dictionary, from its name."""
    return dictionary.partition("[")[0]


def add_point(curves: dict[str, Curves], step: str, row: Mapping[str, Any]) -> None:
    """A point of each measure, from a row of a fit's table or an event that tells of it. A run that
    goes on from a checkpoint draws the points behind it anew."""
    held = curves.setdefault(dictionary_name(step, row["dictionary"]), {})
    tokens = float(row["tokens"])
    for name in MEASURES:
        if row[name] is None:  # as JSON has what is not a number
            continue
        points = held.setdefault(name, [])
        while points and points[-1][0] >= tokens:
            points.pop()
        points.append((tokens, float(row[name])))


def training_curves(table: pl.DataFrame, step: str) -> dict[str, Curves]:
    """The curves of a training table (`is_training_table`)."""
    found: dict[str, Curves] = {}
    for row in table.iter_rows(named=True):
        add_point(found, step, row)
    return found
