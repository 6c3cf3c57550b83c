"""Conditions on the examples of a dataset: `where Z > Y`, `ioi where base.accuracy.value == 1`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interp_dsl.data.faults import closest, fault, listed
from interp_dsl.data.types import Answer, Data, Side
from interp_dsl.plan.algebra import ColumnOf, Expression, Operation, ScoreOf, Units
from interp_dsl.plan.expressions import Found, Value, evaluate, scores_of, written
from interp_dsl.plan.serialise import from_data

Scores = Callable[[ScoreOf], NDArray[np.float64]]
"""The value of a step's score for every example, [n]."""


@dataclass(frozen=True)
class Example:
    """One example's own columns and scores, as an expression reads them."""

    columns: Mapping[str, Any]
    scores: Mapping[ScoreOf, float]

    def column(self, name: str) -> Value:
        value: Value = self.columns[name]
        return value

    def score(self, ref: ScoreOf) -> Found:
        return Found(written(ref), self.scores[ref])

    def units(self, units: Units) -> frozenset[str]:
        raise fault(
            "E424",
            "a set of units can't stand in a condition on single examples",
            help="compare the dataset's columns, `index` and scores with each other",
        )


def holds(test: Expression, columns: Mapping[str, Any]) -> bool:
    """Whether a test of columns alone is true for one example; unknown counts as false."""
    return evaluate(test, Example(columns, {})) is True


def conditions_of(spec: Mapping[str, Any]) -> list[Expression]:
    """The `conditions` of a specification, as objects or as the plan's JSON holds them."""
    return [from_data(c) if isinstance(c, dict) else c for c in spec.get("conditions") or ()]


def names_in(test: Expression) -> set[str]:
    """The columns that an expression reads."""
    match test:
        case ColumnOf(name=name):
            return {name}
        case Operation(operands=operands):
            return set().union(*map(names_in, operands))
        case _:
            return set()


def matches(data: Data, test: Expression, scores: Scores | None = None) -> NDArray[np.bool_]:
    """Which of the n examples satisfy a test: bool [n]. `index` is the example's number. E424 for
    a column that the data lacks, or scores where none are to be had."""
    wanted = scores_of(test)
    if wanted and scores is None:
        raise fault(
            "E424",
            f"{written(wanted[0])} is no column of {data.name}",
            help="compare its columns and `index`",
        )
    held = {ref: scores(ref) for ref in wanted} if scores else {}
    columns = {**data.columns, "index": range(data.n)}
    for name in names_in(test) - columns.keys():
        raise no_column(name, data.name, list(columns))
    read = {name: columns[name] for name in names_in(test)}

    def passes(row: int) -> bool:
        own = {name: values[row] for name, values in read.items()}
        scored = {ref: float(values[row]) for ref, values in held.items()}
        return evaluate(test, Example(own, scored)) is True

    return np.array([passes(row) for row in range(data.n)], dtype=np.bool_)


def no_column(name: str, data: str, known: list[str]) -> Exception:
    """E424 of a column that data does not have, with those that it has."""
    return fault(
        "E424",
        f"{data} has no column {name}",
        f"it has {listed(known)}" if known else "it has no columns",
        help=closest(name, known),
    )


def select(data: Data, keep: NDArray[np.bool_], name: str) -> Data:
    """The examples where `keep` [n] is true, under a name of their own; sides keep their names.
    E407 when none is left."""
    if not keep.any():
        raise fault(
            "E407",
            f"no example of {data.name} satisfies the condition of {name}",
            f"{data.name} has {data.n:,} examples",
            help="loosen the condition",
        )
    rows = np.flatnonzero(keep)

    def answers(given: tuple[Answer, ...] | None) -> tuple[Answer, ...] | None:
        return None if given is None else tuple(given[i] for i in rows)

    return Data(
        name,
        {key: _rows_of(side, keep) for key, side in data.sides.items()},
        answers(data.answers),
        answers(data.wrongs),
        {key: tuple(values[i] for i in rows) for key, values in data.columns.items()},
        None if data.template is None else data.template[keep],
        data.seed,
    )


def _rows_of(side: Side, keep: NDArray[np.bool_]) -> Side:
    return replace(
        side,
        tokens=side.tokens[keep],
        lengths=side.lengths[keep],
        read=side.read[keep],
        labels={label: places[keep] for label, places in side.labels.items()},
        texts=None if side.texts is None else tuple(np.array(side.texts, dtype=object)[keep]),
        mask=None if side.mask is None else side.mask[keep],
    )
