"""Expressions over results: claims and filters, evaluated in three-valued logic.

A null in a table (an effect that has no normalised form) makes a comparison null; `and`, `or` and
`not` follow Kleene: `false and null` is false, `true and null` is null."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.language.suggest import suggest
from interp_dsl.plan.algebra import (
    ColumnOf,
    Expression,
    Literal,
    Operation,
    ScoreOf,
    SetOfUnits,
    Units,
)
from interp_dsl.plan.places import Unit

CORRELATIONS = ("pearson", "spearman")
"""Numbers of a step of estimates as a whole, where some are verified."""

Row = Mapping[str, Any]
Rows = Callable[[str], Sequence[Row]]
Value = float | str | bool | None | frozenset[Any]


@dataclass(frozen=True)
class Found:
    """A value that an expression read from a table, with its bounds where the column has any."""

    text: str
    value: float | str | bool | None
    low: float | None = None
    high: float | None = None


class Lookup(Protocol):
    """Where an expression's leaves find their values."""

    def score(self, ref: ScoreOf) -> Found: ...

    def column(self, name: str) -> Value: ...

    def units(self, units: Units) -> frozenset[str]: ...


def evaluate(expression: Expression, lookup: Lookup) -> Value:
    """The value of an expression: a number, string, truth, set, or None where it is unknown.

    Operands of `within` are value, tolerance, target. A set is `in` another when all of it is, and
    `not in` it when none of it is. Raises InterpError (E610, E611, E613) where a
    score is not to be found, and E614 where an operator cannot take its operands."""
    match expression:
        case Literal(value=value):
            return value
        case ScoreOf():
            return lookup.score(expression).value
        case ColumnOf(name=name):
            return lookup.column(name)
        case SetOfUnits(units=units):
            return lookup.units(units)
        case Operation(op=op, operands=operands):
            return _operate(op, [evaluate(o, lookup) for o in operands])


def scores_of(expression: Expression) -> tuple[ScoreOf, ...]:
    """The scores that an expression reads, in the order they are written, each once."""
    match expression:
        case ScoreOf():
            return (expression,)
        case Operation(operands=operands):
            return tuple(dict.fromkeys(s for o in operands for s in scores_of(o)))
        case _:
            return ()


def _operate(op: str, operands: list[Value]) -> Value:
    if op in ("and", "or"):
        stop = op == "or"
        if any(o is stop for o in operands):
            return stop
        return None if None in operands else not stop
    if op == "set":
        return frozenset(operands)
    if any(o is None for o in operands):
        return None
    try:
        return _OPERATORS[op](*operands)
    except (TypeError, ZeroDivisionError) as error:
        written = " and ".join(_written(o) for o in operands)
        raise InterpError(
            Diagnostic("E614", f"`{op}` cannot take {written}", notes=(str(error),))
        ) from error


def _written(value: Value) -> str:
    return f"a set of {len(value)}" if isinstance(value, frozenset) else repr(value)


def _jaccard(left: frozenset[Any], right: frozenset[Any]) -> float:
    """Shared share of two sets; two empty ones are alike."""
    return len(left & right) / len(left | right) if left | right else 1.0


_OPERATORS: dict[str, Callable[..., Value]] = {
    "not": lambda a: not a,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "in": lambda a, b: a <= b if isinstance(a, frozenset) else a in b,
    "not in": lambda a, b: a.isdisjoint(b) if isinstance(a, frozenset) else a not in b,
    "within": lambda value, tolerance, target: abs(value - target) <= tolerance,
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "neg": lambda a: -a,
    "abs": abs,
    "size": len,
    "jaccard": _jaccard,
}


# ---- lookup in score tables


@dataclass(frozen=True)
class Tables:
    """Scores by step, as rows. `unit` is the unit in question, in a filter of units.

    `expand` evaluates unit expressions (plan/units.py), `n_positions` is what it needs for
    `each`. `agreement`: of a step by metric the correlations of estimates with real patches.
    `index`: of steps that were asked for a unit's own rows, their rows by place; tables of several
    units share it."""

    rows: Rows
    expand: Callable[[Units, Rows, int | None], tuple[Unit, ...]]
    unit: Unit | None = None
    n_positions: int | None = None
    agreement: Callable[[str], Mapping[str, Mapping[str, float | None]]] = lambda step: {}
    index: dict[str, dict[str, list[Row]]] = field(default_factory=dict)

    def score(self, ref: ScoreOf) -> Found:
        """The score that `ref` means, with its bounds."""
        if ref.column in CORRELATIONS:
            return Found(written(ref), self.agreement(ref.step)[ref.metric][ref.column])
        row = self.row(ref)
        bounded = "value" if row["effect"] is None else "effect"
        bounded = next((name for name in _OF_CURVES if row.get(name) is not None), bounded)
        bounds = (row["low"], row["high"]) if ref.column == bounded else (None, None)
        return Found(written(ref), row[ref.column], *bounds)

    def row(self, ref: ScoreOf) -> Row:
        """The one row that `ref` means; E610 when there is none, E611 when there are several."""
        rows = self._own(ref)
        if not rows:
            rows = self.metric_rows(ref.step, ref.metric)
            if self.unit is not None and ref.unit is None:
                own = replace(ref, unit=self.unit.place, position=self.unit.position)
                raise _missing(own, rows)
        for name, value in ref.where:
            rows = [r for r in rows if r.get(name) == value]
        if not rows:
            fixed = ", ".join(f"{k}={v}" for k, v in ref.where)
            raise InterpError(Diagnostic("E610", f"step {ref.step} has no row where {fixed}"))
        named = self._named(ref, rows)
        if len(named) > 1:
            raise _several(ref, named, of_a_unit=self.unit is not None)
        return named[0]

    def column(self, name: str) -> Value:
        raise InterpError(Diagnostic("E614", f"{name} is a column of examples, not of units"))

    def units(self, units: Units) -> frozenset[str]:
        """The units as the language writes them."""
        return frozenset(map(str, self.expand(units, self.rows, self.n_positions)))

    def metric_rows(self, step: str, metric: str) -> list[Row]:
        """A step's rows of one metric; E613 when the step did not measure it."""
        rows = self.rows(step)
        found = [r for r in rows if r["metric"] == metric]
        if not found:
            measured = list(dict.fromkeys(str(r["metric"]) for r in rows))
            near = suggest(metric, measured)
            raise InterpError(
                Diagnostic(
                    "E613",
                    f"step {step} did not measure {metric}",
                    notes=(f"it measured {', '.join(measured) or 'nothing'}",),
                    help=f"did you mean {near}?" if near else None,
                )
            )
        return found

    def has_rows(self, steps: set[str]) -> bool:
        """Whether every one of these steps measured the unit in question."""
        return all(self._of_unit(step) for step in steps)

    def _named(self, ref: ScoreOf, rows: list[Row]) -> list[Row]:
        if ref.unit is not None:
            named = [r for r in rows if r["unit"] == ref.unit]
            if ref.position is not None:
                named = [r for r in named if r["position"] == ref.position]
            if not named:
                raise _missing(ref, rows)
            return named
        return rows

    def _own(self, ref: ScoreOf) -> list[Row]:
        """The rows of a metric that the unit in question has, where the score is its own."""
        if ref.unit is not None or self.unit is None:
            return []
        return [row for row in self._of_unit(ref.step) if row["metric"] == ref.metric]

    def _of_unit(self, step: str) -> list[Row]:
        """The unit's rows at its own position; those at other positions where it acts
        everywhere."""
        assert self.unit is not None
        if step not in self.index:
            held: dict[str, list[Row]] = {}
            for row in self.rows(step):
                held.setdefault(row["unit"], []).append(row)
            self.index[step] = held
        place, position = self.index[step].get(self.unit.place, []), self.unit.position
        exact = [row for row in place if row["position"] == position]
        return exact or (place if position == "all" else [])


def written(ref: ScoreOf) -> str:
    """A score as the language writes it."""
    inside = [] if ref.unit is None else [ref.unit]
    if ref.position not in (None, "all", "mixed"):
        inside = [f"{inside[0]} at {ref.position}" if inside else f"at {ref.position}"]
    inside += [f"{k}={_fixed(v)}" for k, v in ref.where if v is not None]
    bracket = f"[{', '.join(inside)}]" if inside else ""
    return f"{ref.step}{bracket}.{ref.metric}.{ref.column}"


def _fixed(value: float | str) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _name(row: Row) -> str:
    position = row["position"]
    return str(row["unit"]) if position in ("all", "mixed") else f"{row['unit']} at {position}"


def _missing(ref: ScoreOf, rows: list[Row]) -> InterpError:
    names = list(dict.fromkeys(map(_name, rows)))
    somewhere = ref.position not in (None, "all", "mixed")
    wanted = f"{ref.unit} at {ref.position}" if somewhere else str(ref.unit)
    near = suggest(wanted, names)
    return InterpError(
        Diagnostic(
            "E610",
            f"step {ref.step} has no row for {wanted}",
            notes=(f"its {len(names)} units are {_listed(names)}",),
            help=f"did you mean {near}?" if near else None,
        )
    )


def _several(ref: ScoreOf, rows: list[Row], of_a_unit: bool = False) -> InterpError:
    names = list(dict.fromkeys(map(_name, rows)))
    help_ = f"pick one, such as {ref.step}[{names[0]}].{ref.metric}.{ref.column}"
    notes: tuple[str, ...] = (f"they are {_listed(names)}",)
    if len(names) == 1:
        varied = [k for k in rows[0] if len({r[k] for r in rows}) > 1 and k not in _MEASURED]
        notes = tuple(f"{k} is {_listed([str(r[k]) for r in rows])}" for k in varied)
        help_ = f"fix one: {ref.step}[{', '.join(f'{k}={rows[0][k]}' for k in varied)}]"
    elif of_a_unit and ref.unit is None:
        help_ = f"take units at one position, as in heads at {rows[0]['position']}"
    return InterpError(
        Diagnostic(
            "E611",
            f"{written(ref)} stands for {len(rows)} rows; only a one-row result is a number",
            notes=notes,
            help=help_,
        )
    )


_OF_CURVES = ("reached", "slope")
"""What bounds are of in rows about whole curves."""
_MEASURED = ("base", "value", "effect", "normalized", "low", "high", "n", "verified")


def _listed(names: list[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
