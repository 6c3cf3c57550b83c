"""Unit expressions evaluated: sets of units, in order, each once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations

from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.plan.algebra import (
    Combined,
    Explicit,
    Expression,
    Filtered,
    Grouped,
    OfCircuit,
    Operation,
    Placed,
    Points,
    ScoreOf,
    SetOfUnits,
    Top,
    Units,
)
from interp_dsl.plan.expressions import Row, Rows, Tables, evaluate
from interp_dsl.plan.names import edge_name, target_of, unit_of
from interp_dsl.plan.places import Point, Positions, Target, Unit


def expand(units: Units, rows: Rows, n_positions: int | None) -> tuple[Unit, ...]:
    """The units of an expression, in order and without repeats.

    `rows` gives the score rows of a finished step. `each` becomes positions 0 to n_positions − 1,
    in an entry every pair whose key does not come after its query; with n_positions None it stays.
    Raises InterpError (E610 to E618) when a step's rows do not answer what the units ask."""
    return _Expander(rows, n_positions).units(units)


def depends(units: Units) -> set[str]:
    """The steps whose results a unit expression waits for."""
    match units:
        case Explicit():
            return set()
        case Combined(left=left, right=right):
            return depends(left) | depends(right)
        case Filtered(units=inner, test=test):
            return depends(inner) | steps_of(test)
        case Top(step=step) | OfCircuit(step=step):
            return {step}
        case Grouped(units=inner, by=by):
            return depends(inner) | (steps_of(by) if by else set())
        case Placed(units=inner) | Points(units=inner):
            return depends(inner)


def steps_of(expression: Expression) -> set[str]:
    """The steps whose results an expression reads."""
    match expression:
        case ScoreOf(step=step):
            return {step}
        case SetOfUnits(units=units):
            return depends(units)
        case Operation(operands=operands):
            return {s for o in operands for s in steps_of(o)}
        case _:
            return set()


class _Expander:
    def __init__(self, rows: Rows, n_positions: int | None) -> None:
        self.rows = rows
        self.n_positions = n_positions
        self._index: dict[str, dict[str, list[Row]]] = {}

    def units(self, units: Units) -> tuple[Unit, ...]:
        return _distinct(self._iterate(units))

    def _iterate(self, units: Units) -> Iterable[Unit]:
        match units:
            case Explicit(units=explicit):
                return (u for unit in explicit for u in _at_each(unit, self.n_positions))
            case Combined(op=op, left=left, right=right):
                return _combine(op, self.units(left), self.units(right))
            case Filtered(units=inner, test=test):
                return self._filter(self.units(inner), test)
            case Top():
                return self._top(units)
            case OfCircuit():
                return _of_circuit(units, self.rows(units.step))
            case Grouped():
                return self._group(units)
            case Placed(units=inner, positions=positions):
                placed = (_placed(u, p) for u in self.units(inner) for p in positions)
                return (u for unit in placed for u in _at_each(unit, self.n_positions))
            case Points(units=inner):
                return _points(units, self.units(inner))

    def _filter(self, units: tuple[Unit, ...], test: Expression) -> list[Unit]:
        """Units whose row passes; a unit without a row, or with a null in the test, does not."""
        measured = [u for u in units if self._tables(u).has_rows(steps_of(test))]
        if units and not measured:
            raise InterpError(
                Diagnostic(
                    "E615",
                    f"no unit of this filter was measured by {' or '.join(sorted(steps_of(test)))}",
                    notes=(f"the first of {len(units)} units is {units[0]}",),
                    help="filter units that the step measured, at the same positions",
                )
            )
        return [u for u in measured if evaluate(test, self._tables(u)) is True]

    def _top(self, top: Top) -> list[Unit]:
        rows = Tables(self.rows, expand).metric_rows(top.step, top.metric)
        scored = [(r, r[top.column]) for r in rows if r[top.column] is not None]
        scored.sort(key=lambda rv: abs(rv[1]) if top.absolute else rv[1], reverse=True)
        best = _distinct(
            unit_of(str(r["unit"]), str(r["position"]), top.features) for r, _ in scored
        )
        return list(best[: top.n])

    def _group(self, group: Grouped) -> Iterable[Unit]:
        units = self.units(group.units)
        match group.how:
            case "together":
                return [_joined(units)] if units else []
            case "pairs":
                return map(_joined, combinations(units, 2))
            case "windows":
                assert group.size is not None
                return _windows(units, group.size)
            case "growing":
                ordered = self._ordered(units, group.by) if group.by else units
                return (_joined(ordered[:i]) for i in range(1, len(ordered) + 1))
            case _:
                raise ValueError(f"unknown grouping {group.how!r}")

    def _ordered(self, units: tuple[Unit, ...], by: Expression) -> tuple[Unit, ...]:
        def size(unit: Unit) -> float:
            value = evaluate(by, self._tables(unit))
            if not isinstance(value, int | float):
                raise InterpError(
                    Diagnostic(
                        "E616",
                        f"{unit} has no number to be ordered by",
                        notes=("its value is null, so its place in the series is unknown",),
                        help="order by a metric's effect, which is never null",
                    )
                )
            return float(value)

        return tuple(sorted(units, key=size, reverse=True))

    def _tables(self, unit: Unit) -> Tables:
        return Tables(self.rows, expand, unit, self.n_positions, index=self._index)


def _points(points: Points, units: Iterable[Unit]) -> Iterator[Point]:
    """Length after length of each direction."""
    for unit in units:
        for path, n in points.paths:
            for number in range(n):
                for length in points.lengths:
                    yield Point(unit.targets, path, number, length)


def _of_circuit(units: OfCircuit, rows: Sequence[Row]) -> Iterator[Unit]:
    """A part of a step's circuit."""
    return part_of(units.part, (r for r in rows if units.threshold in (None, r.get("threshold"))))


def part_of(part: str, rows: Iterable[Row]) -> Iterator[Unit]:
    """The edges, heads or nodes of a circuit, from the rows of its edge table."""
    kept = [row for row in rows if row["kept"]]
    if part == "edges":
        for row in kept:
            name = edge_name(row["source"], row["target"], row["channel"])
            yield unit_of(name, str(row.get("position", "all")))
        return
    names = {end for row in kept for end in (row["source"], row["target"])} - {"logits"}
    for target in sorted(map(target_of, names), key=_turn):
        if part == "nodes" or target.site.kind == "head":
            yield Unit((target,))


def _turn(target: Target) -> tuple[int, bool, int, str]:
    """When a node runs."""
    layer = -1 if target.site.layer is None else target.site.layer
    return layer, target.site.kind == "mlp_out", target.index or 0, target.place


def _distinct(units: Iterable[Unit]) -> tuple[Unit, ...]:
    """Each set of targets once, at its first place; of points, each point."""
    kept: dict[Unit | frozenset[Target], Unit] = {}
    for unit in units:
        kept.setdefault(unit if isinstance(unit, Point) else frozenset(unit.targets), unit)
    return tuple(kept.values())


def _combine(op: str, left: tuple[Unit, ...], right: tuple[Unit, ...]) -> list[Unit]:
    held = {frozenset(u.targets) for u in right}
    match op:
        case "|":
            return [*left, *right]
        case "&":
            return [u for u in left if frozenset(u.targets) in held]
        case "-":
            return [u for u in left if frozenset(u.targets) not in held]
        case _:
            raise ValueError(f"unknown set operation {op!r}")


def _joined(units: Iterable[Unit]) -> Unit:
    return Unit(tuple(dict.fromkeys(t for u in units for t in u.targets)))


def _placed(unit: Unit, positions: Positions) -> Unit:
    return Unit(tuple(replace(t, positions=positions) for t in unit.targets))


def _windows(units: tuple[Unit, ...], size: int) -> Iterator[Unit]:
    layers = [_layer(u) for u in units]
    if not layers or max(layers) - min(layers) + 1 < size:
        raise InterpError(
            Diagnostic(
                "E617",
                f"there is no run of {size} consecutive layers in these units",
                notes=(f"they stand in layers {sorted(set(layers))}",),
                help="choose a smaller window",
            )
        )
    for first in range(min(layers), max(layers) - size + 2):
        inside = [u for u, at in zip(units, layers, strict=True) if first <= at < first + size]
        if inside:
            yield _joined(inside)


def _layer(unit: Unit) -> int:
    layers = {t.site.layer for t in unit.targets}
    layer = layers.pop()
    if layers or layer is None:
        raise InterpError(
            Diagnostic(
                "E618",
                f"{unit} stands in no one layer",
                help="windows(…) takes units of one layer each, such as heads or mlps",
            )
        )
    return layer


# ---- each


def _at_each(unit: Unit, n: int | None) -> Iterator[Unit]:
    """The unit at every position that `each` stands for; its targets move together."""
    free = [_count_each(t.positions) for t in unit.targets]
    if not any(free) or n is None:
        yield unit
        return
    pairs = max(free) > 1
    for query in range(n):
        for key in range(query + 1) if pairs else (query,):
            targets = [_fixed(t, key, query) for t in unit.targets]
            if all(t is not None for t in targets):
                yield Unit(tuple(t for t in targets if t is not None))


def _count_each(positions: Positions) -> int:
    return (positions.kind == "each") + sum(map(_count_each, positions.parts))


def _fixed(target: Target, key: int, query: int) -> Target | None:
    positions = _substitute(target.positions, key, query)
    return None if positions is None else replace(target, positions=positions)


def _substitute(positions: Positions, key: int, query: int) -> Positions | None:
    """Positions with `each` made a number; None when nothing is left of them."""
    match positions.kind:
        case "each":
            return Positions("index", index=query)
        case "entry":
            both = _count_each(positions) > 1
            parts = (
                _substitute(positions.parts[0], key, key if both else query),
                _substitute(positions.parts[1], key, query),
            )
            return _with_parts(positions, parts)
        case "minus":
            left, right = (_substitute(p, key, query) for p in positions.parts)
            if left is None or right is None:
                return left
            return _minus(left, right)
        case "union":
            return _with_parts(
                positions, tuple(_substitute(p, key, query) for p in positions.parts)
            )
        case _:
            return positions


def _with_parts(positions: Positions, parts: tuple[Positions | None, ...]) -> Positions | None:
    kept = tuple(p for p in parts if p is not None)
    return replace(positions, parts=kept) if len(kept) == len(parts) else None


def _minus(left: Positions, right: Positions) -> Positions | None:
    """`left - right` simplified where both are known numbers."""
    numbers = [0 if p.kind == "first" else p.index for p in (left, right)]
    if None in numbers:
        return Positions("minus", parts=(left, right))
    return None if numbers[0] == numbers[1] else left
