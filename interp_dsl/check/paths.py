"""What a file may reach: its own folder and below, and code that is trusted."""

from __future__ import annotations

from pathlib import Path

from interp_dsl.check.scope import Rejected, Scope
from interp_dsl.language.source import Span


def require_trust(span: Span, scope: Scope) -> None:
    if not scope.session.trusted:
        raise scope.reject(
            "E501",
            "`python(…)` runs code of this file's author",
            span,
            help="read the code, then run again with --trust",
        )


def inside(text: str, span: Span, scope: Scope) -> Path:
    """A path of the file as an absolute one; it must lie in the file's folder or below, or in a
    folder allowed on the command line, or be given there by -p. A pattern's fixed part counts."""
    try:
        return _inside(text, span, scope)
    except (OSError, ValueError, RuntimeError):  # a home unknown, a name too long, a null character
        raise scope.reject("E502", f"`{text}` is no path that can be read", span) from None


def _inside(text: str, span: Span, scope: Scope) -> Path:
    path = Path(text).expanduser()
    full = (path if path.is_absolute() else scope.folder / path).absolute()
    real = Path(*_fixed_parts(full)).resolve()
    if text in scope.session.params.values():
        return path.absolute()
    allowed = [scope.folder.resolve(), *(p.resolve() for p in scope.session.allow)]
    if any(real.is_relative_to(folder) for folder in allowed):
        return full
    raise _outside(text, real, span, scope)


def _outside(text: str, real: Path, span: Span, scope: Scope) -> Rejected:
    return scope.reject(
        "E502",
        f"`{text}` lies outside this file's folder",
        span,
        label="a file reads only its own folder and below",
        help=f"run again with --allow {real if real.is_dir() else real.parent}",
    )


def _fixed_parts(path: Path) -> tuple[str, ...]:
    parts = path.parts
    for i, part in enumerate(parts):
        if any(c in part for c in "*?["):
            return parts[:i]
    return parts
