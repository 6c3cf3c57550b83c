"""Trying to read an expression as a kind of value, without a trace when that fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from interp_dsl.check.scope import Rejected, Scope
from interp_dsl.language.diagnostics import Diagnostic


@dataclass(frozen=True)
class Attempt:
    """What came of it: a value, or what is wrong. Nothing wrong and no value means that the cause
    has been reported elsewhere, at a declaration that it needs."""

    succeeded: bool
    value: Any = None
    wrong: tuple[Diagnostic, ...] = ()


def attempt(how: Callable[[], Any], scope: Scope) -> Attempt:
    """Evaluate; what is reported stays here."""
    session = scope.session
    kept, session.diagnostics = session.diagnostics, []
    session.trials += 1
    try:
        return Attempt(True, how())
    except Rejected:
        return Attempt(False, wrong=tuple(session.diagnostics))
    finally:
        session.trials -= 1
        session.diagnostics = kept
