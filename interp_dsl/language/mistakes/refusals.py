"""What the grammar may take and the language does not."""

from __future__ import annotations

from interp_dsl.language.diagnostics import Diagnostic
from interp_dsl.language.keywords import CLAUSES, STATEMENTS
from interp_dsl.language.mistakes.failure import Failure
from interp_dsl.language.scan import Token
from interp_dsl.language.source import Span


def unclosed_string(span: Span) -> Diagnostic:
    """A string that its line, or the file, ends before its closing quotes."""
    quotes = '"""' if span.text.startswith('"""') else '"'
    start = Span(span.source, span.start, span.start + len(span.text.rstrip()))
    long = () if quotes == '"""' else ('a string over several lines is written `"""…"""`',)
    return Diagnostic(
        "E101",
        "this string is never closed",
        start,
        "opened here",
        notes=long,
        help=f"close it with `{quotes}`",
    )


def missing_verb(name: str, span: Span) -> Diagnostic:
    """A step that does not say what it does."""
    return Diagnostic(
        "E112",
        "this step has no verb",
        span,
        "a verb is expected here",
        help=f"say what the step does: `step {name} = patch …`",
    )


def wrong_equals(failure: Failure, token: Token, why: str, meant: str) -> Diagnostic:
    """`==` for `=`, or the other way round."""
    message = f"`{token.text}` stands where `{meant}` is meant"
    return Diagnostic("E107", message, failure.span(token), why, help=f"write `{meant}`")


def reserved_name(name: str, span: Span) -> Diagnostic:
    """A declaration whose name is a word of the language."""
    if name in CLAUSES:
        why = "it opens a clause"
    else:
        why = "it opens a statement" if name in STATEMENTS else "it is an operator"
    message = f"`{name}` is a word of the language and cannot be a name"
    return Diagnostic("E113", message, span, why)


def too_deep(span: Span, limit: int) -> Diagnostic:
    """An expression nested beyond what whoever walks it is asked to bear."""
    return Diagnostic(
        "E115",
        "this is nested too deep",
        span,
        f"more than {limit} levels",
        help="give a part of it a name with `let` or `units`, or write a set `{a, b, c}`",
    )


def bad_escape(span: Span) -> Diagnostic:
    """A backslash before something that it cannot escape."""
    return Diagnostic(
        "E116",
        f"`{span.text}` is no escape",
        span,
        r"escapes are `\n`, `\t`, `\r`, `\"`, `\\`, `\x41`, `\u0041`, `\U0001f600`",
        help=r"write `\\` for a backslash",
    )


def huge_number(span: Span) -> Diagnostic:
    """A number that no computer holds."""
    return Diagnostic("E117", "this number is too large", span, "numbers reach to about 1.8e308")


def not_a_function(span: Span) -> Diagnostic:
    """A call of something that has no name."""
    return Diagnostic("E118", "only a function can be called, by its name", span)


def odd_restriction(span: Span) -> Diagnostic:
    """A `where` in a dataset's body that is neither of the two it may be."""
    return Diagnostic(
        "E119",
        "this `where` is neither a choice nor a condition",
        span,
        help="write `where A, B in [...]` for a choice, `where A > B` for a condition",
    )
