"""Which row of a table of curves is meant: `sens[direction=random, length=20]`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from interp_dsl.check.lengths import lengths, shares
from interp_dsl.check.literals import is_whole, literal
from interp_dsl.check.scope import Scope
from interp_dsl.language.source import Span
from interp_dsl.language.suggest import suggest
from interp_dsl.language.tree import Argument, Index, Name
from interp_dsl.runs.curves import CURVE_COLUMNS, OF_WHOLE, REACH_COLUMNS, REGION_COLUMNS
from interp_dsl.verbs.values import CurveTerm, Step

Fixed = tuple[tuple[str, float | str | None], ...]
NAMES = ("direction", "number", "length", "side", "model", "threshold")


def columns(step: Step) -> tuple[str, ...]:
    """The columns that a step of curves has beside those of scores."""
    if step.curves is None:
        return ()
    more = REGION_COLUMNS if step.curves.has_ends else REACH_COLUMNS
    told = (name for name in (*CURVE_COLUMNS, *more) if name not in (*NAMES, "scale"))
    return tuple(told)


def fixed(
    index: Index | None, step: Step, column: str, span: Span, scope: Scope
) -> tuple[Index | None, Fixed]:
    """The columns of curves that brackets fix, and the brackets without them. Where a step has one
    of something it need not be named; of a direction's number none is all of them together."""
    assert step.curves is not None
    own = {a.name: a for a in (index.arguments if index else ()) if a.name in NAMES}
    found = {str(name): _value(argument, step, scope) for name, argument in own.items()}
    is_whole_curve = column in OF_WHOLE or (column == "n" and "length" not in found)
    choices: dict[str, list[Any]] = {"direction": [name for name, _ in step.curves.paths]}
    if step.curves.sides:
        choices["side"] = list(step.curves.sides)
    if step.curves.models:
        choices["model"] = list(step.curves.models)
    if is_whole_curve and step.thresholds:
        choices["threshold"] = list(step.thresholds)
    if not is_whole_curve:
        choices["length"] = [length.value for length in step.curves.lengths]
    for name, values in choices.items():
        if name not in found and len(values) > 1:
            raise scope.reject(
                "E310",
                f"`{step.name}` has a row for each of {len(values)} {name}s",
                span,
                label="which of them?",
                help=f"name it: {step.name}[{name}={_written(name, values[-1], step.curves)}]",
            )
        found.setdefault(name, values[0])
    for name in ("length", "threshold"):
        if name in own and name not in choices:
            raise scope.reject(
                "E208",
                f"`{column}` is about "
                + ("a curve as a whole" if is_whole_curve else "one point of a curve"),
                own[name].span,
                help=f"leave {name} out",
            )
    columns = ["direction", "number", "length"]
    columns += ["side"] * bool(step.curves.sides) + ["model"] * bool(step.curves.models)
    columns += ["threshold"] * bool(step.thresholds)
    where = tuple((name, found.get(name)) for name in columns)
    if index is None:
        return None, where
    rest = tuple(a for a in index.arguments if a.name not in NAMES)
    return replace(index, arguments=rest), where


def _written(name: str, value: Any, curves: CurveTerm) -> str:
    if name == "length":
        return str(curves.lengths[-1])
    if name == "threshold":
        return f"{value:g}"
    return str(value) if str(value).isidentifier() else f'"{value}"'


def _value(argument: Argument, step: Step, scope: Scope) -> float | str | None:
    assert step.curves is not None
    name, known = str(argument.name), step.curves
    match name:
        case "length":
            return _length(argument, step, scope)
        case "number":
            number = literal(argument.value, scope)
            most = max(n for _, n in known.paths)
            if not is_whole(number) or not 0 <= number < most or most == 1:
                raise _no_row(step, argument, f"numbers from 0 to {most - 1}", scope)
            return int(number)
        case "threshold":
            threshold = literal(argument.value, scope)
            if threshold not in step.thresholds:
                told = ", ".join(f"{t:g}" for t in step.thresholds) or "none"
                raise _no_row(step, argument, told, scope)
            return float(threshold)
    held = {"direction": [path for path, _ in known.paths], "side": [*known.sides]}
    words = held.get(name, [*known.models])
    value = argument.value
    word = value.id if isinstance(value, Name) else literal(value, scope)
    if word not in words:
        near = suggest(str(word), words)
        raise _no_row(step, argument, ", ".join(words) or "one", scope, near)
    return str(word)


def _length(argument: Argument, step: Step, scope: Scope) -> float:
    assert step.curves is not None
    read = shares if step.verb == "interpolate" else lengths
    found = read(argument.value, scope)
    known = step.curves.lengths
    if len(found) != 1 or found[0] not in (*known, *(x for x in found if not x.value)):
        raise _no_row(step, argument, f"{known[0]} to {known[-1]}", scope)
    return found[0].value


def _no_row(
    step: Step, argument: Argument, told: str, scope: Scope, near: str | None = None
) -> Any:
    return scope.reject(
        "E311",
        f"`{step.name}` has no row for this {argument.name}",
        argument.span,
        label=f"it has {told}",
        help=f"did you mean `{near}`?" if near else None,
    )
