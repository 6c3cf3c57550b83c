"""What a person meant who wrote what does not parse: from a failed statement to one diagnostic."""

from __future__ import annotations

import lark

from interp_dsl.language.diagnostics import Diagnostic
from interp_dsl.language.scan import Slice, code
from interp_dsl.language.source import Source, Span


def unclosed_string(span: Span) -> Diagnostic:
    """A string that its line, or the file, ends before its closing quotes."""
    quotes = '"""' if span.text.startswith('"""') else '"'
    return Diagnostic("E101", "this string is never closed", span, help=f"close it with {quotes}")


def explain(source: Source, piece: Slice, error: lark.UnexpectedInput) -> Diagnostic:
    """The diagnostic of a statement that lark refused."""
    found = list(code(source.text, piece))
    at = _offset(error)
    token = next((token for token in found if at is not None and token.end > at), None)
    if token is None:
        end = found[-1].end
        return Diagnostic("E100", "this statement is unfinished", Span(source, end, end))
    span = Span(source, token.start, token.end)
    return Diagnostic("E100", f"`{token.text}` is not expected here", span)


def _offset(error: lark.UnexpectedInput) -> int | None:
    """Where lark stopped; None at the end of the statement."""
    if isinstance(error, lark.UnexpectedToken) and error.token.type == "$END":
        return None
    return error.pos_in_stream
