"""What is read of a step's results: `step[unit at position, under=cut].metric.column`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from interp_dsl.check import curve_rows
from interp_dsl.check.keyed import absent, dictionary_row, keyed_word, no_row, require_keyed
from interp_dsl.check.literals import literal
from interp_dsl.check.models import read_as
from interp_dsl.check.scope import Rejected, Scope
from interp_dsl.language.source import Span
from interp_dsl.language.suggest import suggest
from interp_dsl.language.tree import Argument, Attribute, Expr, Index, Name, Phrase
from interp_dsl.plan.algebra import Explicit, ScoreOf
from interp_dsl.plan.places import Unit
from interp_dsl.runs.curves import BY_EXAMPLE
from interp_dsl.verbs.values import Step

COLUMNS = ("base", "value", "effect", "normalized", "low", "high", "n")
WHOLE = "circuit"
"""The unit of the row that is about a circuit as a whole."""
_BY_EXAMPLE = ("base", "value", "effect")
Chain = list[tuple[str, Span]]
Fixed = tuple[tuple[str, float | str | None], ...]


@dataclass(frozen=True)
class Reading:
    """Where a score stands: in a `claim` it is one row, in a test of a `unit` the unit's own, in a
    test of an `example` the example's own."""

    kind: str
    scope: Scope


def step_of(expr: Expr, scope: Scope, what: str = "a step") -> Step:
    """The checked step that a name stands for."""
    declared = scope.lookup(expr, "step")
    if declared is None:
        if not isinstance(expr, Name | Attribute):
            raise scope.reject(
                "E300",
                f"{what} is wanted here",
                expr.span,
                help="declare one, `step NAME = …`, and write its name",
            )
        raise scope.unknown(expr, what, scope.declared_as("step"))
    from interp_dsl.check.steps import declared_step

    return declared_step(declared)


def unroll(expr: Expr, scope: Scope) -> tuple[Expr, Index | None, Chain]:
    """`who[L0H1].gap.effect` as the step's name, its brackets and the names behind them."""
    chain: Chain = []
    node = expr
    while isinstance(node, Attribute) and not _is_name(node, scope):
        chain.insert(0, (node.name, node.name_span))
        node = node.value
    if isinstance(node, Index):
        return node.value, node, chain
    return node, None, chain


def _is_name(expr: Attribute, scope: Scope) -> bool:
    """Whether this is one name: of an imported file behind its alias, known there or not."""
    return isinstance(expr.value, Name) and expr.value.id in scope.aliases


def score(expr: Expr, reading: Reading) -> ScoreOf:
    """A score by name."""
    scope = reading.scope
    root, index, chain = unroll(expr, scope)
    step = step_of(root, scope)
    if step.result != "scores":
        raise scope.reject(
            "E300",
            f"`{step.name}` has no scores",
            root.span,
            label="without `measure` it is an intervention"
            if step.result == "intervention"
            else f"a step of `{step.verb}`",
            help=f"its parts are {step.name}.heads, .nodes and .edges; evaluate it for scores"
            if step.result == "circuit"
            else f"judge it: step judged = evaluate {step.name} on held measure fvu()"
            if step.result == "dictionary"
            else None,
        )
    if len(chain) > 2:
        raise scope.reject(
            "E208", "a score is written step[unit].metric.column", chain[2][1], label="too much"
        )
    metric, column = metric_and_column(step, chain, root.span, scope, step.whole)
    if column in step.whole:
        return _of_the_step(step, metric, column, index, reading, expr.span)
    if reading.kind == "example" and step.keyed:
        raise scope.reject(
            "E208",
            f"`{step.name}` tells nothing of single examples",
            root.span,
            label=f"a step of `{step.verb}`",
        )
    by_example = _by_example(step)
    if reading.kind == "example" and column not in by_example:
        raise scope.reject(
            "E208",
            f"single examples have no `{column}`",
            chain[-1][1] if chain else root.span,
            label=f"they have {', '.join(by_example)}",
        )
    if step.curves is not None:
        index, fixed = curve_rows.fixed(index, step, column, expr.span, scope)
    unit, position, where = _row(index, step, metric, reading, expr.span)
    if step.curves is not None:
        where += fixed
    return ScoreOf(step.name, metric, column, unit, position, where)


def _of_the_step(
    step: Step, metric: str, column: str, index: Index | None, reading: Reading, span: Span
) -> ScoreOf:
    """A number of the step as a whole, which a claim may read."""
    if index is None and reading.kind == "claim":
        return ScoreOf(step.name, metric, column)
    raise reading.scope.reject(
        "E208",
        f"`{column}` is a number of the step, not of {'a unit' if index else 'one'} of its rows",
        span,
        help=f"write expect {step.name}.{metric}.{column} > 0.9",
    )


def _by_example(step: Step) -> tuple[str, ...]:
    """Columns that single examples have too."""
    return (*_BY_EXAMPLE, *(c for c in BY_EXAMPLE if c in curve_rows.columns(step)))


def _columns(step: Step) -> list[str]:
    return [*COLUMNS, *step.more, *curve_rows.columns(step)]


# ---- metric and column


def metric_column(step: Step, by: Expr | None, span: Span, scope: Scope) -> tuple[str, str]:
    """The metric and column of `by=gap.effect`; the step's first metric where nothing is said."""
    if by is None:
        return step.metrics[0].name, "effect" if step.has_effect else "value"
    root, index, chain = unroll(by, scope)
    if index is not None or not isinstance(root, Name | Attribute):
        raise scope.reject("E300", "`by` names a metric and a column", by.span)
    declared = scope.lookup(root, "step")
    if declared is None or declared.id != step.name:
        name = root.id if isinstance(root, Name) else root.name
        chain.insert(0, (name, root.span))
    return metric_and_column(step, chain, span, scope)


def metric_and_column(
    step: Step, chain: Chain, span: Span, scope: Scope, more: tuple[str, ...] = ()
) -> tuple[str, str]:
    """The metric and the column, one of a table's or one `more`, that a chain of names means."""
    names = [m.name for m in step.metrics]
    bare = "effect" if step.has_effect else "value"
    columns = [*_columns(step), *more]
    if not chain or (chain[0][0] in columns and chain[0][0] not in names):
        if len(names) != 1:
            raise scope.reject(
                "E208",
                f"`{step.name}` has {len(names)} metrics",
                span,
                label=f"which of them: {', '.join(names)}?",
                help=f"name it first: .{'.'.join([names[0], *(name for name, _ in chain)])}",
            )
        chain = [(names[0], span), *chain]
    metric, metric_span = chain[0]
    if metric not in names:
        label = f"it measures {', '.join(names)}"
        raise _none(
            f"`{step.name}` measures no `{metric}`", metric, metric_span, names, label, scope
        )
    column, column_span = chain[1] if len(chain) > 1 else (bare, span)
    if column not in columns:
        label = f"its columns: {', '.join(columns)}"
        message = f"a score has no column `{column}`"
        raise _none(message, column, column_span, columns, label, scope)
    if column in step.lacks:
        raise scope.reject(
            "E208",
            f"`{step.verb}` gives {'effects' if step.has_effect else 'values'}, no `{column}`",
            column_span,
            help=f"write {step.name}.{metric}.{bare}",
        )
    return metric, column


def _none(
    message: str, name: str, span: Span, known: list[str], label: str, scope: Scope
) -> Rejected:
    near = suggest(name, known)
    return scope.reject(
        "E208", message, span, label=label, help=f"did you mean `{near}`?" if near else None
    )


# ---- the row


def _row(
    index: Index | None, step: Step, metric: str, reading: Reading, span: Span
) -> tuple[str | None, str | None, Fixed]:
    """The unit, position and further columns that the brackets fix; together one row."""
    scope = reading.scope
    if step.dictionaries:
        return None, None, dictionary_row(index, step, metric, span, scope)
    places: list[Argument] = []
    where: list[tuple[str, float | str | None]] = []
    for argument in index.arguments if index else ():
        if argument.name is None:
            places.append(argument)
        else:
            where.append((argument.name, _fixed(argument, step, scope)))
    if len(places) > 1:
        raise scope.reject("E304", "the brackets name one unit", places[1].span)
    if len(step.contexts) > 1 and not any(name == "under" for name, _ in where):
        raise scope.reject(
            "E310",
            f"`{step.name}` has a row for each of {len(step.contexts)} interventions",
            span,
            label="which of them?",
            help=f"name it: {step.name}"
            f"[{', '.join([*(a.span.text for a in places), f'under={step.contexts[0]}'])}]",
        )
    several = len(step.thresholds) > 1 and metric not in step.shared and not step.curves
    if several and not any(name == "threshold" for name, _ in where):
        raise scope.reject(
            "E310",
            f"`{step.name}` has a row for each of {len(step.thresholds)} thresholds",
            span,
            label="which of them?",
            help=f"name it: {step.name}[threshold={step.thresholds[0]:g}]",
        )
    named = [name for name, _ in where]
    require_keyed(step, metric, named, [a.span.text for a in places], span, scope)
    if places:
        unit, position = _unit(places[0], step, scope)
        return unit, position, tuple(where)
    if reading.kind != "unit" and step.n_rows is not None and step.n_rows > 1:
        raise scope.reject(
            "E310",
            f"`{step.name}` has a row for each of its units",
            span,
            label="which of them?",
            help=f"name the unit, as {step.name}[{_example_unit(step)}]",
        )
    own = step.findings and reading.kind != "unit"
    return WHOLE if own else None, None, tuple(where)


def _fixed(argument: Argument, step: Step, scope: Scope) -> float | str:
    """The value of a further column: an intervention of the step, or a sweep's value."""
    name, value = str(argument.name), argument.value
    if name == "under" and step.contexts:
        from interp_dsl.check.sources import context

        found = context(value, scope).name
        if found not in step.contexts:
            told = f"`{step.name}` does not run under {found}"
            raise absent(told, "it runs under", step.contexts, argument, scope)
        return found
    if name == "threshold" and step.thresholds:
        threshold = literal(value, scope)
        if threshold not in step.thresholds:
            there = [f"{t:g}" for t in step.thresholds]
            raise absent(no_row(step, name), "it has", there, argument, scope)
        return float(threshold)
    for keyed in step.keyed:
        if name == keyed.column:
            return keyed_word(keyed, argument, step, scope)
    known = [k.column for k in step.keyed] + (["under"] if step.contexts else [])
    known += [d.name for d in scope.session.open_sweeps]
    if name not in known:
        near = suggest(name, known)
        raise scope.reject(
            "E205",
            f"the rows of `{step.name}` have no column `{name}`",
            argument.span,
            label=f"they have {', '.join(known)}" if known else "they differ in the unit alone",
            help=f"did you mean `{near}`?" if near else None,
        )
    swept: Any = literal(value, scope)
    if isinstance(swept, list):
        raise scope.reject("E300", "one value is wanted here", value.span)
    return swept  # type: ignore[no-any-return]


def _example_unit(step: Step) -> str:
    if isinstance(step.units, Explicit):
        return str(step.units.units[0]).replace("at each", "at 0")
    return "L0H0"


def _unit(argument: Argument, step: Step, scope: Scope) -> tuple[str, str | None]:
    """The unit's text and position; it must be one that the step measures."""
    from interp_dsl.check.units import units

    found = units(argument.value, read_as(scope, step.model)).units
    if not isinstance(found, Explicit) or len(found.units) != 1:
        raise scope.reject("E300", "the brackets name one unit", argument.span)
    if step.units is None:
        raise scope.reject(
            "E311",
            f"`{step.name}` measures the whole model, no units",
            argument.span,
            help=f"write {step.name}.{step.metrics[0].name}",
        )
    unit = found.units[0]
    placed = isinstance(argument.value, Phrase) or unit.position != "all"
    if not isinstance(step.units, Explicit):
        return unit.place, unit.position if placed else None
    return _measured(unit, placed, step, step.units.units, argument.span, scope)


def _measured(
    unit: Unit, placed: bool, step: Step, units: tuple[Unit, ...], span: Span, scope: Scope
) -> tuple[str, str | None]:
    """The one of the step's units that is meant."""
    same = [u for u in units if u.place == unit.place]
    each = any("each" in u.position for u in same)
    exact = [u for u in same if u.position == unit.position or (each and placed)]
    chosen = exact if placed else same
    if not chosen:
        raise _not_measured(unit, step, same or list(units), span, scope)
    if each:
        if not placed or not any(c.isdigit() for c in unit.position):
            raise scope.reject(
                "E310",
                f"`{step.name}` measures {unit.place} at each position",
                span,
                label="at which of them?",
                help=f"name it by its number: {step.name}[{unit.place} at 3]",
            )
        return unit.place, unit.position
    if len(chosen) > 1:
        raise scope.reject(
            "E310",
            f"`{step.name}` measures {unit.place} at {len(chosen)} positions",
            span,
            label="at which of them?",
            help=f"write {step.name}[{chosen[0]}]",
        )
    return chosen[0].place, chosen[0].position


def _not_measured(unit: Unit, step: Step, units: list[Unit], span: Span, scope: Scope) -> Rejected:
    names = [str(u) for u in units]
    near = suggest(str(unit), names)
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return scope.reject(
        "E311",
        f"`{step.name}` does not measure {unit}",
        span,
        label=f"it measures {', '.join(names[:6])}{more}",
        help=f"did you mean {near}?" if near else None,
    )
