"""How the data layer says that something is wrong: one diagnostic, raised."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from interp_dsl.language.diagnostics import Diagnostic, InterpError
from interp_dsl.language.suggest import suggest


def fault(code: str, message: str, *notes: str, help: str | None = None) -> InterpError:  # noqa: A002
    """An error of the data, to be raised. It has no span: the caller knows the statement."""
    return InterpError(Diagnostic(code, message, notes=notes, help=help))


def closest(word: str, known: Iterable[str]) -> str | None:
    """`did you mean X?` for the known word nearest to `word`, None when none is near."""
    near = suggest(word, known)
    return f"did you mean {near}?" if near else None


def listed(words: Sequence[object], most: int = 8) -> str:
    """The first words separated by commas, and how many more there are."""
    shown = ", ".join(str(w) for w in words[:most])
    return f"{shown} and {len(words) - most} more" if len(words) > most else shown


def count(n: int, noun: str) -> str:
    """`1 token`, `2 tokens`."""
    return f"{n} {noun}" if n == 1 else f"{n:,} {noun}s"
