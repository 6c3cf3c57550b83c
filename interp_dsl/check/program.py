"""A whole file checked: imports, declarations, steps, claims; all errors in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from interp_dsl.check.datasets import declared_dataset
from interp_dsl.check.expressions import claim, step_of
from interp_dsl.check.lets import check_let
from interp_dsl.check.literals import parameter
from interp_dsl.check.metrics import declared_metric
from interp_dsl.check.models import declared_model, inside
from interp_dsl.check.scope import Declared, Rejected, Scope, Session
from interp_dsl.check.steps import declared_step
from interp_dsl.check.units import _declared as declared_units
from interp_dsl.language.diagnostics import Diagnostic
from interp_dsl.language.parse import parse
from interp_dsl.language.source import Source, Span
from interp_dsl.language.suggest import suggest
from interp_dsl.language.tree import (
    Declaration,
    Expect,
    Import,
    Program,
    Show,
    Statement,
    Sweep,
)
from interp_dsl.plan.algebra import Expression
from interp_dsl.plan.tasks import Claim, View
from interp_dsl.verbs.lowering import place_of

FORMS = ("table", "heatmap", "bars")


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
    checks wait for the run."""

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
    folder = source.path.parent if source.path else Path.cwd()
    session = Session(dict(params or {}), tuple(allow), trusted)
    program, problems = parse(source)
    session.diagnostics.extend(problems)
    scope = Scope(session, folder)
    _declare(program, scope, (source.path.resolve(),) if source.path else ())
    _unknown_params(session, scope)
    claims, views = _evaluate(program, scope)
    order = sorted(session.diagnostics, key=_order(source))
    if any(d.severity == "error" for d in order):
        return Checked(source, tuple(order), None, tuple(session.waiting))
    own = tuple(d.id for d in scope.names.values() if d.keyword == "step")
    experiment = Experiment(
        source, session, own, claims, views, len(session.models) > 1,
        tuple((d.name, d.node.span) for d in session.open_sweeps),
    )
    return Checked(source, tuple(order), experiment, tuple(session.waiting))


def _order(source: Source):  # type: ignore[no-untyped-def]
    return lambda d: (d.span is None, d.span is not None and d.span.source is not source,
                      d.span.start if d.span else 0)


# ---- declarations


def _declare(program: Program, scope: Scope, chain: tuple[Path, ...]) -> None:
    for statement in program.statements:
        match statement:
            case Import():
                try:
                    _import(statement, scope, chain)
                except Rejected:
                    continue
            case Declaration(keyword=keyword):
                _add(Declared(keyword, statement.name.id, statement, scope), scope)
            case Sweep():
                _add(Declared("param", statement.name.id, statement, scope), scope)


def _add(declared: Declared, scope: Scope) -> None:
    first = scope.names.get(declared.name)
    if first is None:
        scope.names[declared.name] = declared
        return
    where = first.node.name.span
    scope.error(
        "E202",
        f"`{declared.name}` is declared twice",
        declared.node.name.span,
        label=f"first declared in line {where.line}"
        + ("" if where.source is declared.node.name.span.source else f" of {where.source.name}"),
        help="give one of them another name",
    )


def _import(statement: Import, scope: Scope, chain: tuple[Path, ...]) -> None:
    span = statement.path.span
    path = inside(statement.path.value, span, scope)
    if path.resolve() in chain:
        names = " → ".join(p.name for p in (*chain, path))
        raise scope.reject("E211", "these files import each other", span, label=names,
                           help="move what both need to a third file")
    try:
        source = Source(path.read_text("utf-8"), path)
    except (OSError, UnicodeError) as problem:
        reason = getattr(problem, "strerror", None) or "it is not UTF-8 text"
        raise scope.reject(
            "E211", f"cannot read `{statement.path.value}`", span, label=str(reason).lower(),
            help=f"it is looked for at {path}",
        ) from None
    program, problems = parse(source)
    scope.session.diagnostics.extend(problems)
    prefix = f"{scope.prefix}{statement.alias.id}." if statement.alias else scope.prefix
    inner = Scope(scope.session, path.parent, prefix)
    _declare(program, inner, (*chain, path.resolve()))
    if statement.alias:
        scope.aliases[statement.alias.id] = inner
        return
    for declared in inner.names.values():
        _add(declared, scope)
    scope.aliases.update(inner.aliases)


def _unknown_params(session: Session, scope: Scope) -> None:
    names = [d.id for s in (scope, *scope.aliases.values()) for d in s.names.values()
             if d.keyword == "param"]
    for name in session.params:
        if name not in names:
            near = suggest(name, names)
            session.diagnostics.append(
                Diagnostic(
                    "E305", f"`-p {name}=…` sets a parameter that this file does not have",
                    help=f"did you mean `{near}`?" if near else
                    (f"its parameters: {', '.join(names)}" if names else "it has no parameters"),
                )
            )


# ---- values


def _evaluate(program: Program, scope: Scope) -> tuple[tuple[Claim, ...], tuple[View, ...]]:
    """Every statement of the file itself; an imported one only where it is used."""
    claims: list[Claim] = []
    views: list[View] = []
    for statement in program.statements:
        try:
            match statement:
                case Expect(test=test):
                    read: Expression = claim(test, scope)
                    claims.append(Claim(" ".join(test.span.text.split()), read,
                                        place_of(statement.span)))
                case Show():
                    views.append(_view(statement, scope))
                case _:
                    _evaluate_declared(statement, scope)
        except Rejected:
            continue
    return tuple(claims), tuple(views)


def _evaluate_declared(statement: Statement, scope: Scope) -> None:
    if not isinstance(statement, Declaration | Sweep):
        return
    declared = scope.names.get(statement.name.id)
    if declared is None or declared.node is not statement:
        return
    evaluators = {
        "param": parameter,
        "model": declared_model,
        "dataset": declared_dataset,
        "metric": declared_metric,
        "units": declared_units,
        "let": check_let,
        "step": declared_step,
    }
    evaluators[declared.keyword](declared)


def _view(statement: Show, scope: Scope) -> View:
    form = statement.form
    if form.id not in FORMS:
        near = suggest(form.id, list(FORMS))
        raise scope.reject(
            "E213", f"there is no form `{form.id}`", form.span,
            label=f"the forms: {', '.join(FORMS)}",
            help=f"did you mean `{near}`?" if near else None,
        )
    return View(step_of(statement.value, scope).name, form.id)
