"""How the model layer says what went wrong."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from interp_dsl.language.diagnostics import Diagnostic, InterpError


def failure(
    code: str,
    message: str,
    *,
    notes: Iterable[str] = (),
    help: str | None = None,  # noqa: A002 - the field's name in Diagnostic
    exit_code: int = 2,
) -> InterpError:
    """An InterpError of one diagnostic without a place in the text; the caller that knows the
    statement adds the span."""
    return InterpError(
        Diagnostic(code, message, notes=tuple(notes), help=help), exit_code=exit_code
    )


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like `word`, None when none is near."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return close[0] if close else None
