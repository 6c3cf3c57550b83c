"""Labels of examples: a column of a dataset as classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from interp_dsl.data.conditions import no_column
from interp_dsl.data.faults import fault, listed
from interp_dsl.data.types import Data, Ints

LEAST = 10
"""Examples that a class needs for a probe to learn from some and be tried on others."""


@dataclass(frozen=True)
class Labels:
    """The classes by name, and of which of them each example [n] is: -1 of none. `few`: names of
    those that are left out, with how many examples they have."""

    names: tuple[str, ...]
    of: Ints
    few: Mapping[str, int]


def labels(data: Data, column: str) -> Labels:
    """The values of a column as classes, those of fewer than LEAST examples left out. Raises E424
    for a column that the data lacks, E425 where fewer than two classes are left."""
    if column not in data.columns:
        raise no_column(column, data.name, list(data.columns))
    said = [str(value) for value in data.columns[column]]
    counts = {name: said.count(name) for name in dict.fromkeys(said)}
    names = tuple(sorted(name for name, n in counts.items() if n >= LEAST))
    if len(names) < 2:
        told = [f"{name!r} ({n})" for name, n in sorted(counts.items(), key=lambda kv: -kv[1])]
        raise fault(
            "E425",
            f"{data.name} has {len(names)} class{'es' * (len(names) != 1)} of {LEAST} examples and "
            f"more in its column {column}",
            f"its values are {listed(told)}",
            help="a probe tells two classes apart: take more examples, or another column",
        )
    places = {name: i for i, name in enumerate(names)}
    of = np.array([places.get(name, -1) for name in said])
    return Labels(names, of, {name: n for name, n in counts.items() if name not in places})
