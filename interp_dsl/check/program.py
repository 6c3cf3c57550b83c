"""A whole file checked: imports, declarations, steps, claims; all errors in one pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from interp_dsl.check.builds import check_unused
from interp_dsl.check.datasets import declared_dataset
from interp_dsl.check.expressions import claim
from interp_dsl.check.imports import declare, unknown_params
from interp_dsl.check.lets import check_let
from interp_dsl.check.literals import parameter
from interp_dsl.check.metrics import declared_metric
from interp_dsl.check.models import declared_model
from interp_dsl.check.results import step_of
from interp_dsl.check.scope import Declared, Rejected, Scope, Session
from interp_dsl.check.steps import declared_step
from interp_dsl.check.units import declared_units
from interp_dsl.language.diagnostics import Diagnostic
from interp_dsl.language.parse import parse
from interp_dsl.language.source import Source, Span
from interp_dsl.language.suggest import suggest
from interp_dsl.language.tree import Declaration, Expect, Program, Show, Statement, Sweep
from interp_dsl.plan.tasks import Claim, View
from interp_dsl.verbs.lowering import place_of

FORMS = ("table", "heatmap", "bars", "graph", "curves")

_EVALUATORS: dict[str, Callable[[Declared], Any]] = {
    "param": parameter,
    "model": declared_model,
    "dataset": declared_dataset,
    "metric": declared_metric,
    "units": declared_units,
    "let": check_let,
    "step": declared_step,
}


@dataclass(frozen=True, eq=False)
class Experiment:
    """A checked file: its own steps in order, claims and views; the session holds the values."""

    source: Source
    session: Session
    steps: tuple[str, ...]
    claims: tuple[Claim, ...]
    views: tuple[View, ...]
    several_models: bool
    open_sweeps: tuple[tuple[str, Span], ...]


@dataclass(frozen=True)
class Checked:
    """`experiment` is None when an error stands among the diagnostics. `waiting` tells which
    checks wait for the run; an experiment with steps among these has no plan before (E308)."""

    source: Source
    diagnostics: tuple[Diagnostic, ...]
    experiment: Experiment | None
    waiting: tuple[str, ...] = field(default=())


def check_file(
    path: Path,
    params: Mapping[str, str] | None = None,
    allow: Sequence[Path] = (),
    trusted: bool = False,
) -> Checked:
    """Check a file; OSError and UnicodeError where it cannot be read."""
    return check_source(Source(path.read_text("utf-8"), path), params, allow, trusted)


def check_source(
    source: Source,
    params: Mapping[str, str] | None = None,
    allow: Sequence[Path] = (),
    trusted: bool = False,
) -> Checked:
    """Check a text; paths in it are relative to its file's folder, else to the current one."""
    session = Session(dict(params or {}), tuple(allow), trusted)
    scope = Scope(session, source.path.parent if source.path else Path.cwd())
    program, problems = parse(source)
    session.reported.extend(problems)
    declare(program, scope, (source.path.resolve(),) if source.path else ())
    unknown_params(scope)
    claims, views = _evaluate(program, scope)
    check_unused(scope)
    found = tuple(sorted(session.reported, key=lambda d: _order(d, source)))
    waiting = (*session.waiting, *_unchecked(scope))
    if any(d.severity == "error" for d in found):
        return Checked(source, found, None, waiting)
    own = [d.id for d in scope.names.values() if d.keyword == "step" and d.scope is scope]
    sweeps = tuple((d.name, d.node.span) for d in session.open_sweeps)
    experiment = Experiment(
        source, session, tuple(own), claims, views, len(session.models) > 1, sweeps
    )
    return Checked(source, found, experiment, waiting)


def _unchecked(scope: Scope) -> list[str]:
    """The names that wait for a model's configuration, where all else is right."""
    if scope.session.reported or not scope.session.deferred:
        return []
    places = [f"`{d.span.text}` in line {d.span.line}" for d in scope.session.deferred if d.span]
    names = [f"`{d.name}`" for d in scope.names.values() if d.state == "failed"]
    users = f", and what needs them: {', '.join(names)}" if names else ""
    return [f"not checked before that: {', '.join(places)}{users}"]


def _order(found: Diagnostic, source: Source) -> tuple[int, str, int]:
    """The file's own from top to bottom, then those of other files, then those without a place."""
    if found.span is None:
        return 2, "", 0
    other = found.span.source is not source
    return int(other), found.span.source.name if other else "", found.span.start


def _evaluate(program: Program, scope: Scope) -> tuple[tuple[Claim, ...], tuple[View, ...]]:
    """Every statement of the file itself; an imported one only where it is used."""
    claims: list[Claim] = []
    views: list[View] = []
    for statement in program.statements:
        try:
            match statement:
                case Expect(test=test):
                    text = " ".join(test.span.text.split())
                    claims.append(Claim(text, claim(test, scope), place_of(statement.span)))
                case Show():
                    views.append(_view(statement, scope))
                case _:
                    _evaluate_declared(statement, scope)
        except Rejected:
            continue
        except RecursionError:
            _too_deep(statement, scope)
    return tuple(claims), tuple(views)


def _too_deep(statement: Statement, scope: Scope) -> None:
    """Said once: the lines behind it would say the same of the same names."""
    if any(d.code == "E215" for d in scope.session.reported):
        return
    scope.error(
        "E215",
        "what this needs is nested too deep",
        statement.span,
        help="declare names before the lines that use them, and parts of long expressions by "
        "themselves",
    )


def _evaluate_declared(statement: Statement, scope: Scope) -> None:
    if not isinstance(statement, Declaration | Sweep):
        return
    declared = scope.names.get(statement.name.id)
    if declared is not None and declared.node is statement:
        _EVALUATORS[declared.keyword](declared)


def _view(statement: Show, scope: Scope) -> View:
    form = statement.form
    if form.id not in FORMS:
        near = suggest(form.id, list(FORMS))
        raise scope.reject(
            "E213",
            f"there is no form `{form.id}`",
            form.span,
            label=f"the forms: {', '.join(FORMS)}",
            help=f"did you mean `{near}`?" if near else None,
        )
    step = step_of(statement.value, scope)
    if step.result == "intervention":
        raise scope.reject(
            "E300",
            f"`{step.name}` has no result to show",
            statement.value.span,
            label="without `measure` it is an intervention",
        )
    if form.id == "graph" and step.result != "circuit":
        raise scope.reject(
            "E300",
            f"`{step.name}` is no circuit, and a graph draws one",
            statement.value.span,
            label=f"a step of `{step.verb}`",
            help="write as table, as heatmap or as bars",
        )
    if form.id == "curves" and step.curves is None:
        raise scope.reject(
            "E300",
            f"`{step.name}` has no curves",
            statement.value.span,
            label=f"a step of `{step.verb}`",
            help="write as table, as heatmap or as bars",
        )
    return View(step.name, form.id)
