"""A unit expression that somebody types beside an experiment, checked as if it stood in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from interp_dsl.check.imports import declare
from interp_dsl.check.scope import Rejected, Scope, Session
from interp_dsl.check.units import declared_units
from interp_dsl.language.diagnostics import Diagnostic
from interp_dsl.language.parse import parse
from interp_dsl.language.source import Source
from interp_dsl.plan.algebra import Units
from interp_dsl.verbs.values import UnitSet


@dataclass(frozen=True)
class Aside:
    """`units` is None where something is wrong: `diagnostics` say what, their spans in `source`;
    the expression begins at the character `start` of that."""

    source: Source
    start: int
    units: Units | None
    diagnostics: tuple[Diagnostic, ...]


def check_aside(
    experiment: Source, expression: str, params: Mapping[str, str] | None = None
) -> Aside:
    """Check a unit expression with the names of an experiment; of the experiment itself only what
    the expression needs is looked at, and no code of it is run."""
    name = _unused(experiment.text)
    before = f"{experiment.text}\n\nunits {name} = "
    source = Source(f"{before}{' '.join(expression.split())}\n", experiment.path)
    session = Session(dict(params or {}))
    scope = Scope(session, source.path.parent if source.path else Path.cwd())
    program, problems = parse(source)
    own = [d for d in problems if d.span and d.span.end >= len(experiment.text)]
    declare(program, scope, (source.path.resolve(),) if source.path else ())
    declared = scope.names.get(name)
    found: UnitSet | None = None
    if declared is not None and not own:
        try:
            found = declared_units(declared)
        except (Rejected, RecursionError):
            own = [*session.reported, *session.deferred]
    return Aside(source, len(before), found.units if found else None, tuple(own))


def _unused(text: str) -> str:
    """A name that does not stand in a text."""
    name = "chosen"
    while name in text:
        name += "_"
    return name
